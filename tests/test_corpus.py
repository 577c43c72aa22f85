import io
import zipfile

import pandas as pd
import pytest

from sentidistill import corpus, packages
from sentidistill.config import Package
from sentidistill.errors import SentiDistillError


@pytest.mark.parametrize(
    ("raw", "clean"),
    [("a &amp; b", "a & b"), ("  a\t\n b ", "a b"), ("cafe\u0301", "café"), ("a\u200bb\x00c", "a b c")],
)
def test_clean(raw, clean):
    assert corpus.clean(raw) == clean


def test_distinct_texts_have_the_allowed_length_and_come_in_any_order_the_same():
    texts = ["So good, really!", "so GOOD really", "short", "x" * 50, "Another text here"]
    kept = corpus.distinct(texts, 10, 40)
    assert len(kept) == 2
    assert corpus.distinct(texts[::-1], 10, 40)[0][:2].lower() == kept[0][:2].lower()


def test_near_duplicates_are_found_and_other_texts_are_not():
    references = ["The battery of this camera lasts for two whole days.", "What a wonderful evening we had."]
    texts = [
        "the battery of this camera lasts for two whole days",
        "The battery of this camera lasts for three whole days.",
        "The screen of this phone broke on the first day.",
        "What a wonderful evening we had!!!",
    ]
    assert corpus.near_duplicates(texts, references, 0.7) == [True, True, False, True]
    assert corpus.near_duplicates(texts, [], 0.7) == [False] * 4


def test_short_texts_without_any_gram_are_compared_exactly():
    assert corpus.near_duplicates(["a b", "c d"], ["A, b"], 0.7) == [True, False]


def test_pools_are_disjoint_stable_and_spread_over_the_domains():
    texts = [(domain, f"{domain} text number {i}") for domain in ("tweet", "movie") for i in range(40)]
    sizes = {"enumeration": 10, "style": 6, "distillation": 30}
    rows = corpus.assign_pools(texts, sizes)
    assert len({row.id for row in rows}) == len(rows)
    for pool, size in sizes.items():
        assert sum(row.pool == pool for row in rows) == size
        assert sum(row.pool == pool and row.domain == "tweet" for row in rows) == size // 2
    assert corpus.assign_pools(texts[::-1], sizes) == rows


def test_a_small_domain_is_shared_out_in_proportion():
    texts = [("a", f"text {i} of a") for i in range(10)]
    rows = corpus.assign_pools(texts, {"enumeration": 10, "style": 10, "distillation": 80})
    assert sum(row.pool == "distillation" for row in rows) == 8


def test_own_files_are_read_in_every_format(tmp_path):
    table = pd.DataFrame({"review": ["Good, really", "Bad"]})
    table.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    for kind in ("jsonl", "csv", "parquet"):
        assert corpus.read_file(tmp_path / f"a.{kind}", "review") == ["Good, really", "Bad"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "ok"}\n{"text": \n', "a.jsonl, line 2"),
        ("a.jsonl", b'{"text": "ok"}\n{"other": "x"}\n', "a.jsonl, line 2: no text under 'text'"),
        ("a.jsonl", b'{"text": "ok"}\n\xff\xfe\n', "a.jsonl, line 2"),
        ("a.jsonl", b"[1]\n", "a.jsonl, line 1"),
        ("a.csv", b"text\nok\n\xff\n", "a.csv, line"),
        ("a.csv", b"other\nok\n", "a.csv, line 2: no text under 'text'"),
        ("a.parquet", b"nonsense", "a.parquet: not a Parquet file"),
        ("a.jsonl", b"", "a.jsonl: no texts"),
        ("a.txt", b"x", "unknown kind of file"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SentiDistillError, match=message):
        corpus.read_file(path, "text")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SentiDistillError, match=r"gone\.csv"):
        corpus.read_file(tmp_path / "gone.csv", "text")


def test_members_of_archives_come_in_name_order():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("x/part1", "x/part0", "y/part2"):
            archive.writestr(name, name)
    assert packages.members(buffer.getvalue(), "x/part*") == {"x/part0": b"x/part0", "x/part1": b"x/part1"}


def test_a_package_that_does_not_exist_is_named(tmp_path):
    package = Package(name="no-such-package-of-ours", version="9.9.9", sha256="0" * 64)
    with pytest.raises(SentiDistillError, match=r"no-such-package-of-ours==9\.9\.9: pip could not fetch it"):
        packages.fetch(package, tmp_path / "downloads")
    assert not (tmp_path / "downloads").exists()


def test_a_wrong_checksum_is_an_error_and_nothing_is_kept(tmp_path, monkeypatch):
    """pip is given a folder with a wheel of ours, so that no registry is needed."""
    wheel = tmp_path / "wheels" / "tiny_wheel_of_ours-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_wheel_of_ours/data", "content")
        archive.writestr("tiny_wheel_of_ours-1.0.dist-info/METADATA", "Name: tiny-wheel-of-ours\nVersion: 1.0\n")
        archive.writestr("tiny_wheel_of_ours-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_wheel_of_ours-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    package = Package(name="tiny-wheel-of-ours", version="1.0", sha256="0" * 64)
    with pytest.raises(SentiDistillError, match="SHA-256") as error:
        packages.fetch(package, tmp_path / "downloads")
    assert packages.sha256(wheel) in str(error.value)
    assert not (tmp_path / "downloads").exists()
    right = package.model_copy(update={"sha256": packages.sha256(wheel)})
    assert packages.fetch(right, tmp_path / "downloads").read_bytes() == wheel.read_bytes()
    wheel.unlink()
    assert packages.fetch(right, tmp_path / "downloads").exists()
