"""What oracles answer in the tests of life and faults; `model_path` is free for a folder, so prompts name files."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path


def upper(prompt: str) -> str:
    return prompt.upper()


def lower(prompt: str) -> str:
    return prompt.lower()


def mortal(prompt: str) -> str:
    """Dies, once, of a prompt that names a file, which it removes before."""
    if prompt.startswith("/"):
        Path(prompt).unlink(missing_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)
    return prompt.upper()


def __getattr__(name: str) -> object:
    """What a worker finds as it loads its model."""
    if name == "too_large":  # more than its limit: as in a container
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, hard))
        return bytearray(2**40)
    if name == "killed":  # what the kernel does when a machine has no memory left
        assert "ray" in sys.modules
        os.kill(os.getpid(), signal.SIGKILL)
    raise AttributeError(name)
