"""What a statement of Spark SQL may touch, decided on the plan that Spark's own parser makes of it.

A path in the plan is checked as the path of a load is. What calls code outside SQL needs `allow.shell`. A statement
whose paths cannot be seen before it runs is refused, unless `allow.folders` and `allow.shell` allow everything anyway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any, NoReturn

from sqlllm.dialect.tokens import Kind, Token, Tokenizer
from sqlllm.errors import ForbiddenError
from sqlllm.places import Source

from . import guard

if TYPE_CHECKING:
    from sqlllm.dialect import RenderedSql
    from sqlllm.places import Place

    from .session import Session

_ANY_METHOD = frozenset({"java_method", "reflect", "try_reflect"})
_FORMATS = "avro|binaryfile|console|csv|delta|excel|iceberg|image|jdbc|json|kafka|libsvm|noop|orc|parquet|rate|text|xml"
# A query without any of this has no way to a file: a backquoted name beside a dot, a format before a dot (there may be
# a comment between them), a word that leads to paths or code.
_SUSPECT = re.compile(
    rf"(?i)`\s*[./-]|(?:\.|\*/)\s*`|\b(?:{_FORMATS})\b\s*[./-]|reflect|java_method|transform|identifier"
    r"|directory|immediate|\bwith\s*[(/-]|\b(?:using|options|begin|insert|into)\b"
)
_NEXT_LINE = re.compile(r"\n[ \t\r\f\v]*`")  # the comment before it may stand behind a dot
_QUERY = re.compile(r"(?i)\s*(?:select|with|from|table|values|\()")
_RAW = re.compile(r"""\b[rR]['"]""")
_NAMES = ("UnresolvedIdentifier", "UnresolvedRelation", "UnresolvedTable", "UnresolvedTableOrView", "UnresolvedView")
_READING = frozenset(
    {"(", "desc", "describe", "explain", "from", "select", "show", "table", "values", "with"}
)  # first words of statements that change nothing, unless a word of _CHANGING follows
_CHANGING = {
    "insert": ("into", "overwrite"), "delete": ("from",), "merge": ("into", "with"),
    "using": ("'",),  # select transform(...) using 'a command'
}  # fmt: skip
_CODE = {
    "AddArchivesCommand": ("an archive may hold code", ""),
    "AddJarsCommand": ("a jar is code", ""),
    "CreateFunction": ("a function's class is code", "function"),
    "CreateFunctionCommand": ("a function's class is code", "function"),
    "ScriptTransformation": ("transform ... using runs a command", "using"),
}
_HIDDEN = {
    "ExpressionWithUnresolvedIdentifier": "Write the name itself in place of identifier(...).",
    "PlanWithUnresolvedIdentifier": "Write the name itself in place of identifier(...).",
}
_AFTER = {"CreateNamespace": "location", "InsertIntoDir": "directory"}  # the word before a path that the plan hides
_MAPS = ("dbproperties", "options", "serdeproperties", "tblproperties", "with")
_PATHS = ("location", "path", "paths")
# Commands that touch no files but those of names, paths and queries, which are checked wherever they stand.
_COMMANDS = {
    "AddCheckConstraint", "AddColumns", "AddConstraint", "AddFilesCommand", "AddPartitions", "AlterColumns",
    "AlterTableClusterBy", "AlterTableCollation", "AlterViewAs", "AlterViewSchemaBinding", "AnalyzeColumn",
    "AnalyzeTable", "AnalyzeTables", "CacheTable", "CacheTableAsSelect", "Call", "ClearCacheCommand",
    "CommentOnColumn", "CommentOnNamespace", "CommentOnTable", "CreateNamespace", "CreateSQLFunctionCommand",
    "CreateTable", "CreateTableAsSelect", "CreateTableLike", "CreateTempViewUsing", "CreateUserDefinedFunction",
    "CreateVariable", "CreateView", "CreateViewCommand", "DeleteFromTable", "DescribeColumn",
    "DescribeFunction", "DescribeNamespace", "DescribeProcedure", "DescribeQueryCommand", "DescribeRelation",
    "DropColumns", "DropConstraint", "DropFunction", "DropFunctionCommand", "DropNamespace", "DropPartitions",
    "DropTable", "DropTempFunction", "DropTempViewCommand", "DropVariable", "DropView", "ExplainCommand",
    "InsertIntoDir", "InsertIntoStatement", "ListArchivesCommand", "ListFilesCommand", "ListJarsCommand",
    "LoadData", "MergeIntoTable", "RecoverPartitions", "RefreshFunction", "RefreshResource", "RefreshTable",
    "RenameColumn", "RenamePartitions", "RenameTable", "RepairTable", "ReplaceColumns", "ReplaceTable",
    "ReplaceTableAsSelect", "ResetCommand", "SetCatalogAndNamespace", "SetCatalogCommand", "SetCommand",
    "SetNamespaceCommand", "SetNamespaceLocation", "SetNamespaceProperties", "SetTableLocation",
    "SetTableProperties", "SetTableSerDeProperties", "SetVariable", "SetViewProperties", "ShowCatalogsCommand",
    "ShowColumns", "ShowCreateTable", "ShowCurrentNamespaceCommand", "ShowFunctions", "ShowNamespaces",
    "ShowPartitions", "ShowProcedures", "ShowTableExtended", "ShowTableProperties", "ShowTables",
    "ShowTablesExtended", "ShowViews", "TruncatePartition", "TruncateTable", "UncacheTable",
    "UnsetNamespaceProperties", "UnsetTableProperties", "UnsetViewProperties", "UpdateTable",
}  # fmt: skip


def check(session: Session, sql: RenderedSql, *, prefix: str = "") -> None:
    """ForbiddenError if `sql` reads or writes files outside the allowed folders, runs commands or loads code.

    `prefix` is what stands before it when Spark gets it.
    """
    if session.reads_only:
        _check_reads(sql, prefix)
    if guard.allows_everything(session) or (_QUERY.match(prefix + sql.text) and not _is_suspect(sql.text)):
        return
    _Statement(session, sql).check(prefix + sql.text)


def _is_suspect(text: str) -> bool:
    return bool(_SUSPECT.search(text) or ("--" in text and _NEXT_LINE.search(text)))


def _check_reads(sql: RenderedSql, prefix: str) -> None:
    """ForbiddenError if `sql` may change something. Spark takes `with ... insert` and `from ... insert`, too."""
    words: list[str] = []
    for token in _tokens(prefix + sql.text):
        if token.kind is Kind.BLOCK:  # to Spark three quotes are the end of a text and the start of another one
            words += re.findall(r"\w+|\S", token.text.lower())
        else:
            words.append("'" if _is_text(token) else token.text.lower())
    if words and words[0] not in _READING:
        _refuse_change(words[0], sql)
    for index, (before, word) in enumerate(pairwise(words)):
        if word in _CHANGING.get(before, ()) or (before.strip("`") in _ANY_METHOD and word == "("):
            _refuse_change(before, sql)
        if (before, word) == (")", "update") and "set" in words[index + 2 :]:
            _refuse_change(word, sql)


def _refuse_change(what: str, sql: RenderedSql) -> NoReturn:
    raise ForbiddenError(f"{what} may change something, and this session only reads", place=sql.place)


class _Statement:
    def __init__(self, session: Session, sql: RenderedSql) -> None:
        self.session = session
        self.sql = sql
        self.tokens = list(_tokens(sql.text))

    def check(self, text: str) -> None:
        if self.session.settings.spark.remote:  # its parser is elsewhere, its files are its own
            self._words()
            return
        if (plan := self._plan(text)) is None:
            return
        kind = str(plan.getClass().getSimpleName())
        if kind not in _COMMANDS | set(_CODE) and self._is_command(plan):
            raise ForbiddenError(
                f"what {kind} reads and writes cannot be checked",
                cure="Allow every folder with --set allow.folders=/.",
                place=self.sql.place,
            )
        for node in _nodes(self._json(plan)):
            self._node(node)
        self._maps()

    def _plan(self, text: str) -> Any:
        """Spark's plan before any name is looked up; None if Spark cannot parse the text, and so will not run it."""
        from pyspark.errors import ParseException

        spark: Any = self.session.spark
        try:
            return spark._jsparkSession.sessionState().sqlParser().parsePlan(text)
        except ParseException:
            return None

    def _json(self, plan: Any) -> Any:
        from py4j.protocol import Py4JError

        try:
            return json.loads(plan.toJSON())
        except Py4JError:
            self._refuse("what a statement without a readable plan reads", "Write it in another way.")

    def _is_command(self, plan: Any) -> bool:
        from py4j.java_gateway import is_instance_of

        gateway: Any = self.session.spark.sparkContext._gateway
        return any(
            is_instance_of(gateway, plan, f"org.apache.spark.sql.catalyst.plans.logical.{name}")
            for name in ("Command", "ParsedStatement")
        )

    def _node(self, node: dict[str, Any]) -> None:
        kind = str(node.get("class", "")).rpartition(".")[2]
        if kind in _NAMES:
            self._name(str(node.get("multipartIdentifier", node.get("nameParts", ""))))
        elif kind == "UnresolvedFunction":
            self._function(str(node.get("nameParts", "")).strip("[]").rpartition(", ")[2])
        elif kind in _CODE:
            what, word = _CODE[kind]
            guard.require(self.session, "shell", what, self._place(word))
        elif kind in _HIDDEN:
            self._refuse("a name that is computed", _HIDDEN[kind])
        elif kind == "UnresolvedExecuteImmediate":
            self._immediate(node["sqlStmtStr"])
        elif kind == "CreateSQLFunctionCommand" or kind.startswith("CreateUserDefinedFunction"):
            for key, before in (("exprText", "select "), ("queryText", "")):
                if text := node.get(key):
                    self._again(before + str(text))
        elif kind in _AFTER:
            self._after(_AFTER[kind])
        for key in ("location", "path"):
            if isinstance(node.get(key), str):
                self._path(node[key])
        if kind == "AddFilesCommand":
            for path in str(node.get("paths", "")).strip("[]").split(", "):
                self._path(path)

    def _name(self, parts: str) -> None:
        """A name of two parts may be a format and a path."""
        first, several, path = parts.removeprefix("[").removesuffix("]").partition(", ")
        if not several:
            return
        if not re.search(r"[/:\\]", path) and self.session.spark.catalog.tableExists(f"`{first}`.`{path}`"):
            return
        guard.check_path(self.session, path, self._place(first, ".", path))

    def _function(self, name: str) -> None:
        if name.lower() in _ANY_METHOD:
            guard.require(self.session, "shell", f"{name} calls any method of the JVM", self._place(name))

    def _immediate(self, nodes: list[dict[str, Any]]) -> None:
        """execute immediate: the text is checked, of a literal or of a variable."""
        kind = str(nodes[0].get("class", "")).rpartition(".")[2]
        if len(nodes) == 1 and kind == "Literal":
            self._again(str(nodes[0].get("value")))
        elif len(nodes) == 1 and kind == "UnresolvedAttribute":
            from pyspark.errors import PySparkException

            name = str(nodes[0]["nameParts"]).strip("[]")
            quoted = ".".join("`" + part.replace("`", "``") + "`" for part in name.split(", "))
            try:
                row = self.session.spark.sql(f"select {quoted}").first()
            except PySparkException:  # of a script between begin and end: its value is not known yet
                self._refuse("a statement that is computed", "Write the statement itself.")
            self._again("" if row is None else str(row[0]))
        else:
            self._refuse("a statement that is computed", "Write the statement as one text, or in a variable.")

    def _again(self, text: str) -> None:
        """Check a text of SQL within this one; errors stand where this one does."""
        inner = _Statement(self.session, self.sql)
        inner.tokens = list(_tokens(text))
        inner.check(text)

    def _after(self, word: str) -> None:
        """The text behind `word` is the path of the statement."""
        for index, token in enumerate(self.tokens):
            if token.text.lower() == word:
                texts = list(takewhile(_is_text, self.tokens[index + 1 :]))
                if len(texts) == 1:
                    self._literal(texts[0])
                elif texts:
                    self._refuse("a path in several parts", "Write the path as one text.")

    def _maps(self) -> None:
        """`options (path '/a', ...)` and its kin: the plan does not show what is in them."""
        for index, (before, token) in enumerate(pairwise(self.tokens)):
            if token.text != "(" or before.text.lower() not in _MAPS:
                continue
            entry: list[Token] = []
            for one in self.tokens[index + 2 :]:
                if one.text in {",", ")"}:
                    self._entry([part for part in entry if part.text != "="])
                    entry = []
                    if one.text == ")":
                        break
                else:
                    entry.append(one)

    def _entry(self, entry: list[Token]) -> None:
        """One key and one value, each as one text or one word; neighbouring texts are one to Spark."""
        texts = [token for token in entry if _is_text(token)]
        if not entry or not texts:
            return
        key = entry[0].content
        if len(texts) > 1 + _is_text(entry[0]) or "\\" in (key if _is_text(entry[0]) else ""):
            self._refuse("an option in several parts", "Write its key and its value as one text each.")
        if key.lower() in _PATHS:
            if len(entry) != 2 or not _is_text(entry[1]):
                self._refuse("a path that is computed", "Write the path as one text.")
            self._literal(entry[1])

    def _literal(self, token: Token) -> None:
        if token.kind is Kind.BLOCK or "\\" in token.content:  # Spark takes it as the start of an escape
            self._refuse("a path with a backslash or three quotes", "Write the path without them.")
        self._path(token.content)

    def _words(self) -> None:
        """Through Spark Connect: the words that call code."""
        for index, token in enumerate(self.tokens[:-1]):
            word, after = token.content.lower(), self.tokens[index + 1]
            if word in _ANY_METHOD:
                self._function(token.content)
            elif word == "using" and after.kind is Kind.STRING:
                guard.require(self.session, "shell", *_CODE["ScriptTransformation"][:1], self._place(token.text))
            elif word in {"using", "add"} and after.text.lower() in {"jar", "jars", "file", "files", "archive"}:
                guard.require(self.session, "shell", "a jar is code", self._place(token.text))
            elif word == "as" and after.kind is Kind.STRING and self.tokens[0].text.lower() == "create":
                guard.require(self.session, "shell", "a function's class is code", self._place(token.text))
            elif word in {"identifier", "immediate"}:
                following = [one for one in self.tokens[index + 1 : index + 4] if one.text != "("]
                if following[0].kind is Kind.STRING and (len(following) == 1 or following[1].text in {")", ";"}):
                    self._again(following[0].content)
                else:
                    guard.require(self.session, "shell", "SQL that is computed may call code", self._place(token.text))

    def _path(self, path: str) -> None:
        guard.check_path(self.session, path, self._place(path))

    def _refuse(self, what: str, cure: str) -> NoReturn:
        raise ForbiddenError(
            f"{what} may lie outside the folders that scripts may use",
            cure=f"{cure} Or allow every folder: --set allow.folders=/ and allow.shell=true.",
            place=self.sql.place,
        )

    def _place(self, *words: str) -> Place:
        """Where these tokens stand one behind the other; the whole statement if they do not stand there."""
        wanted = [word.lower() for word in words]
        size = len(wanted)
        for index in range(len(self.tokens) - size + 1):
            part = self.tokens[index : index + size]
            if [token.content.lower() for token in part] == wanted and part[-1].end <= len(self.sql.text):
                return self.sql.place_at(part[0].start, part[-1].end)
        return self.sql.place


def _is_text(token: Token) -> bool:
    return token.kind in {Kind.STRING, Kind.BLOCK}


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of the JSON of a plan, whatever it stands in."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _nodes(one)


def _tokens(text: str) -> Iterator[Token]:
    """The tokens without comments, and without the `r` of raw strings."""
    tokenizer = Tokenizer(Source(text))
    while tokens := tokenizer.statement():
        yield from (token for token in tokens if not _RAW.match(text, token.start))
