"""The tree of errors: complete, picklable, readable."""

from __future__ import annotations

import pickle

import pytest

from sqlllm import errors
from sqlllm.errors import OptionError, PackageError, ParseError, ScriptError, ScriptErrors, SQLLLMError, suggest
from sqlllm.places import Source, mask_secrets

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SQLLLMError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_of_the_docstring_and_survives_pickling(kind: type[SQLLLMError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__
    place = Source("load x", "a.sql").place(0, 4)
    if kind is ScriptErrors:
        several = ScriptErrors.of([ParseError("a", place=place), ParseError("b")])
        assert str(pickle.loads(pickle.dumps(several))) == str(several)
        return
    error = kind("wrong", cure="right", place=place)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "wrong\n  at a.sql:1:1\n1 | load x\n  | ^^^^\nright"
    assert again.to_dict() == error.to_dict()


def test_one_error_stays_itself() -> None:
    only = ScriptError("x")
    assert ScriptErrors.of([only]) is only


def test_an_option_error_keeps_its_key() -> None:
    assert pickle.loads(pickle.dumps(OptionError("x", key="a.b"))).key == "a.b"


def test_the_caret_stands_under_tabs_and_wide_text() -> None:
    place = Source("ab\n\tload json.`x` as t").place(4, 8)
    assert place.quote() == "2 | \tload json.`x` as t\n  | \t^^^^"
    assert (place.line, place.column) == (2, 2)


def test_a_missing_and_a_broken_package_differ() -> None:
    missing = PackageError.from_import_error(ModuleNotFoundError(name="ray"), package="ray", extra="ray")
    broken = PackageError.from_import_error(ImportError("libx.so", name="ray._raylet"), package="ray", extra="ray")
    nested = PackageError.from_import_error(
        ModuleNotFoundError("No module named 'grpc'", name="grpc"), package="ray", extra="ray"
    )
    assert "not installed" in missing.message
    assert "does not load" in broken.message
    assert "does not load" in nested.message


def test_suggest_names_the_nearest_and_all() -> None:
    assert suggest("udfNmae", ["udfName", "action"], what="options") == (
        "Did you mean udfName? Known options: action, udfName."
    )
    assert suggest("zzz", ["a", "b", "a"], what="options") == "Known options: a, b."


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('`saas.api_key`="sk-1"', '`saas.api_key`="****"'),
        ("password='p'", "password='*'"),
        ('"api_key", "sk-1"', '"api_key", "****"'),
        ("secret_token = '''a\nb'''", "secret_token = '''*\n*'''"),
        ('`sft.int.max_tokens`="512" and tokenizer="x"', '`sft.int.max_tokens`="512" and tokenizer="x"'),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert mask_secrets(text) == masked


def test_a_secret_is_masked_in_the_quoted_line() -> None:
    text = 'run command as LLM.`` where `saas.api_key`="sk-123" and acton="infer";'
    error = ParseError("unknown option acton", place=Source(text).place(56, 61))
    assert "sk-123" not in str(error)
