"""Clusters started apart, on this machine: a Ray of several nodes with a token, a Spark master with workers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Self

import pyspark

from sqlllm.jobs.cluster import _ABSENT
from sqlllm.jobs.reaper import marked

SPARK = Path(pyspark.__file__).parent


class Cluster:
    """Processes by number, the first is 0; each has a mark of its own, which all that it starts inherits."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        self.folder = folder  # of logs and tokens
        self.environment = environment
        self.address = ""
        self._started: list[tuple[subprocess.Popen[bytes], bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number in reversed(range(len(self._started))):
            self.kill(number)

    def start(self, command: list[str], ready: str, *, tries: int = 1) -> None:
        """Start one, and wait until its log says `ready`; `tries`: so often, where it gives itself too little time."""
        log, mark = self.folder / f"{len(self._started)}.log", uuid.uuid4().hex
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                env={**self.environment, "SQLLLM_TEST": mark},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._started.append((process, f"SQLLLM_TEST={mark}".encode()))
        while not re.search(ready, log.read_text(errors="replace")):
            if process.poll() is not None:
                assert tries > 1, log.read_text(errors="replace")
                self.kill(len(self._started) - 1)
                self._started.pop()
                return self.start(command, ready, tries=tries - 1)
            time.sleep(0.1)
        return None

    def kill(self, number: int) -> None:
        """End one and all that it started at once, as when its machine goes."""
        process, mark = self._started[number]
        while alive := marked(mark):
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.05)
        process.wait()


class RayCluster(Cluster):
    """A head and other nodes, with the given CPUs each. Who has its environment is let in."""

    def __init__(self, folder: Path, *cpus: int, dashboard: bool = False) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        super().__init__(folder, environment)
        self._cpus, self._dashboard = cpus, dashboard
        self._sockets = tempfile.mkdtemp(prefix="r-", dir="/tmp")  # short, for its sockets
        (folder / "token").write_text("0" * 64)
        self.environment |= {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token"), "RAY_USAGE_STATS_ENABLED": "0",
            # It starts sooner, as an embedded one does.
            "PYTHONPATH": os.pathsep.join([str(_ABSENT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }  # fmt: skip

    def launch(self) -> None:
        """Start its nodes, one after the other."""
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        head = [
            "--head", f"--port={port}", f"--temp-dir={self._sockets}", f"--dashboard-port={free_port()}",
            f"--include-dashboard={str(self._dashboard).lower()}", f"--ray-client-server-port={free_port()}",
        ]  # fmt: skip
        for number, cpus in enumerate(self._cpus):
            command = [
                str(Path(sys.executable).with_name("ray")), "start", "--block", "--node-ip-address=127.0.0.1",
                f"--num-cpus={cpus}", f"--object-store-memory={2**27}", f"--metrics-export-port={free_port()}",
                f"--dashboard-agent-listen-port={free_port()}",
                *([f"--address={self.address}"] if number else head),
            ]  # fmt: skip
            self.start(command, "Ray runtime started", tries=5)  # Ray allows 30 s, too few on a busy machine

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self._sockets, ignore_errors=True)


class SparkCluster(Cluster):
    """A standalone master and workers with a core and a gigabyte each, of the pip package's own classes."""

    def __init__(self, folder: Path, workers: int) -> None:
        super().__init__(folder, {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m"})
        self._workers = workers

    def launch(self) -> None:
        """Start the master, then the workers."""
        port = free_port()
        self.address = f"spark://127.0.0.1:{port}"
        run, deploy = str(SPARK / "bin" / "spark-class"), "org.apache.spark.deploy"
        here = ["--host", "127.0.0.1", "--webui-port", "0"]
        self.start([run, f"{deploy}.master.Master", *here, "--port", str(port)], "elected leader")
        for number in range(self._workers):
            work = str(self.folder / f"work-{number}")
            command = [run, f"{deploy}.worker.Worker", *here, "--cores", "1", "--memory", "1g", "--work-dir", work]
            self.start([*command, self.address], "Successfully registered with master")


class ConnectServer(Cluster):
    """A Spark Connect server with a Spark of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable})

    def launch(self) -> None:
        """Start it."""
        port = free_port()
        self.address = f"sc://127.0.0.1:{port}"
        command = [
            str(SPARK / "bin" / "spark-submit"), "--class", "org.apache.spark.sql.connect.service.SparkConnectServer",
            "--master", "local[1]", "--driver-memory", "1g", "--conf", "spark.ui.enabled=false",
            "--conf", f"spark.connect.grpc.binding.port={port}", "spark-internal",
        ]  # fmt: skip
        self.start(command, "Spark Connect server started")


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
