"""The language server, by its protocol, as an editor uses it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from sqlllm.console.lsp import Positions

SCRIPT = """load csv.`nowhere.csv` as reviews;
select '🎉', ai_classfy(text, array('a')) as kind
from reviews as judged;
select * from ju
"""


async def talk(folder: Path) -> None:
    client = LanguageClient("test", "1")
    published: asyncio.Queue[types.PublishDiagnosticsParams] = asyncio.Queue()

    @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    def publish(told: types.PublishDiagnosticsParams) -> None:
        published.put_nowait(told)

    command = "import sys; sys.argv[:] = ['sqlllm', 'lsp', '--stdio']; from sqlllm.console.cli import main; main()"
    await client.start_io(sys.executable, "-c", command, cwd=folder)
    begun = await client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
    assert begun.server_info is not None
    assert begun.server_info.name == "sqlllm"
    client.initialized(types.InitializedParams())
    uri = (folder / "a.sql").as_uri()
    document = types.TextDocumentIdentifier(uri)

    client.text_document_did_open(
        types.DidOpenTextDocumentParams(types.TextDocumentItem(uri, types.LanguageKind.Sql, 1, SCRIPT))
    )
    found = (await published.get()).diagnostics
    assert [(one.severity, one.range.start, one.range.end, one.message) for one in found] == [
        (
            types.DiagnosticSeverity.Error,
            types.Position(1, 13),  # the emoji counts two
            types.Position(1, 23),
            "there is no function ai_classfy\nDid you mean ai_classify?",
        ),
        (
            types.DiagnosticSeverity.Warning,
            types.Position(0, 9),
            types.Position(0, 22),
            "there is no file nowhere.csv",
        ),
    ]

    completed = await client.text_document_completion_async(types.CompletionParams(document, types.Position(3, 16)))
    assert isinstance(completed, types.CompletionList)
    first = completed.items[0]
    assert (first.label, first.documentation) == ("judged", "line 2")
    assert first.text_edit == types.TextEdit(types.Range(types.Position(3, 14), types.Position(3, 16)), "judged")

    right = SCRIPT.replace("ai_classfy", "ai_classify").replace("nowhere.csv", "a.csv").replace("ju\n", "judged")
    (folder / "a.csv").touch()
    change = types.TextDocumentContentChangeWholeDocument(right)
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(types.VersionedTextDocumentIdentifier(2, uri), [change])
    )
    assert list((await published.get()).diagnostics) == []

    told = await client.text_document_hover_async(types.HoverParams(document, types.Position(1, 16)))
    assert told is not None
    assert isinstance(told.contents, types.MarkupContent)
    assert "ai_classify(content, labels" in told.contents.value

    options = types.FormattingOptions(tab_size=4, insert_spaces=True)
    edits = await client.text_document_formatting_async(types.DocumentFormattingParams(document, options))
    assert edits is not None
    (edit,) = edits
    assert edit.range == types.Range(types.Position(0, 0), types.Position(3, 20))
    assert edit.new_text.endswith("select * from judged;\n")

    client.text_document_did_close(types.DidCloseTextDocumentParams(document))
    assert list((await published.get()).diagnostics) == []
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()


@pytest.mark.timeout(120)
def test_an_editor_opens_completes_hovers_formats_and_closes(tmp_path: Path) -> None:
    asyncio.run(talk(tmp_path))


TEXT = "a🎉b\r\n\u2028é\rend"


@pytest.mark.parametrize(
    ("offset", "utf16", "utf8", "utf32"),
    [
        (0, (0, 0), (0, 0), (0, 0)),
        (2, (0, 3), (0, 5), (0, 2)),
        (5, (1, 0), (1, 0), (1, 0)),
        (7, (1, 2), (1, 5), (1, 2)),
        (11, (2, 3), (2, 3), (2, 3)),
    ],
)
def test_positions(offset: int, utf16: tuple[int, int], utf8: tuple[int, int], utf32: tuple[int, int]) -> None:
    for encoding, (line, character) in (("utf-16", utf16), ("utf-8", utf8), ("utf-32", utf32)):
        positions = Positions(TEXT, encoding)
        assert positions.at(offset) == types.Position(line, character)
        assert positions.offset(types.Position(line, character)) == offset


def test_a_position_beyond_the_end_is_the_end() -> None:
    positions = Positions(TEXT)
    assert positions.offset(types.Position(0, 99)) == 3
    assert positions.offset(types.Position(9, 0)) == len(TEXT)
