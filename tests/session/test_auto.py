"""load auto: what the first lines of CSV say of its separator and its header."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sqlllm.errors import OptionError
from sqlllm.session import Session
from sqlllm.session.auto import _of, csv_options

from .cases import rows_of


@pytest.mark.parametrize(
    ("text", "separator", "header"),
    [
        ("id,name\n1,Al\n2,Bo", ",", "true"),
        ("1,Al\n2,Bo", ",", "false"),
        ("id;price\n1;2,50\n2;3,75", ";", "true"),
        ("a\tb\n1,5\t2", "\t", "true"),
        ("a|b|c\n1|2|3", "|", "true"),
        ('id,text\n1,"a; b; c\nd; e"\n2,"x"', ",", "true"),
        ("name\nAl\nBo", ",", "true"),
        ("2026-01-02,Al\n2026-01-03,Bo", ",", "false"),
        ("a,a\n1,2", ",", "false"),
        ("a,,b\n1,2,3", ",", "false"),
        ("", ",", "false"),
    ],
)
def test_the_first_lines_of_csv(text: str, separator: str, header: str) -> None:
    assert csv_options(text.splitlines()) == {"sep": separator, "header": header, "inferSchema": "true"}


def test_the_ending() -> None:
    names = ("a.csv", "/x.y/a.JSONL", "a.csv.gz", "s3a://b/part-0.snappy.parquet", "folder", "/x.y/folder")
    assert list(map(_of, names)) == [".csv", ".jsonl", ".csv", ".parquet", "", ""]


@pytest.mark.slow
def test_files_and_folders(session: Session, tmp_path: Path) -> None:
    (tmp_path / "tabs.tsv.gz").write_bytes(gzip.compress(b'n\ttext\n1\t"a\nb"\n'))
    assert rows_of(session, "load auto.`${data}/tabs.tsv.gz` as t;") == [{"n": 1, "text": "a\nb"}]
    assert rows_of(
        session, 'load auto.`${data}/people.csv` where header="false" as t; select count(*) as n from t;'
    ) == [{"n": 4}]
    session.run("select 1 as a, 'x' as b as t; save overwrite t as json.`${out}/folder`;")
    assert rows_of(session, "load auto.`${out}/folder` as t;") == [{"a": 1, "b": "x"}]
    session.run("save overwrite t as parquet.`${out}/folder2`;")
    assert rows_of(session, "load auto.`${out}/folder2/*` as t;") == [{"a": 1, "b": "x"}]
    with pytest.raises(OptionError, match="has an ending that names no format"):
        session.run("load auto.`${data}/x.pdf` as t;")
    with pytest.raises(OptionError, match="csv has no option heder"):
        session.run('load auto.`${data}/people.csv` where heder="true" as t;')
