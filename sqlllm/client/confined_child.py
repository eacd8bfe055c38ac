"""The process that runs a model's code. A script of its own: it imports the standard library alone."""

from __future__ import annotations

import ctypes
import datetime
import decimal
import importlib
import io
import json
import os
import platform
import resource
import struct
import sys
import time
from typing import Any

_NOBODY = 65534
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_DUMPABLE = 38, 22, 4
# Architecture, and the numbers of the calls that are refused: sockets, other processes, new programs, io_uring.
REFUSED = {
    "x86_64": (
        0xC000003E,
        (41, 42, 49, 53, 57, 58, 59, 62, 101, 129, 165, 200, 234, 240, 272, 308, 310, 311, 322, 425, 434, 435),
    ),
    "aarch64": (
        0xC00000B7,
        (198, 203, 200, 199, 221, 129, 117, 138, 40, 130, 131, 268, 270, 271, 281, 97, 425, 434, 435),
    ),
}


def confine(memory: int, seconds: int) -> None:
    """Give up files, sockets, processes and privileges for good."""
    time.localtime()  # reads the time zone while it can
    libc = ctypes.CDLL(None, use_errno=True)
    if os.getuid() == 0:  # root could take back what is given up
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, seconds + 1),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    refuse_calls(libc)


def refuse_calls(libc: Any) -> None:
    """A filter of the kernel (seccomp) under which the refused calls fail."""
    architecture, numbers = REFUSED[platform.machine()]
    load, equal, jump_ge, give = 0x20, 0x15, 0x35, 0x06
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, 0x80000000)]  # another one: ended
    program += [(load, 0, 0, 0), (jump_ge, 0, 1, 0x40000000), (give, 0, 0, 0x80000000)]  # the x32 numbers: ended
    for number in numbers:
        program += [(equal, 0, 1, number), (give, 0, 0, 0x00050001)]  # EPERM
    program.append((give, 0, 0, 0x7FFF0000))
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    filters = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("HxxxxxxP", len(program), ctypes.addressof(filters))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, 2, head, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter")


def revived(value: Any) -> Any:
    """Arguments with their dates and decimals."""
    if isinstance(value, list):
        return [revived(one) for one in value]
    if isinstance(value, dict):
        if set(value) == {"$type", "value"}:
            inside = value["value"]
            match value["$type"]:
                case "timedelta":
                    return datetime.timedelta(seconds=inside)
                case "Decimal":
                    return decimal.Decimal(inside)
                case kind if kind in ("datetime", "date", "time"):
                    return getattr(datetime, kind).fromisoformat(inside)
        return {key: revived(one) for key, one in value.items()}
    return value


def plain(value: Any) -> Any:
    """What JSON does not know, as it is written in JSON."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, decimal.Decimal):
        return str(value)
    if hasattr(value, "__dict__"):
        return vars(value)
    raise TypeError(f"it returned a {type(value).__name__}, which is not JSON")


def main() -> None:
    """Read the task, run it, write its result."""
    task = json.loads(sys.stdin.buffer.read())
    out = sys.stdout.buffer
    sys.stdout = sys.stderr = io.StringIO()
    try:
        # The last two are loaded on use, when files can no longer be opened.
        for module in (*task["modules"], "_strptime", "encodings.idna"):
            importlib.import_module(module)
        program = compile(task["code"], f"<{task['name']}>", "exec")
        confine(task["memory"], task["seconds"])
    except BaseException as error:  # noqa: BLE001 (it is reported)
        out.write(json.dumps({"error": f"it cannot be run: {type(error).__name__}: {error}"}).encode())
        return
    out.write(b"\n")  # ready
    out.flush()
    try:
        names: dict[str, Any] = {"__name__": "implementation"}
        exec(program, names)  # noqa: S102 (which is what this process is for)
        value = names[task["name"]](*map(revived, task["args"]), **revived(task["kwargs"]))
        told = json.dumps({"value": value}, default=plain)
    except BaseException as error:  # noqa: BLE001 (it is reported, whatever the code raises)
        told = json.dumps({"error": f"{type(error).__name__}: {error}"[:1000]})
    out.write(told.encode())
    out.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
