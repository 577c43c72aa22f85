"""User texts: reading, cleaning, de-duplication, decontamination and disjoint pools."""

import csv
import hashlib
import html
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from html.entities import html5
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from sentidistill.config import Vader
from sentidistill.errors import SentiDistillError
from sentidistill.records import Record, Table, content_id
from sentidistill.sources import packages
from sentidistill.sources.apportionment import apportion

COMPARE_ROWS = 1024
# With fewer texts, an attribute that several of them share is chance, and hardly anything is left to train on.
MIN_TEXTS = 30

Of = TypeVar("Of")

# Characters are spelled out: each Python has other tables of Unicode, and ids must be the same in all of them.
_ENTITY = re.compile(r"&(?:amp;)*(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]*);")
_NFC = partial(unicodedata.normalize, "NFC")
_REMOVED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff]")
_URL = "[a-z0-9%_~:/?#@!$&*+,;=.-]+"
_LINKS = re.compile(
    rf"(?:https?://|www\.){_URL}"
    rf"|(?<![a-z0-9@.-])(?:[a-z0-9-]+\.)+[a-z]{{2,}}/{_URL}"  # t.co/1a2b
    r"|(?<![a-z0-9])(?:http|httpurl|<url>)(?![a-z0-9])"  # as TweetEval, BERTweet and GloVe mask them
)
_HANDLES = re.compile(r"(?<![a-z0-9_])@[a-z0-9_]+(?:[.@][a-z0-9_-]+)*|<user>")
_MASKS = {"://", "@"}
_TYPOGRAPHIC = str.maketrans(
    "’‘ʼ`–—−",
    "''''---",
    # Soft hyphens, zero-width spaces, marks of direction, variation selectors. What joins letters or emoji stays.
    '"“”„«»\u00ad\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufe0e\ufe0f',
)
_SENTENCE_MARKS = re.compile(r"[.,;:!?…]+(?=\s|$)|[¿¡。，、！？；：।॥،؛؟۔]")
# Scripts without blanks between words, and how many characters a word has.
_UNSPACED = [
    (re.compile("[々-〇ぁ-ヿㄅ-ㄯㇰ-ㇿ㐀-䶿一-鿿豈-\ufaffｦ-ﾝ\U00020000-\U0003ffff]"), 2),  # Chinese, Japanese
    (re.compile("[\u0e00-\u109f\u1780-\u17ff]"), 4),  # Thai, Lao, Tibetan, Burmese, Khmer
]


class Text(Record):
    """One text of the corpus. `pool` is "enumeration" or "distillation"."""

    id: str
    domain: str
    text: str
    pool: str


TEXTS = Table("data/corpus.jsonl", Text)


class Rated(Record):
    text: str
    rating: float


def clean(text: str) -> str:
    """`text` as the corpus has it: HTML entities resolved, in NFC, every run of blanks one blank.

    Control characters, byte order marks and lone surrogates are removed; surrogates in pairs are joined. All else
    stays: what joins emoji or letters, and characters that are newer than this Python. Cleaning a clean text changes
    nothing.
    """
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    before = None
    # Texts are often escaped more than once: "&amp;lt;".
    while text != before:
        before = text
        text = _where_known(_NFC, _ENTITY.sub(_character, _REMOVED.sub("", text)))
    return " ".join(text.split())


def _character(entity: re.Match[str]) -> str:
    whole = f"&{entity[1]};"
    return html.unescape(whole) if entity[1][0] == "#" else html5.get(whole[1:], whole)


def _where_known(function: Callable[[str], str], text: str) -> str:
    """`function` of each run of characters that are in Unicode 3.2, the version that all Pythons have beside their own.

    Unicode never changes what it says of a character for NFC and case folding, but newer versions know more of them.
    """
    if text.isascii():
        return function(text)
    runs = groupby(text, lambda character: unicodedata.ucd_3_2_0.category(character) != "Cn")
    return "".join(function("".join(run)) if known else "".join(run) for known, run in runs)


