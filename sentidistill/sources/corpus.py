"""User texts: reading, cleaning, de-duplication, decontamination and disjoint pools."""

import hashlib
import html
import io
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from html.entities import html5
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from sentidistill.config.corpus import Vader
from sentidistill.errors import SentiDistillError
from sentidistill.records import Record, Table, content_id
from sentidistill.sources import packages, tables
from sentidistill.sources.apportionment import apportion

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

COMPARE_ROWS, COMPARE_PAIRS = 1024, 2**16
MAX_EMPTY = 0.2  # share of a file's rows that may have no text
# With fewer texts, an attribute that several of them share is chance, and hardly anything is left to train on.
MIN_TEXTS = 30

Of = TypeVar("Of")

# Characters are spelled out: each Python has other tables of Unicode, and ids must be the same in all of them.
_ENTITY = re.compile(r"&(?:(?:amp|#0{0,5}38|#[xX]0{0,4}26);)*(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]*);")
_LEVELS = 20  # entities within entities that are resolved
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
    # Texts are often escaped more than once: "&amp;lt;".
    for _ in range(_LEVELS):
        before, text = text, _where_known(_NFC, _ENTITY.sub(_character, _REMOVED.sub("", text)))
        if text == before:
            break
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
    inner = io.BytesIO(_member(packages.fetch(vader.package, downloads), vader.inner_archive, vader))
    content = _member(inner, f"*/{name}_GroundTruth.txt", vader)
    rows = []
    for number, line in enumerate(content.decode("utf-8").strip("\r\n").split("\n"), 1):
        try:
            _, rating, text = line.split("\t")
            rows.append(Rated(text=text, rating=float(rating)))
        except ValueError as error:
            raise SentiDistillError(f"{name}_GroundTruth.txt, line {number}: expected id, rating, text") from error
    return rows


def _member(archive: Path | IO[bytes], pattern: str, vader: Vader) -> bytes:
    with packages.members(archive, pattern) as members:
        found = [content.read() for _, content in members]
    if len(found) != 1:
        raise SentiDistillError(
            f"{vader.package.name}: {len(found)} members match '{pattern}', not one; check params.yaml"
        )
    return found[0]


def of_params(path: Path, text_field: str) -> tables.Source:
    """A file that params.yaml names."""
    return tables.Source(path, text_field, setting="set text_field in params.yaml", recode="save the file in UTF-8")


def read_rows(source: tables.Source, *fields: str) -> tuple[list[tuple[str, ...]], int]:
    """(text, other columns or keys, and place of each row of a file; how many rows had no text).

    Whole numbers become text; a place is one such as "line 7". Raises `SentiDistillError` naming the file, the line and
    the setting, also where more than `MAX_EMPTY` of the rows have no text.
    """
    path = source.path
    source.columns()
    rows: list[tuple[str, ...]] = []
    empty: list[tables.Row] = []
    for row in source.rows():
        if row.fault or row.values is None:
            raise SentiDistillError(f"{path}, {row.place}: {row.fault}")
        text = tables.at(row.values, source.field)
        if not isinstance(text, str) or not text.strip():
            empty.append(row._replace(values=None) if empty else row)
            continue
        others = [tables.at(row.values, field) for field in fields]
        for field, value in zip(fields, others):
            if not isinstance(value, str | int | float) or value != value or value == "":
                raise SentiDistillError(
                    f"{path}, {row.place}: nothing under '{field}'; it has {tables.names(row.values)}; fill it, or "
                    "name another column"
                )
        rows.append((text, *map(_as_text, others), row.place))
    if len(empty) > MAX_EMPTY * (len(rows) + len(empty)):
        raise SentiDistillError(
            f"{path}, {empty[0].place}: no text under '{source.field}', as in {len(empty)} of {len(rows) + len(empty)} "
            f"rows; it has {tables.names(empty[0].values or {})}; fill them, or {source.setting}"
        )
    return rows, len(empty)


def _as_text(value: str | float) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def near_duplicates(texts: Sequence[str], references: Sequence[str], similarity: float) -> list[bool]:
    """Which `texts` are the same as, or nearly the same as, one of `references`.

    Two texts are near-duplicates if the Jaccard similarity of their sets of character 5-grams (within words, of
    their folded forms) reaches `similarity`. Nothing is sketched: what is not compared cannot reach it.
    """
    if not texts or not references:
        return [False] * len(texts)
    if not similarity:
        return [True] * len(texts)
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
    known = vectorizer.transform(sorted(same))
    known_sizes = np.diff(known.indptr)
    ranks = np.empty(known.shape[1], dtype=np.int64)
    ranks[np.argsort(np.bincount(known.indices, minlength=len(ranks)), kind="stable")] = np.arange(len(ranks))
    # Sets this much alike share one of the rarest members of each (the prefix filter of Chaudhuri et al. 2006).
    rare = _rarest(known, ranks, similarity).T.tocsr()
    flags: list[bool] = []
    for start in range(0, len(texts), COMPARE_ROWS):
        rows = [fold(text) for text in texts[start : start + COMPARE_ROWS]]
        grams = vectorizer.transform(rows)
        sizes = np.diff(grams.indptr)
        near = np.array([row in same for row in rows])
        candidates = (_rarest(grams, ranks, similarity) @ rare).tocoo()
        ones, others = candidates.row, candidates.col
        smaller, larger = np.minimum(sizes[ones], known_sizes[others]), np.maximum(sizes[ones], known_sizes[others])
        open_ = ~near[ones] & (smaller / np.maximum(larger, 1) >= similarity)
        ones, others = ones[open_], others[open_]
        for first in range(0, len(ones), COMPARE_PAIRS):
            one, other = ones[first : first + COMPARE_PAIRS], others[first : first + COMPARE_PAIRS]
            common = np.asarray(grams[one].multiply(known[other]).sum(axis=1)).ravel()
            union = sizes[one] + known_sizes[other] - common
            near[one[common / np.maximum(union, 1) >= similarity]] = True
        flags += near.tolist()
    return flags


def _rarest(sets: "csr_matrix", ranks: "np.ndarray", similarity: float) -> "csr_matrix":
    """Of each row of `sets`, the members that come first by `ranks`: more of them than a set that is alike can lack."""
    import numpy as np
    from scipy.sparse import csr_matrix

    sizes = np.diff(sets.indptr)
    of_row = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((ranks[sets.indices], of_row))
    kept = sizes - np.ceil(similarity * sizes - 1e-9).astype(int) + 1
    first = np.arange(len(order)) - np.repeat(sets.indptr[:-1], sizes) < np.repeat(kept, sizes)
    rows, columns = of_row[first], sets.indices[order[first]]
    return csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=sets.shape)


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
