"""The pieces that statements share: names, paths, quoted values, `where` clauses."""

from __future__ import annotations

from collections.abc import Container

from ..errors import ParseError, ScriptError, nearest
from ..places import Place, Source
from .statements import Option, Options
from .text import Text
from .tokens import Kind, Token

CLAUSE_WORDS = frozenset({"as", "into", "where", "options", "and", "partitionby"})
STRINGS = (Kind.STRING, Kind.BLOCK)
_NAME_PARTS = (Kind.WORD, Kind.VARIABLE)


class Cursor:
    """A position in the tokens of one statement; the last token may be its `;`."""

    def __init__(self, source: Source, tokens: list[Token]) -> None:
        self.source = source
        self.tokens = tokens
        self.index = 0
        self.errors: list[ScriptError] = []  # those that parsing survives

    # --- looking -----------------------------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> Token | None:
        """The next token of the statement, or None at its end."""
        index = self.index + ahead
        if index >= len(self.tokens) or self.tokens[index].kind is Kind.END:
            return None
        return self.tokens[index]

    def word(self) -> str:
        """The next token in lower case if it is a word, else an empty string."""
        token = self.peek()
        return token.text.lower() if token is not None and token.kind is Kind.WORD else ""

    def at(self, symbol: str) -> bool:
        """Whether the next token is this one character."""
        token = self.peek()
        return token is not None and token.text == symbol

    def at_end(self) -> bool:
        """Whether all tokens are used up."""
        return self.index >= len(self.tokens)

    def place(self, start: int, end: int | None = None) -> Place:
        """The place from token `start` up to the one before `end` (or before the next one)."""
        last = self.tokens[max(start, (self.index if end is None else end) - 1)]
        return self.source.place(self.tokens[start].start, last.end)

    # --- taking ------------------------------------------------------------------------------------------------

    def accept(self, *words: str) -> str:
        """Take the next token if it is one of the keywords `words`; an empty string if not."""
        word = self.word()
        if word not in words:
            return ""
        self.index += 1
        return word

    def expect(self, *words: str, then: str = "") -> str:
        """Take one of the keywords `words`; raises ParseError, which says what comes `then`."""
        if word := self.accept(*words):
            return word
        raise self.unexpected(" or ".join(f"`{word}`" for word in words) + then, words)

    def expect_symbol(self, symbol: str, what: str = "") -> None:
        """Take one character; raises ParseError."""
        if not self.at(symbol):
            raise self.unexpected(what or f"`{symbol}`")
        self.index += 1

    def end(self, expected: str, keywords: Container[str]) -> None:
        """Take the end of the statement; raises ParseError if something else follows."""
        token = self.peek()
        if token is None:
            self.index += 1
        elif token.text.lower() in keywords and self._opens_line(token):
            end = self.tokens[self.index - 1].end
            raise ParseError("this statement has no `;`", cure="Add `;` here.", place=self.source.place(end - 1, end))
        else:
            raise self.unexpected(expected)

    def name(self, what: str) -> Text:
        """A bare name (letters, digits, `_`, `${variables}`) or a backquoted one; raises ParseError."""
        token = self.peek()
        if token is not None and token.kind is Kind.BACKQUOTED:
            self.index += 1
            return self.text(token)
        if token is None or token.kind not in _NAME_PARTS or self.word() in CLAUSE_WORDS:
            raise self.unexpected(what)
        return self._run(_NAME_PARTS)

    def path(self, what: str) -> Text:
        """A name, or several joined by `.`; raises ParseError."""
        start = self.index
        name = self.name(what)
        while self.at("."):
            self.index += 1
            name = self.name(what)
        if self.index - start > 1 and name.place.start != self.tokens[start].start:
            parts = [token.content for token in self.tokens[start : self.index]]
            return self.make("".join(parts), self.place(start), self.tokens[start].start)
        return name

    def value(self, key: str) -> Text:
        """A quoted value or a whole number; another bare one is an error that parsing survives.

        Raises ParseError if there is none.
        """
        token = self.peek()
        if token is not None and token.kind in STRINGS:
            self.index += 1
            return self.text(token)
        if token is None or token.kind is Kind.UNCLOSED or self.word() in CLAUSE_WORDS:
            raise self.unexpected(f"a quoted value for {key}")
        text = self.bare()
        if text.raw.isdecimal():
            return text
        error = ParseError(
            f"the value of {key} is not quoted", cure=f'Write {key}="{text.raw.strip("`")}".', place=text.place
        )
        self.errors.append(error)
        return text

    def bare(self) -> Text:
        """Tokens that touch each other, up to white space or a quoted one: a raw macro argument, a bare value."""
        token = self.peek()
        assert token is not None
        if token.kind is Kind.BACKQUOTED:
            self.index += 1
            return self.text(token)
        return self._run(_BARE)

    def options(self) -> Options:
        """An optional `where` clause; raises ParseError. A leading `and` is fine, as Byzer has it.

        Of an option that is given twice the last one counts, also as Byzer has it.
        """
        options: list[Option] = []
        self.accept("where", "options")
        self.accept("and")
        while self._at_option():
            start = self.index
            key = self.path("an option").raw
            key_place = self.place(start)
            if not self.at("="):
                near = nearest(key, ("where", "options", "and", "as")) if key_place.text[0] != "`" else None
                error = self.unexpected(f'`="..."` after option {key}')
                error.cure = f"Did you mean {near} in place of {key}?" if near else error.cure
                raise error
            self.index += 1
            options.append(Option(key, self.value(key), key_place))
            if self.accept("and"):
                if not self._at_option():
                    raise self.unexpected("an option after `and`")
            elif self._at_option() or ((token := self.peek()) is not None and token.text == ","):
                error = self.unexpected("`and` between options")
                self.errors.append(error)
                self.index += error.message.endswith("`,`")
        return Options(options)

    # --- making ------------------------------------------------------------------------------------------------

    def text(self, token: Token) -> Text:
        """The content of a token as Text."""
        return self.make(token.content, self.source.place(token.start, token.end), token.content_start)

    def verbatim(self, token: Token) -> Text:
        """The content of a token as Text without variables: `${x}` in it is the shell's."""
        place = self.source.place(token.start, token.end)
        return Text(token.content, place, token.content_start, (token.content,))

    def make(self, raw: str, place: Place, start: int) -> Text:
        """`raw`, found at offset `start`, as Text; a broken `${` is an error that parsing survives."""
        broken: list[ParseError] = []
        text = Text.of(raw, place, start=start, errors=broken)
        self.errors += broken
        return text

    def unexpected(self, expected: str, known: tuple[str, ...] = ()) -> ParseError:
        """The error for the next token."""
        token = self.peek()
        if token is None:
            last = self.tokens[min(self.index, len(self.tokens) - 1)]
            place = self.source.place(last.start, last.end)
            return ParseError(f"expected {expected}, found the end of the statement", place=place)
        shown = token.text if len(token.text) <= 40 else token.text[:37] + "..."
        near = nearest(token.text, known) if token.kind is Kind.WORD else None
        return ParseError(
            f"expected {expected}, found `{shown}`",
            cure=f"Did you mean {near}?" if near else "",
            place=self.source.place(token.start, token.end),
        )

    def recover(self, start: int, keywords: Container[str]) -> None:
        """After an error in the statement that begins at token `start`: go to where the next one can begin."""
        self.index = max(self.index, start + 1)
        while self.index < len(self.tokens):
            token = self.tokens[self.index]
            if token.kind is Kind.END:
                self.index += 1
                return
            if (token.text.lower() in keywords or token.text == "!") and self._opens_line(token):
                return
            self.index += 1

    # --- inside ------------------------------------------------------------------------------------------------

    def _run(self, kinds: tuple[Kind, ...]) -> Text:
        start = self.index
        self.index += 1
        while (
            (token := self.peek()) is not None
            and token.kind in kinds
            and token.start == self.tokens[self.index - 1].end
        ):
            self.index += 1
        place = self.place(start)
        return self.make(place.text, place, place.start)

    def _at_option(self) -> bool:
        token = self.peek()
        return (
            token is not None
            and (token.kind in _NAME_PARTS or token.kind is Kind.BACKQUOTED)
            and self.word() not in CLAUSE_WORDS
        )

    def _opens_line(self, token: Token) -> bool:
        return opens_line(self.source.text, token)


def opens_line(text: str, token: Token) -> bool:
    """Whether `token` of `text` is the first of its line."""
    return not text[text.rfind("\n", 0, token.start) + 1 : token.start].strip()


_BARE = (Kind.WORD, Kind.VARIABLE, Kind.SYMBOL, Kind.HINT)
