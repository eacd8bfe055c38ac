"""The Jupyter kernel: a cell is a script, and the notebook's cells share one session."""

from __future__ import annotations

import logging
from typing import Any, Literal

from ipykernel.kernelbase import Kernel

from sqlllm import __version__
from sqlllm.errors import SQLLLMError
from sqlllm.session import Session
from sqlllm.settings import Settings

from ..interrupts import interruptible
from ..language import Language, SessionNames
from ..script import run_script
from .board import Board, failed
from .outlet import Bundle, traceback

_log = logging.getLogger(__name__)


class SqlllmKernel(Kernel):
    """Runs scripts. Spark and Ray start with the first statement that needs them and end with the kernel."""

    implementation = "sqlllm"
    implementation_version = __version__
    banner = f"SQLLLM {__version__}"
    # The notebook colours cells as SQL; files and pages are coloured by the lexer.
    language_info = {  # noqa: RUF012 - ipykernel's own attribute
        "name": "sqlllm",
        "version": __version__,
        "mimetype": "text/x-sql",
        "codemirror_mode": "sql",
        "pygments_lexer": "sqlllm",
        "file_extension": ".sql",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._parent: dict[str, Any] = {}
        self._silent = False
        self._board = Board(self)
        # Py4J logs the stack of what was interrupted, to the root logger.
        logging.getLogger().addFilter(lambda record: "py4j" not in record.pathname)
        self._session = Session(Settings.load(), observer=self._board)
        self._names = SessionNames(self._session)
        self._language = Language(self._names)

    # --- Jupyter's questions -----------------------------------------------------------------------------------

    async def do_execute(
        self, code: str, silent: bool, *_: Any, store_history: bool = True, **__: Any
    ) -> dict[str, Any]:
        self._parent, self._silent = self.get_parent("shell"), silent  # type: ignore[no-untyped-call]
        if not code.strip():
            return self._ok()
        self._board.begin(self._session)
        state = "stopped"
        try:
            with interruptible(self._session):
                result = run_script(self._session, code, f"cell {self.execution_count}")
                self._board.show(result)
                self._session.tell_usage()  # of the table that was shown
            state = ""
            return self._ok()
        except SQLLLMError as error:
            state = failed(error)
            return self._error(type(error).__name__, error.message, traceback(error))
        except KeyboardInterrupt:
            return self._error("Stopped", "stopped by the user", ["stopped"])
        except Exception as error:  # noqa: BLE001 - without a reply the notebook would wait for ever
            _log.exception("a cell failed")
            state = "failed"
            name = type(error).__name__
            return self._error(name, str(error), [f"{name}: {error}", "This is a fault of SQLLLM's; the log has more."])
        finally:
            self._board.end(state)
            self._names.forget()

    async def do_complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        found = self._language.complete(code, cursor_pos)
        start = found[0].start if found else cursor_pos
        types = [
            {"start": one.start, "end": cursor_pos, "text": one.text, "type": one.kind, "signature": one.help}
            for one in found
        ]
        return {
            "status": "ok",
            "matches": [one.text for one in found],
            "cursor_start": start,
            "cursor_end": cursor_pos,
            "metadata": {"_jupyter_types_experimental": types},
        }

    async def do_inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        text = self._language.inspect(code, cursor_pos)
        data = {"text/markdown": text, "text/plain": text} if text else {}
        return {"status": "ok", "found": bool(text), "data": data, "metadata": {}}

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        status, indent = self._language.state(code)
        return {"status": status, "indent": indent} if status == "incomplete" else {"status": status}

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        self._session.close()
        return {"status": "ok", "restart": restart}

    # --- the outlet --------------------------------------------------------------------------------------------

    def display(self, bundle: Bundle, *, id: str = "", update: bool = False) -> None:  # noqa: A002
        content = {"data": bundle, "metadata": {}, "transient": {"display_id": id} if id else {}}
        self._send("update_display_data" if update else "display_data", content)

    def stream(self, name: Literal["stdout", "stderr"], text: str) -> None:
        self._send("stream", {"name": name, "text": text})

    def _send(self, kind: str, content: dict[str, Any]) -> None:
        if not self._silent:
            # Under the cell that runs, from whatever thread.
            topic = self._topic(kind)  # type: ignore[no-untyped-call]
            assert self.session is not None
            self.session.send(self.iopub_socket, kind, content, self._parent, ident=topic)

    def _ok(self) -> dict[str, Any]:
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}

    def _error(self, name: str, message: str, lines: list[str]) -> dict[str, Any]:
        content = {"ename": name, "evalue": message, "traceback": lines}
        self._send("error", content)
        return {"status": "error", "execution_count": self.execution_count, **content}
