"""An embedded Ray is alone on the machine, quiet, and gone with its process."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sqlllm.jobs import cluster
from sqlllm.jobs.reaper import marked
from sqlllm.jobs.serving import Serving
from sqlllm.settings import RaySettings

pytestmark = [pytest.mark.slow, pytest.mark.rare]

START = """
import os, subprocess, sys, time
from sqlllm.jobs import cluster
from sqlllm.settings import RaySettings
cluster.start(RaySettings())
import ray

@ray.remote
class Parent:
    def spawn(self):
        print("a worker's words")
        # A child in a session of its own, as engines make them.
        self.child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        return os.getpid()
    def slow(self):
        return "rfc3987_syntax.syntax_helpers" in sys.modules

parent = Parent.remote()
worker = ray.get(parent.spawn.remote())
print(os.environ["RAY_AUTH_TOKEN_PATH"], flush=True)
"""


LATE = "The current node timed out during startup."

StartScript = Callable[[str], tuple[subprocess.Popen[str], Path]]


@pytest.fixture
def start_script() -> Iterator[StartScript]:
    """Starts a script that has started Ray; gives it and its folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "_SQLLLM"))}
    scripts = []

    def start(code: str) -> tuple[subprocess.Popen[str], Path]:
        script = subprocess.Popen(
            [sys.executable, "-c", START + code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        scripts.append(script)
        assert script.stdout is not None
        return script, Path(script.stdout.readline().strip()).parent

    yield start
    for script in scripts:
        script.kill()
        script.communicate()


def rest(script: subprocess.Popen[str]) -> tuple[str, str]:
    """What a script still prints. `communicate` alone reads past the buffer, which may hold lines already."""
    assert script.stdout is not None
    return script.stdout.read(), script.communicate()[1]


def survivors(folder: Path, seconds: float = 15) -> list[int]:
    """Processes of a script's Ray that still live after `seconds`."""
    mark = f"_SQLLLM_RAY={folder}".encode()
    deadline = time.monotonic() + seconds
    while (alive := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive


def test_two_scripts_do_not_meet(start_script: StartScript) -> None:
    first, first_folder = start_script("sys.stdin.readline(); print(ray.get(parent.spawn.remote()) == worker)")
    second, second_folder = start_script("print(len(ray.nodes()))")
    assert rest(second) == ("1\n", "")
    assert first_folder != second_folder
    assert first.poll() is None
    assert first.communicate("\n")[0] == "True\n"  # its actor lives
    assert survivors(first_folder) == survivors(second_folder) == []


def test_only_its_user_may_enter_and_nothing_is_printed_or_outlives_it(start_script: StartScript) -> None:
    script, folder = start_script("time.sleep(1000)")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert len(marked(f"_SQLLLM_RAY={folder}".encode())) > 5  # the mark is what the other tests look for
    script.send_signal(signal.SIGTERM)
    assert rest(script) == ("", "")
    assert survivors(folder) == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_script(start_script: StartScript, end: signal.Signals) -> None:
    script, folder = start_script("time.sleep(1000)")
    os.killpg(script.pid, end)  # the group, as Ctrl-C in a terminal
    script.communicate()
    assert survivors(folder) == []


def test_a_stopped_ray_starts_again_and_its_workers_load_nothing_slow(start_script: StartScript) -> None:
    script, folder = start_script(
        "cluster.stop(); cluster.start(RaySettings()); again = Parent.remote();"
        "print(ray.get(again.spawn.remote()) != worker, ray.get(again.slow.remote()));"
        "print(str(cluster._ABSENT) in os.environ.get('PYTHONPATH', ''))"
    )
    assert rest(script) == ("True False\nFalse\n", "")
    assert survivors(folder) == []


def test_no_cluster_at_the_address() -> None:
    code = (
        "from sqlllm.errors import SetupError; from sqlllm.jobs import cluster; import sys;"
        "from sqlllm.settings import RaySettings\n"
        "try: cluster.start(RaySettings(address='127.0.0.1:1'))\n"
        "except SetupError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("no Ray cluster answers at 127.0.0.1:1")
    assert "ray.address" in done.stdout


def test_the_address_comes_from_the_setting_then_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert cluster.address(RaySettings()) == ""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster.address(RaySettings()) == "10.0.0.1:6379"
    assert cluster.address(RaySettings(address="10.0.0.2:6379")) == "10.0.0.2:6379"
    assert cluster.address(RaySettings(address="local")) == ""


@pytest.mark.parametrize(
    ("tries", "words"),
    [
        (["no room"], "Ray did not start: no room\nIts logs are under /tmp/sqlllm-"),
        ([LATE, LATE, LATE], f"Ray did not start: {LATE}\n"),
        ([LATE, LATE, ""], "started"),  # on a busy machine
    ],
)
def test_a_ray_that_does_not_start_is_one_error(tries: list[str], words: str) -> None:
    code = (
        "import ray, unittest.mock; from sqlllm.errors import SetupError; from sqlllm.jobs import cluster;"
        "from sqlllm.settings import RaySettings\n"
        f"ray.init = unittest.mock.Mock(side_effect=[Exception(why) if why else None for why in {tries}])\n"
        "try: cluster.start(RaySettings()); print('started')\n"
        "except SetupError as error: print(error)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith(words)


def test_what_ray_prints_of_a_dead_worker_is_not_on_standard_output(
    serving: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    from ray._private import worker

    worker.print_to_stdstream({"lines": ["A worker died"], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    out, err = capsys.readouterr()
    assert (out, "A worker died" in err) == ("", True)


def test_an_ended_script_leaves_its_folder_to_the_next_one() -> None:
    code = "import sys; from sqlllm.jobs import cluster; print(cluster._folder(), flush=True); sys.stdin.read()"
    script = [sys.executable, "-c", code]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        folder = Path(first.stdout.readline().strip())
        with (folder / "lock").open() as lock:
            first.stdin.close()
            fcntl.flock(lock, fcntl.LOCK_EX)  # it has ended; what others start meanwhile leaves the folder alone
            assert folder.exists()
    subprocess.run(script, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    assert not folder.exists()


def test_a_process_that_outlives_this_one_gets_no_token_of_its_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", f"/tmp/sqlllm-{os.getuid()}-abc/token")
    assert "RAY_AUTH_TOKEN_PATH" not in cluster.environment()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/me/token")  # the user's own, of a cluster
    assert cluster.environment()["RAY_AUTH_TOKEN_PATH"] == "/home/me/token"
    assert cluster.environment().keys() == os.environ.keys()
