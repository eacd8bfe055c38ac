"""A Ray of this machine that outlives the command that started it, so that several scripts share its models.

It is an embedded Ray whose owner is a process that only waits: alone on the machine, of this user only, and gone with
its owner. There is one for each `SQLLLM_HOME`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel, ValidationError

from sqlllm.errors import SetupError, SQLLLMError
from sqlllm.settings import RaySettings, default_home

_POLITE = 60.0  # seconds that it has to end by itself
_POLL_SECONDS = 0.1


class LocalCluster(BaseModel):
    """What is known of the one that runs."""

    address: str
    pid: int  # of its owner
    folder: Path  # of its token and its logs

    @property
    def token(self) -> Path:
        """The file that lets this user's processes in."""
        return self.folder / "token"

    @property
    def lives(self) -> bool:
        """Whether its owner holds the folder's lock, which it does until it has ended all that it started."""
        return _is_locked(self.folder / "lock")


def find() -> LocalCluster | None:
    """The one that runs, if one does."""
    try:
        found = LocalCluster.model_validate_json(_record().read_text())
    except (FileNotFoundError, ValidationError):  # none, or of another version
        return None
    return found if found.lives else None


def up(settings: RaySettings) -> tuple[LocalCluster, bool]:
    """The one that runs, and whether it was started by this call.

    Raises: SetupError if Ray does not start.
    """
    with _alone():
        if found := find():
            return found, False
        log = _record().with_suffix(".log")
        with log.open("wb") as out:
            owner = subprocess.Popen(
                [sys.executable, "-m", __name__, settings.model_dump_json()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_TOKEN")},
                start_new_session=True,  # neither Ctrl-C nor the end of the terminal reaches it
            )
        try:
            while (found := find()) is None or found.pid != owner.pid:
                if owner.poll() is not None:
                    raise SetupError(log.read_text(errors="replace").strip())
                time.sleep(_POLL_SECONDS)
        except BaseException:  # Ctrl-C, too, leaves nothing behind
            owner.terminate()
            owner.wait()
            raise
    return found, True


def down() -> LocalCluster | None:
    """End the one that runs, with its models, and wait until its processes are gone; None if there is none."""
    with _alone():
        found = find()
        if found is not None:
            _end(found)
        _record().unlink(missing_ok=True)
    return found


def _end(found: LocalCluster) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):  # after the second one its reaper ends the rest
        with suppress(ProcessLookupError):
            os.kill(found.pid, how)
        deadline = time.monotonic() + _POLITE
        while found.lives and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if not found.lives:
            return


def _record() -> Path:
    return default_home() / "cluster.json"


@contextmanager
def _alone() -> Iterator[None]:
    """One `up` or `down` at a time."""
    default_home().mkdir(parents=True, exist_ok=True)
    with _record().with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _own(settings: RaySettings) -> NoReturn:
    """Start Ray, report its address, and end it with this process."""
    from . import cluster

    # Before Ray starts: it may be asked to end at any time. Later signals are for nothing: it is ending.
    signal.signal(signal.SIGTERM, _stop)
    try:
        cluster.start(settings.model_copy(update={"address": "local"}), dashboard=True)
    except SQLLLMError as error:
        sys.exit(str(error))
    import ray

    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    mine = LocalCluster(
        address=ray.get_runtime_context().gcs_address,
        pid=os.getpid(),
        folder=token.parent,
    )
    unnamed = _record().with_suffix(".new")
    unnamed.write_text(mine.model_dump_json())
    unnamed.rename(_record())
    while True:
        signal.pause()


def _stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)  # and Ray with it


if __name__ == "__main__":
    _own(RaySettings.model_validate_json(sys.argv[1]))