def fold(text: str) -> str:
    """The form in which two texts count as the same, for ids as for near-duplicates.

    It leaves out case, sentence and quotation marks, and invisible characters. Every @handle is one token, and so is
    every link: data sets mask them, and no opinion changes with them. Everything else tells texts apart: marks of
    letters, emoji, ":)", "C++". Where nothing else is left, the text stands for itself.
    """
    whole = _where_known(str.casefold, clean(text))
    bare = _HANDLES.sub(" @ ", _LINKS.sub(" :// ", whole.translate(_TYPOGRAPHIC)))
    tokens = _SENTENCE_MARKS.sub(" ", bare).split()
    return whole if _MASKS.issuperset(tokens) else " ".join(tokens)


def text_id(text: str) -> str:
    """The id of all texts that are the same by `fold`.

    As splits, pools and decontamination go by it, no two of them hold one text under different handles.
    """
    return content_id(fold(text))


def word_count(text: str) -> int:
    """How many words `text` has, in any script.

    Words are parted by blanks and have a letter or digit. In scripts without blanks, two characters count as a word
    (Chinese, Japanese) or four (Thai, Lao, Tibetan, Burmese, Khmer), rounded up.
    """
    words = 0
    for script, characters in _UNSPACED:
        text, found = script.subn(" ", text)
        words += math.ceil(found / characters)
    return words + sum(any(map(str.isalnum, piece)) for piece in text.split())


def distinct(
    rows: Iterable[tuple[str, Of]], min_chars: int, max_chars: int
) -> tuple[list[tuple[str, Of]], dict[str, int]]:
    """(clean texts of an allowed length, each once, in the order of their ids; how many were left out, by reason).

    `rows` are texts and what belongs to them, such as a rating. Of texts that are the same, the first in code point
    order is kept; of equal ones, the first in `rows`.
    """
    cleaned = [(clean(text), of) for text, of in rows]
    fitting = [row for row in cleaned if min_chars <= len(row[0]) <= max_chars]
    by_id: dict[str, tuple[str, Of]] = {}
    for row in sorted(fitting, key=lambda row: row[0]):
        by_id.setdefault(text_id(row[0]), row)
    left_out = {"too_short_or_long": len(cleaned) - len(fitting), "same_as_another": len(fitting) - len(by_id)}
    return [by_id[key] for key in sorted(by_id)], left_out


def rated_sentences(vader: Vader, downloads: Path, name: str) -> list[Rated]:
    """Sentences and mean ratings of one file of the VADER data, e.g. `name` "tweets"."""
    inner = packages.members(packages.fetch(vader.package, downloads).read_bytes(), vader.inner_archive)
    if len(inner) != 1:
        raise SentiDistillError(f"{vader.package.name}: {len(inner)} members match '{vader.inner_archive}', not one")
    files = packages.members(next(iter(inner.values())), f"*/{name}_GroundTruth.txt")
    if len(files) != 1:
        raise SentiDistillError(f"{vader.package.name}: no file {name}_GroundTruth.txt; check params.yaml")
    rows = []
    for number, line in enumerate(next(iter(files.values())).decode("utf-8").strip("\r\n").split("\n"), 1):
        try:
            _, rating, text = line.split("\t")
            rows.append(Rated(text=text, rating=float(rating)))
        except ValueError as error:
            raise SentiDistillError(f"{name}_GroundTruth.txt, line {number}: expected id, rating, text") from error
    return rows


def read_file(path: Path, field: str) -> list[str]:
    """Texts of a JSONL, CSV or Parquet file: the column or key `field`. Raises as `read_rows` does."""
    return [text for (text,) in read_rows(path, field)]


