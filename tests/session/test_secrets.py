"""No secret is in anything that a session shows or writes: headlines, errors, notes, printed lines, records."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sqlllm.console.progress import PlainObserver
from sqlllm.errors import SQLLLMError
from sqlllm.places import mask_secrets
from sqlllm.session import Session

from .conftest import Recorder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        'set k = "S" where visibility="un_select";',
        "set k = '''S\nS''' where scope='session' and visibility='un_select';",
        "set api_key = S;",
        "set `my.secret` = `S`;",
        'connect jdbc where user="u" and password="S" as db;',
        "load jdbc.`t` where url='jdbc:postgresql://u:S@h/db' as t;",
        'load jdbc.`t` where url="jdbc:postgresql://h/db?user=u&password=S&x=1" as t;',
        'load jdbc.`t` where url="jdbc:sqlserver://h;password=S;encrypt=true" as t;',
        'select f(map("api_key", "S")) as a as t;',
    ],
)
def test_a_secret_in_a_script_is_masked(text: str) -> None:
    masked = mask_secrets(text.replace("S", SECRET))
    assert SECRET not in masked
    assert len(masked) == len(text.replace("S", SECRET))


def test_other_text_is_not() -> None:
    text = 'set a = "x"; set tokenizer = "y"; load json.`http://h:80/x` where max_tokens="5" as t;'
    assert mask_secrets(text) == text


SCRIPTS = [
    # Errors on the line that holds it, and in values that are made of it.
    'set k = "S" where visibility="un_select" and scope="sesion";',
    'set k = "S" where visibility="un_select"; load json.`/tmp/${k}/x` as t;',
    'set k = "S" where visibility="un_select"; set all = "a ${k}"; load jason.`${all}` as t;',
    'set k = "S" where visibility="un_select"; select "${k}" as a as t;',
    'set k = "S" where visibility="un_select"; load csv.`${data}/x` where ${k}="1" as t;',
    'set api_key = "S"; !println "the key is ${api_key}"; select nothing as a as t;',
    'load jdbc.`t` where url="jdbc:nosuch://h/db?password=S" as t;',
    'connect jdbc where url="jdbc:nosuch://u:S@h" and password="S" as db; load jdbc.`db.t` as t;',
    'set p="S" where visibility="un_select"; connect jdbc where password="${p}" as d; load csv.`/${p}` as t;',
    'run command as LLM.`` where action="infer" and udfName="f" and `saas.api_key`="S" and localModelDir="/m";',
    '!byzerllm setup "saas.api_key=S";',
    'set k = "S" where visibility="un_select"; set say = "!println {0}; select x as t"; !say "${k}";',
    'set k = "S" where visibility="un_select"; include file.`${data}/${k}.sql`;',
    # Parse errors.
    'set k = "S" where visibility="un_select" adn scope="session";',
    'connect jdbc where password="S" nad user="u" as db;',
]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_nothing_that_is_shown_holds_a_secret(script: str, spark: SparkSession, tmp_path: Path) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=400)
    with Session(spark=spark, observer=PlainObserver(console, console)) as session:
        session.override("home", str(tmp_path))
        session.override("data", str(tmp_path))
        with pytest.raises(SQLLLMError) as raised:
            session.run(script.replace("S", SECRET))
    everything = shown.getvalue() + str(raised.value) + json.dumps(raised.value.to_dict())
    assert everything.strip()
    assert SECRET not in everything


@pytest.mark.slow
def test_python_prints_no_secret(session: Session, recorder: Recorder) -> None:
    session.override("allow.python", "true")
    script = f'set k = "{SECRET}" where visibility="un_select";\n--%python\nprint(session.variables.get("k"))\n'
    session.run(script)
    assert recorder.lines == ["***"]
