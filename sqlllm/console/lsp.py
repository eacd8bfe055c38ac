"""`sqlllm lsp`: what editors ask, by the Language Server Protocol: diagnostics, completion, help, one style.

The answers are those of `sqlllm check`, of the notebook and of `sqlllm fmt`; neither Spark nor Ray starts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from pathlib import Path

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from sqlllm import __version__
from sqlllm.dialect import format_script, parse
from sqlllm.errors import SQLLLMError

from .cli.check import findings
from .language import Language

_KINDS = {
    "keyword": types.CompletionItemKind.Keyword,
    "command": types.CompletionItemKind.Keyword,
    "format": types.CompletionItemKind.Module,
    "module": types.CompletionItemKind.Module,
    "option": types.CompletionItemKind.Property,
    "parameter": types.CompletionItemKind.Property,
    "setting": types.CompletionItemKind.Property,
    "value": types.CompletionItemKind.Value,
    "table": types.CompletionItemKind.Struct,
    "column": types.CompletionItemKind.Field,
    "function": types.CompletionItemKind.Function,
    "model": types.CompletionItemKind.Function,
    "macro": types.CompletionItemKind.Function,
    "variable": types.CompletionItemKind.Variable,
    "path": types.CompletionItemKind.File,
}
_LINE_END = re.compile(r"\r\n|\n|\r")


class Positions:
    """Offsets of a text as the protocol's lines and characters, which count units of 16 bits by default."""

    def __init__(self, text: str, encoding: str = "utf-16") -> None:
        self._text, self._encoding = text, encoding
        self._starts = [0, *(end.end() for end in _LINE_END.finditer(text))]

    def at(self, offset: int) -> types.Position:
        """The position of an offset."""
        line = bisect_right(self._starts, offset) - 1
        return types.Position(line, self._units(self._text[self._starts[line] : offset]))

    def range(self, start: int, end: int) -> types.Range:
        """The range between two offsets."""
        return types.Range(self.at(start), self.at(end))

    def offset(self, position: types.Position) -> int:
        """The offset of a position; beyond the end of a line or of the text it is that end."""
        if position.line >= len(self._starts):
            return len(self._text)
        start = self._starts[position.line]
        end = _LINE_END.search(self._text, start)
        line = self._text[start : end.start() if end else len(self._text)]
        units = 0
        for index, char in enumerate(line):
            if units >= position.character:
                return start + index
            units += self._units(char)
        return start + len(line)

    def _units(self, text: str) -> int:
        if self._encoding == "utf-32":
            return len(text)
        if self._encoding == "utf-8":
            return len(text.encode())
        return len(text) + sum(char > "\uffff" for char in text)


def server() -> LanguageServer:
    """A server; `start_io()` runs it on standard input and output."""
    made = LanguageServer("sqlllm", __version__, text_document_sync_kind=types.TextDocumentSyncKind.Full)
    language = Language()

    def opened(uri: str) -> tuple[str, Positions]:
        text = made.workspace.get_text_document(uri).source
        return text, Positions(text, str(made.workspace.position_encoding or "utf-16"))

    @made.feature(types.TEXT_DOCUMENT_DID_OPEN)
    @made.feature(types.TEXT_DOCUMENT_DID_SAVE)
    @made.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def check(
        asked: types.DidOpenTextDocumentParams | types.DidChangeTextDocumentParams | types.DidSaveTextDocumentParams,
    ) -> None:
        uri = asked.text_document.uri
        text, positions = opened(uri)
        found = diagnostics(text, to_fs_path(uri) or uri, positions)
        made.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, found))

    @made.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def forget(asked: types.DidCloseTextDocumentParams) -> None:
        made.text_document_publish_diagnostics(types.PublishDiagnosticsParams(asked.text_document.uri, []))

    @made.feature(
        types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=[".", "!", "`", '"', "{", "%"])
    )
    def complete(asked: types.CompletionParams) -> types.CompletionList:
        text, positions = opened(asked.text_document.uri)
        cursor = positions.offset(asked.position)
        items = [
            types.CompletionItem(
                label=one.text,
                kind=_KINDS.get(one.kind, types.CompletionItemKind.Text),
                detail=one.kind,
                documentation=one.help or None,
                sort_text=f"{number:04}",  # ours is the order of likelihood
                filter_text=text[one.start : cursor] or None,
                text_edit=types.TextEdit(positions.range(one.start, cursor), one.text),
            )
            for number, one in enumerate(language.complete(text, cursor))
        ]
        return types.CompletionList(is_incomplete=True, items=items)

    @made.feature(types.TEXT_DOCUMENT_HOVER)
    def hover(asked: types.HoverParams) -> types.Hover | None:
        text, positions = opened(asked.text_document.uri)
        told = language.inspect(text, positions.offset(asked.position))
        return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, told)) if told else None

    @made.feature(types.TEXT_DOCUMENT_FORMATTING)
    def style(asked: types.DocumentFormattingParams) -> list[types.TextEdit]:
        text, positions = opened(asked.text_document.uri)
        if parse(text).errors:
            return []
        return [types.TextEdit(positions.range(0, len(text)), format_script(text))]

    return made


def diagnostics(text: str, name: str, positions: Positions) -> list[types.Diagnostic]:
    """What `sqlllm check` reports of a script; what is wrong in an included one stands in the first line."""
    errors, warnings = findings([parse(text, name)], ())
    found = [(error, types.DiagnosticSeverity.Error) for error in errors]
    found += [(warning, types.DiagnosticSeverity.Warning) for warning in warnings]
    return [_diagnostic(error, severity, name, positions) for error, severity in found]


def _diagnostic(
    error: SQLLLMError, severity: types.DiagnosticSeverity, name: str, positions: Positions
) -> types.Diagnostic:
    place = error.place
    shown = error.to_dict()
    message = f"{shown['message']}\n{shown['cure']}".strip()
    if place is None or Path(place.source.name) != Path(name):
        where, message = positions.range(0, 0), f"{place}: {message}" if place else message
    else:
        where = positions.range(place.start, place.end)
    return types.Diagnostic(where, message, severity=severity, source="sqlllm", code=shown["error"])
