"""Checkpoints of DeepSpeed are pickles: their weights are read, and no code in them is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sqlllm.errors import ModelError
from sqlllm.jobs.conversion import zero


class Runs:
    """Makes a folder as it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.folder),)


FILES = ["mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"]


@pytest.mark.parametrize("names", [FILES[:1], FILES])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, names: list[str]) -> None:
    import torch

    checkpoint = tmp_path / "step"
    checkpoint.mkdir()
    for name in names:
        torch.save({"module": {"w": torch.ones(2)}, "extra": Runs(tmp_path / "ran")}, checkpoint / name)
    with pytest.raises(ModelError, match=r"holds more than weights: posix\.mkdir") as caught:
        zero._weights(checkpoint)
    assert "not run" in caught.value.cure
    assert not (tmp_path / "ran").exists()
    assert zero._FORCE not in os.environ


def test_weights_in_a_checkpoint_are_read(tmp_path: Path) -> None:
    import torch

    checkpoint = tmp_path / "step"
    checkpoint.mkdir()
    torch.save({"module": {"w": torch.ones(2, dtype=torch.float16)}}, checkpoint / "mp_rank_00_model_states.pt")
    assert zero._weights(checkpoint)["w"].tolist() == [1.0, 1.0]
