"""User texts: reading, cleaning, de-duplication, decontamination and disjoint pools."""

import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from sentidistill import packages
from sentidistill.config import Vader
from sentidistill.errors import SentiDistillError
from sentidistill.records import Record, content_id

COMPARE_ROWS = 1024


class Text(Record):
    """One text of the corpus. `pool` is "enumeration", "style" or "distillation"."""

    id: str
    domain: str
    text: str
    pool: str


class Rated(Record):
    text: str
    rating: float


def clean(text: str) -> str:
    """Entities resolved, Unicode composed, control characters and runs of blanks made one blank."""
    text = unicodedata.normalize("NFC", html.unescape(text))
    text = "".join(" " if unicodedata.category(character)[0] == "C" else character for character in text)
    return re.sub(r"\s+", " ", text).strip()


def fold(text: str) -> str:
    """The form in which two texts count as the same: letters and digits in lower case."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def text_id(text: str) -> str:
    return content_id(fold(text))


def distinct(texts: Iterable[str], min_chars: int, max_chars: int) -> list[str]:
    """Clean texts of an allowed length, each once, in the order of their content hash."""
    cleaned = (clean(text) for text in texts)
    by_id = {text_id(text): text for text in cleaned if min_chars <= len(text) <= max_chars}
    return [by_id[key] for key in sorted(by_id)]


def rated_sentences(vader: Vader, downloads: Path, name: str) -> list[Rated]:
    """Sentences and mean ratings of one file of the VADER data, e.g. `name` "tweets"."""
    inner = packages.members(packages.fetch(vader.package, downloads).read_bytes(), vader.inner_archive)
    if len(inner) != 1:
        raise SentiDistillError(f"{vader.package.name}: {len(inner)} members match '{vader.inner_archive}', not one")
    files = packages.members(next(iter(inner.values())), f"*/{name}_GroundTruth.txt")
    if len(files) != 1:
        raise SentiDistillError(f"{vader.package.name}: no file {name}_GroundTruth.txt; check params.yaml")
    rows = []
    for number, line in enumerate(next(iter(files.values())).decode("utf-8").splitlines(), 1):
        try:
            _, rating, text = line.split("\t")
            rows.append(Rated(text=text, rating=float(rating)))
        except ValueError as error:
            raise SentiDistillError(f"{name}_GroundTruth.txt, line {number}: expected id, rating, text") from error
    return rows


def read_file(path: Path, field: str) -> list[str]:
    """Texts of a JSONL, CSV or Parquet file: the column or key `field`.

    Raises `SentiDistillError` naming the file and, where there is one, the line.
    """
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SentiDistillError(f"{path}: unknown kind of file; use one of {', '.join(readers)}")
    try:
        texts = reader(path, field)
    except OSError as error:
        raise SentiDistillError(f"{path}: cannot be read ({error})") from error
    if not texts:
        raise SentiDistillError(f"{path}: no texts in it")
    return texts


def _read_jsonl(path: Path, field: str) -> list[str]:
    texts = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except ValueError as error:
            raise SentiDistillError(f"{path}, line {number}: not JSON in UTF-8 ({error})") from error
        texts.append(_text_of(row.get(field) if isinstance(row, dict) else None, path, number, field))
    return texts


def _read_csv(path: Path, field: str) -> list[str]:
    import csv

    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        texts = []
        try:
            for row in reader:
                texts.append(_text_of(row.get(field), path, reader.line_num, field))
        except (csv.Error, UnicodeDecodeError) as error:
            raise SentiDistillError(f"{path}, line {reader.line_num + 1}: {error}") from error
    return texts


def _read_parquet(path: Path, field: str) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise SentiDistillError(f"{path}: not a Parquet file ({error})") from error
    column = table.column(field).to_pylist() if field in table.column_names else [None] * min(1, len(table))
    return [_text_of(value, path, number, field, "row") for number, value in enumerate(column, 1)]


def _text_of(value: object, path: Path, number: int, field: str, unit: str = "line") -> str:
    if not isinstance(value, str):
        raise SentiDistillError(f"{path}, {unit} {number}: no text under '{field}'; set text_field in params.yaml")
    return value


def near_duplicates(texts: Sequence[str], references: Sequence[str], similarity: float) -> list[bool]:
    """Which `texts` are the same as, or nearly the same as, one of `references`.

    Two texts are near-duplicates where the Jaccard similarity of their sets of character 5-grams
    (within word boundaries, case folded) reaches `similarity`. Exact, not sketched.
    """
    if not texts or not references:
        return [False] * len(texts)
    import numpy as np
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=(5, 5), binary=True, norm=None, alternate_sign=False, n_features=2**22
    )
    known = vectorizer.transform(fold(text) for text in references)
    known_sizes = np.asarray(known.sum(axis=1)).ravel()
    same = {fold(text) for text in references}
    flags: list[bool] = []
    for start in range(0, len(texts), COMPARE_ROWS):
        rows = [fold(text) for text in texts[start : start + COMPARE_ROWS]]
        grams = vectorizer.transform(rows)
        common = (grams @ known.T).toarray()
        union = np.asarray(grams.sum(axis=1)) + known_sizes[None] - common
        close = (common / np.maximum(union, 1) >= similarity).any(axis=1)
        flags += [bool(near) or row in same for near, row in zip(close, rows)]
    return flags


def assign_pools(texts: Sequence[tuple[str, str]], sizes: dict[str, int]) -> list[Text]:
    """Split (domain, text) pairs into disjoint pools of about `sizes`, spread evenly over the domains.

    A text's place follows from its content hash alone, so adding texts moves few of the others.
    A pool is short where a domain has too few texts.
    """
    domains = sorted({domain for domain, _ in texts})
    total = sum(sizes.values())
    rows = []
    for number, domain in enumerate(domains):
        ids = sorted((text_id(text), text) for of, text in texts if of == domain)
        ids.sort(key=lambda pair: hashlib.sha256(f"pool {pair[0]}".encode()).digest())
        quotas = {name: _part(size, number, len(domains)) for name, size in sizes.items()}
        if len(ids) < sum(quotas.values()):
            quotas = {name: len(ids) * size // total for name, size in sizes.items()}
        start = 0
        for name, quota in quotas.items():
            rows += [Text(id=key, domain=domain, text=text, pool=name) for key, text in ids[start : start + quota]]
            start += quota
    return sorted(rows, key=lambda row: row.id)


def _part(size: int, number: int, parts: int) -> int:
    """The share of part `number` when `size` is divided as evenly as whole numbers allow."""
    return size * (number + 1) // parts - size * number // parts
