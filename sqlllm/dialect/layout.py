"""Where the spaces and line breaks of one statement go."""

from __future__ import annotations

from itertools import pairwise

from .clauses import opens_line
from .parser import SAVE_MODES
from .statements import Explain, Macro, Option, Options, Save, Select, Set, Sql, Statement
from .tokens import HEADER_LINE, Kind, Token

INDENT = "    "
WIDTH = 100
_SQL_CLAUSES = frozenset(
    {
        "select", "from", "where", "group", "order", "having", "limit", "union", "intersect", "except", "join", "left",
        "right", "inner", "full", "cross", "lateral", "window", "qualify", "cluster", "distribute", "sort", "values",
        "with",
    }
)  # fmt: skip
_CLOSERS = frozenset(")]}")
_OPENERS = frozenset("([{")
_RAW = (Kind.WORD, Kind.VARIABLE, Kind.SYMBOL, Kind.HINT)


def layout(text: str, statement: Statement, tokens: list[Token], indent: str, indent_after: str) -> str:
    """One statement, from its `tokens` (with comments): its later lines indented by `indent`, what follows its end by
    `indent_after`."""
    tokens, after = _split_end([token for token in tokens if token.kind is not Kind.END])
    style: _Style
    if isinstance(statement, Explain):
        style = _SqlStyle(text, statement.select, tokens)
    elif isinstance(statement, Select | Sql):
        style = _SqlStyle(text, statement, tokens)
    elif isinstance(statement, Macro):
        style = _MacroStyle(text, tokens[0].start)
    else:
        tokens = _normalise(text, statement, tokens)
        style = _ClauseStyle(text, statement, tokens)
    tokens, uncovered = _split_end(tokens)  # by a `where` that was dropped
    tokens += [Token(Kind.END, ";", tokens[-1].end, tokens[-1].end), *uncovered, *after]
    out, ended = [style.spell(tokens[0])], False
    for before, token in pairwise(tokens):
        ended |= before.kind is Kind.END
        breaks = text.count("\n", before.end, token.start)
        if before.kind is Kind.COMMENT and before.text.startswith("--"):
            breaks = max(breaks, 1)  # a lone carriage return ends such a comment, too
        if token.kind is Kind.END:
            glue = ""
        elif token.kind is Kind.COMMENT:
            glue = "\n" if breaks else "  "
        elif before.kind is Kind.COMMENT and breaks:
            glue = "\n"
        else:
            glue = style.glue(before, token)
        style.seen(before)
        if glue == "\n":
            blank = "\n" if breaks > 1 else ""
            glue = f"{blank}\n{indent_after if ended else indent + INDENT * style.level(token)}"
        moved = ended and "\n" in glue and token.kind is Kind.COMMENT
        out += [glue, on_its_own_line(text, token, after_end=True) if moved else style.spell(token)]
    return "".join(out)


def on_its_own_line(text: str, comment: Token, *, after_end: bool = False) -> str:
    """The text of a comment at the start of a line, where it must not open a cell if it did not in `text`."""
    spelt = comment.text.rstrip()
    opened_none = after_end or not opens_line(text, comment) or not HEADER_LINE.match(comment.text)
    return f"-- {spelt[2:]}" if opened_none and HEADER_LINE.match(spelt) else spelt


def _split_end(tokens: list[Token]) -> tuple[list[Token], list[Token]]:
    """`tokens` without the comments at their end, and those."""
    end = len(tokens)
    while tokens[end - 1].kind is Kind.COMMENT:
        end -= 1
    return tokens[:end], tokens[end:]


class _Style:
    """Spacing between tokens that are not comments, and the indentation of a line that begins with a token."""

    def __init__(self, text: str) -> None:
        self._text = text

    def glue(self, before: Token, token: Token) -> str:
        raise NotImplementedError

    def level(self, token: Token) -> int:
        return 1

    def seen(self, token: Token) -> None:
        """`token` has been written."""

    def spell(self, token: Token) -> str:
        return token.text.rstrip() if token.kind is Kind.COMMENT else token.text


class _MacroStyle(_Style):
    """One line; raw arguments are what touches."""

    def __init__(self, text: str, opening: int) -> None:
        super().__init__(text)
        self._opening = opening

    def glue(self, before: Token, token: Token) -> str:
        return "" if before.start == self._opening or _touch(before, token) else " "


