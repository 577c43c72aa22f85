"""Rows of JSONL files: what was written is what is read, whatever characters texts hold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentidistill import records
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import sentibench

# What `str.splitlines` takes for the end of a line.
SEPARATORS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


class Row(records.Record):
    text: str


@pytest.mark.parametrize("mark", SEPARATORS)
def test_a_separator_in_a_text_is_no_end_of_a_row(mark, tmp_path):
    rows = [Row(text=f"one{mark}two"), Row(text=mark), Row(text="three")]
    records.write_jsonl(tmp_path / "a.jsonl", rows)
    assert records.read_jsonl(tmp_path / "a.jsonl", Row) == rows
    assert [row["text"] for row in sentibench.read(tmp_path / "a.jsonl")] == [row.text for row in rows]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text()))
def test_rows_come_back_as_they_were(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    rows = [Row(text=text) for text in texts]
    records.write_jsonl(path, rows)
    assert records.read_jsonl(path, Row) == rows


def test_half_a_surrogate_pair_is_replaced_and_has_an_id(tmp_path):
    records.write_text(tmp_path / "a.txt", "so \ud83d good")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "so ? good"
    assert records.content_id("\ud83d") != records.content_id("\ud83e")


def test_a_bad_line_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\u2028b"}\n{"text": 3}\n', encoding="utf-8")
    with pytest.raises(SentiDistillError, match=r"a\.jsonl, line 2: not a Row"):
        records.read_jsonl(tmp_path / "a.jsonl", Row)
    (tmp_path / "b.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(SentiDistillError, match=r"b\.jsonl: cannot be read"):
        records.read_jsonl(tmp_path / "b.jsonl", Row)
