"""SQLLLM in Jupyter: a kernel whose cells are scripts, and magics for notebooks in Python."""

from __future__ import annotations

from pathlib import Path

KERNEL = "sqlllm"


def install(prefix: Path | str) -> Path:
    """Register the kernel with Jupyter: under `prefix`, as in `sys.prefix`. Returns the folder."""
    from jupyter_client.kernelspec import KernelSpecManager

    source = Path(__file__).with_name("kernelspec")
    return Path(KernelSpecManager().install_kernel_spec(str(source), KERNEL, prefix=str(prefix)))