class _SqlStyle(_Style):
    """The author's line breaks; indentation by brackets, clauses and the rest of them."""

    def __init__(self, text: str, statement: Select | Sql, tokens: list[Token]) -> None:
        super().__init__(text)
        named = isinstance(statement, Select) and statement.table is not None
        self._alias = statement.sql.place.end if named else tokens[-1].end
        inside = [token for token in tokens if token.start < self._alias]
        self._broken = text.count("\n", inside[0].start, inside[-1].end) > sum(t.text.count("\n") for t in inside)
        self._broken |= any(token.kind is Kind.COMMENT for token in tokens)
        self._line = 0
        self._brackets: list[tuple[int, bool]] = []  # level of the line that opens it, whether a query follows
        self._just_opened = False

    def glue(self, before: Token, token: Token) -> str:
        if token.start >= self._alias:
            return " " if before.start >= self._alias and before.end < token.start else self._before_alias(before)
        gap = self._text[before.end : token.start]
        if "\n" in gap:
            return "\n"
        if token.text == ",":
            return ""
        return " " if gap or before.text == "," else ""

    def _before_alias(self, before: Token) -> str:
        if before.start >= self._alias:
            return ""
        return "\n" if self._broken else " "

    def level(self, token: Token) -> int:
        outer, query = self._brackets[-1] if self._brackets else (-1, True)
        if token.start >= self._alias and token.kind is not Kind.COMMENT:
            self._line = 0
        elif token.text in _CLOSERS:
            self._line = max(outer, 0)
        else:
            self._line = outer + 1 + (query and token.text.lower() not in _SQL_CLAUSES)
        return self._line

    def seen(self, token: Token) -> None:
        if token.kind is Kind.COMMENT:
            return
        if self._just_opened:
            self._brackets[-1] = self._brackets[-1][0], token.text.lower() in {"select", "with", "from"}
        self._just_opened = token.text in _OPENERS
        if self._just_opened:
            self._brackets.append((self._line, False))
        elif token.text in _CLOSERS and self._brackets:
            self._brackets.pop()


class _ClauseStyle(_Style):
    """`load`, `run` and their kin: on one line, or one line for each option."""

    def __init__(self, text: str, statement: Statement, tokens: list[Token]) -> None:
        super().__init__(text)
        options = _options(statement)
        self._first = min((option.key_place.start for option in options), default=len(text))
        self._last = max((option.value_place.end for option in options), default=len(text))
        self._bare = (0, 0)
        self._modes_end = statement.table.place.start if isinstance(statement, Save) else 0
        self._opening = tokens[0].start
        self._set = isinstance(statement, Set)
        if isinstance(statement, Set):
            self._bare = statement.value.place.start, statement.value.place.end
        comments = any(token.kind is Kind.COMMENT for token in tokens)
        length = sum(len(token.text) + 1 for token in tokens)
        self._broken = bool(options) and (len(options) > 1 or comments or length > WIDTH)

    def glue(self, before: Token, token: Token) -> str:
        if self._is_bare(before) and self._is_bare(token):
            return ""
        if self._broken and (token.start == self._first < token.end or self._begins_part(token)):
            return "\n"
        if self._is_bare(before):
            return " "
        if "=" in (before.text, token.text):
            return " " if self._set and token.start <= self._bare[0] else ""
        if "." in (before.text, token.text) or token.text == ",":
            return ""
        return "" if _touch(before, token) and before.text != "," else " "

    def level(self, token: Token) -> int:
        return 0 if token.start >= self._last and self._keyword(token) in {"as", "partitionBy"} else 1

    def spell(self, token: Token) -> str:
        return self._keyword(token) or super().spell(token)

    def _begins_part(self, token: Token) -> bool:
        keyword = self._keyword(token)
        return keyword == "and" or (token.start >= self._last and keyword in {"as", "partitionBy"})

    def _is_bare(self, token: Token) -> bool:
        return self._bare[0] <= token.start < self._bare[1]

    def _keyword(self, token: Token) -> str:
        """The token as a keyword is written, or an empty string."""
        if token.kind is not Kind.WORD or self._is_bare(token) or _ends_name(self._text, token):
            return ""
        word = token.text.lower()
        if token.start < self._modes_end and word in SAVE_MODES:
            return SAVE_MODES[word]
        if token.start == self._opening:
            return word
        return _KEYWORDS.get(word, "")


_KEYWORDS = {word.lower(): word for word in ("as", "into", "where", "and", "partitionBy")}


def _touch(before: Token, token: Token) -> bool:
    """Whether the two are one name or one raw argument; an added `where` has no width and touches nothing."""
    return before.start < before.end == token.start < token.end and before.kind in _RAW and token.kind in _RAW


def _options(statement: Statement) -> list[Option]:
    options = getattr(statement, "options", Options())
    return [*options.repeated, *options.values()]


def _ends_name(text: str, token: Token) -> bool:
    """Whether a word goes on after a variable: `${x}as` is one name."""
    return text[token.start - 1 : token.start] == "}"


def _normalise(text: str, statement: Statement, tokens: list[Token]) -> list[Token]:
    """Options begin with `where`, without a leading `and`; without options there is no `where`."""
    options = _options(statement)
    first = min((option.key_place.start for option in options), default=tokens[-1].end)
    head = statement.value.place.end if isinstance(statement, Set) else 0
    kept: list[Token] = []
    has_where = not options
    for token in tokens:
        word = token.text.lower() if token.kind is Kind.WORD and not _ends_name(text, token) else ""
        if head <= token.start < first and word in {"where", "options", "and"}:
            if word != "and" and not has_where:
                has_where = True
                kept.append(token._replace(text="where"))
            continue
        if token.start == first and not has_where:
            before = len(kept)
            while kept[before - 1].kind is Kind.COMMENT:
                before -= 1
            at = kept[before - 1].end
            kept.insert(before, Token(Kind.WORD, "where", at, at))
        kept.append(token)
    return kept