def read_rows(path: Path, text_field: str, *fields: str) -> list[tuple[str, ...]]:
    """The text and other columns or keys of a JSONL, CSV or Parquet file, row by row; whole numbers as text.

    Raises `SentiDistillError` naming the file and, where there is one, the line.
    """
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SentiDistillError(f"{path}: unknown kind of file; use one of {', '.join(readers)}")
    rows, number, unit = [], 0, "row" if reader is _parquet else "line"
    try:
        for number, row in reader(path, (text_field, *fields)):
            where = f"{path}, {unit} {number}"
            if not isinstance(row.get(text_field), str):
                raise SentiDistillError(f"{where}: no text under '{text_field}'; set text_field in params.yaml")
            for field in fields:
                if not isinstance(row.get(field), str | int):
                    raise SentiDistillError(f"{where}: nothing under '{field}'; set it in params.yaml")
            rows.append((row[text_field], *(str(row[field]) for field in fields)))
    except OSError as error:
        raise SentiDistillError(f"{path}: cannot be read ({error})") from error
    except (ValueError, csv.Error) as error:
        raise SentiDistillError(
            f"{path}, {unit} {number + 1}: not {path.suffix[1:].upper()} in UTF-8 ({error})"
        ) from error
    if not rows:
        raise SentiDistillError(f"{path}: no texts in it")
    return rows


def _jsonl(path: Path, _: Sequence[str]) -> Iterator[tuple[int, dict]]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        row = json.loads(line.decode("utf-8-sig"))
        yield number, row if isinstance(row, dict) else {}


def _csv(path: Path, _: Sequence[str]) -> Iterator[tuple[int, dict]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        for row in reader:
            yield reader.line_num, row


def _parquet(path: Path, fields: Sequence[str]) -> Iterator[tuple[int, dict]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise SentiDistillError(f"{path}: not a Parquet file ({error})") from error
    yield from enumerate(table.select([name for name in fields if name in table.column_names]).to_pylist(), 1)


def near_duplicates(texts: Sequence[str], references: Sequence[str], similarity: float) -> list[bool]:
    """Which `texts` are the same as, or nearly the same as, one of `references`.

    Two texts are near-duplicates if the Jaccard similarity of their sets of character 5-grams (within words, of
    their folded forms) reaches `similarity`. Every pair is compared: nothing is sketched.
    """
    if not texts or not references:
        return [False] * len(texts)
    import numpy as np
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        analyzer="char_wb",
        lowercase=False,
        ngram_range=(5, 5),
        binary=True,
        norm=None,
        alternate_sign=False,
        n_features=2**22,
    )
    same = {fold(text) for text in references}
    known = vectorizer.transform(same)
    known_sizes = np.asarray(known.sum(axis=1)).ravel()
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
    """Rows of different (text, domain) pairs in disjoint pools, spread over the domains as evenly as they allow.

    `sizes` of the pools "enumeration" and "distillation" are targets. Where there are fewer texts, enumeration gets at
    most a third of them, and distillation, which takes many texts to train on, the rest. Both have the same mix of
    domains. The order within a domain follows from the texts' ids alone, so adding texts moves few of the others.
    """
    by_domain: dict[str, list[tuple[str, str]]] = {domain: [] for domain in sorted({domain for _, domain in texts})}
    for text, domain in texts:
        by_domain[domain].append((text_id(text), text))
    enumeration = min(sizes["enumeration"], max(len(texts) // 3, len(texts) - sizes["distillation"]))
    used = apportion(enumeration + sizes["distillation"], [1] * len(by_domain), [*map(len, by_domain.values())])
    enumerated = apportion(enumeration, used, used)
    rows = []
    for (domain, pairs), number, first in zip(by_domain.items(), used, enumerated):
        pairs.sort(key=lambda pair: hashlib.sha256(f"pool {pair[0]}".encode()).digest())
        for place, (key, text) in enumerate(pairs[:number]):
            pool = "enumeration" if place < first else "distillation"
            rows.append(Text(id=key, domain=domain, text=text, pool=pool))
    return sorted(rows, key=lambda row: row.id)
