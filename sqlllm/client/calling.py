"""Call a user's functions side by side: what each returned or raised, whatever the others do."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any


async def _awaited(value: Any) -> Any:
    return await value


def _run(function: Callable[[], Any], done: Future[Any]) -> None:
    done.set_running_or_notify_cancel()
    try:
        value = function()
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
    except BaseException as error:  # noqa: BLE001 (it is given back, SystemExit too)
        done.set_exception(error)
    else:
        done.set_result(value)


def call_all(functions: Sequence[Callable[[], Any]], timeout: float | None) -> list[Any]:
    """What each function returned, or the exception that it raised: TimeoutError after `timeout` seconds.

    Coroutines run in a loop of their own. A function that does not return in time is left to itself: Python cannot
    end a thread.
    """
    calls: list[Future[Any]] = []
    for function in functions:
        done: Future[Any] = Future()
        context = contextvars.copy_context()
        Thread(target=context.run, args=(_run, function, done), daemon=True).start()
        calls.append(done)
    wait(calls, timeout)
    return [_outcome(done, timeout) for done in calls]


def _outcome(done: Future[Any], timeout: float | None) -> Any:
    if not done.done():
        return TimeoutError(f"no result within {timeout:g} s")
    return done.exception() or done.result()


async def call_all_async(functions: Sequence[Callable[[], Any]], timeout: float | None) -> list[Any]:
    """`call_all` in an event loop: coroutines run in it, other functions in threads."""
    return await asyncio.gather(*(_call(function, timeout) for function in functions))


async def _call(function: Callable[[], Any], timeout: float | None) -> Any:
    try:
        async with asyncio.timeout(timeout):
            if inspect.iscoroutinefunction(inspect.unwrap(getattr(function, "func", function))):
                return await function()
            done: Future[Any] = Future()
            context = contextvars.copy_context()
            Thread(target=context.run, args=(_run, function, done), daemon=True).start()
            return await asyncio.wrap_future(done)
    except TimeoutError as error:
        return error if str(error) else TimeoutError(f"no result within {timeout:g} s")
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 (it is given back)
        return error
