"""user texts -> data/corpus.jsonl, without the benchmark's texts and their near-duplicates.

A row: {"id": "09ab...", "domain": "amazon", "text": "The battery lasts two days.", "pool": "distillation"}
"""

from collections import Counter
from typing import get_args

from sentidistill import config
from sentidistill.config import Params
from sentidistill.config.corpus import FileTexts
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import decontamination
from sentidistill.pipeline import stage
from sentidistill.sources import corpus
from sentidistill.sources.corpus import TEXTS


def read_sources(params: Params) -> tuple[list[tuple[str, str]], int]:
    """((raw text, domain) pairs of all sources, how many rows had no text)."""
    pairs, without_text, root = [], 0, stage.cache_root()
    for source in params.prepare_corpus.sources:
        if isinstance(source, FileTexts):
            rows, empty = corpus.read_rows(corpus.of_params(root.parent / source.path, source.text_field))
            texts, without_text = [text for text, _ in rows], without_text + empty
        else:
            texts = [row.text for row in corpus.rated_sentences(params.vader, root / "downloads", source.vader)]
        pairs += [(text, source.domain) for text in texts]
    return pairs, without_text


def main() -> None:
    params = config.load()
    section = params.prepare_corpus
    pairs, without_text = read_sources(params)
    texts, left_out = corpus.distinct(pairs, section.min_chars, section.max_chars)
    why = decontamination.reasons([text for text, _ in texts], section, stage.cache_root().parent)
    removed = Counter(reason for reason in why if reason)
    usable = [row for row, reason in zip(texts, why) if reason is None]
    if len(usable) < corpus.MIN_TEXTS:
        raise SentiDistillError(
            f"prepare_corpus: {len(usable)} usable texts, at least {corpus.MIN_TEXTS} are needed. "
            f"Of {len(pairs)} read, {left_out['too_short_or_long']} do not have {section.min_chars} to "
            f"{section.max_chars} characters, {left_out['same_as_another']} are the same as another, and "
            f"{len(texts) - len(usable)} are in the benchmark or in prepare_corpus.held_out. Add "
            "texts to prepare_corpus.sources, or widen prepare_corpus.min_chars and max_chars"
        )
    sizes = section.pool_sizes.model_dump()
    rows = corpus.assign_pools(usable, sizes)
    pools = Counter(row.pool for row in rows)
    TEXTS.write(rows)
    stage.finish(
        "prepare_corpus",
        {
            "texts_read": len(pairs),
            "rows_without_text": without_text,
            **left_out,
            **{f"removed_{reason}": removed[reason] for reason in get_args(decontamination.Reason)},
            "usable": len(usable),
            **{f"pool_{pool}": pools[pool] for pool in sizes},
            **{f"pool_{pool}_asked": size for pool, size in sizes.items()},
        },
    )


if __name__ == "__main__":
    stage.run(main)
