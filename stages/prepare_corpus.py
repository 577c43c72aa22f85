"""user texts -> data/corpus.jsonl, without the benchmark's texts and their near-duplicates.

A row: {"id": "09ab...", "domain": "amazon", "text": "The battery lasts two days.", "pool": "distillation"}
"""

from pathlib import Path

from sentidistill import config, corpus, records, stage
from sentidistill.benchmark import sentibench
from sentidistill.config import DEFAULT_TASKS, FileTexts, Params
from sentidistill.errors import SentiDistillError


def read_sources(params: Params) -> list[tuple[str, str]]:
    """(domain, raw text) pairs of all sources."""
    pairs = []
    for source in params.prepare_corpus.sources:
        if isinstance(source, FileTexts):
            texts = corpus.read_file(stage.cache_root().parent / source.path, source.text_field)
        else:
            rows = corpus.rated_sentences(params.vader, stage.cache_root() / "downloads", source.vader)
            texts = [row.text for row in rows]
        pairs += [(source.domain, text) for text in texts]
    return pairs


def benchmark_texts(path: Path) -> list[str]:
    """Clean texts of a split; those of the default tasks are clean already."""
    texts = [record["sentence"] for record in sentibench.read(path)]
    return texts if path.parent.name in DEFAULT_TASKS else [corpus.clean(text) for text in texts]


def main() -> None:
    params = config.load()
    section = params.prepare_corpus
    pairs = read_sources(params)
    domain_of = {corpus.text_id(corpus.clean(text)): domain for domain, text in pairs}
    texts = corpus.distinct((text for _, text in pairs), section.min_chars, section.max_chars)
    held_out = [text for path in sorted(Path("data/benchmark").glob("*/*.jsonl")) for text in benchmark_texts(path)]
    exact_ids = {corpus.text_id(text) for text in held_out}
    exact = [corpus.text_id(text) in exact_ids for text in texts]
    near = corpus.near_duplicates(texts, held_out, section.near_duplicate_similarity)
    left = [(domain_of[corpus.text_id(text)], text) for text, bad in zip(texts, near) if not bad]
    rows = corpus.assign_pools(left, section.pool_sizes.model_dump())
    for pool, size in section.pool_sizes.model_dump().items():
        if not any(row.pool == pool for row in rows):
            raise SentiDistillError(
                f"prepare_corpus: no texts left for the pool '{pool}' ({size} wanted, {len(left)} usable texts); "
                "add texts or lower prepare_corpus.min_chars"
            )
    records.write_jsonl("data/corpus.jsonl", rows)
    stage.finish(
        "prepare_corpus",
        {
            "texts_read": len(pairs),
            "texts_distinct_and_of_length": len(texts),
            "removed_same_as_benchmark": sum(exact),
            "removed_near_duplicate_of_benchmark": sum(near) - sum(exact),
            **{f"pool_{pool}": sum(row.pool == pool for row in rows) for pool in section.pool_sizes.model_dump()},
        },
    )


if __name__ == "__main__":
    stage.run(main)
