"""Training: a table in, a Hugging Face model folder out.

Importing this package loads neither torch, ray nor transformers; `finetune` does, in the run's own processes.
"""

from __future__ import annotations

from .launch import Resources
from .progress import Progress
from .sft import finetune, new_run
from .spec import FinetuneSpec

__all__ = ["FinetuneSpec", "Progress", "Resources", "finetune", "new_run"]
