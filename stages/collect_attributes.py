"""mentions -> data/attributes.jsonl: normalised attributes that enough texts mention, commonest first.

A row: {"name": "frustration", "count": 31, "description": "How annoyed ...", "variants": {"frustration level": 2}}
"""

from sentidistill import config, records, stage
from sentidistill.attributes import Mention, collect
from sentidistill.errors import SentiDistillError


def main() -> None:
    section = config.load().collect_attributes
    mentions = records.read_jsonl("data/mentions.jsonl", Mention)
    n_texts = len({mention.text_id for mention in mentions})
    everything = collect(mentions, n_texts, 1, 0.0)
    kept = collect(mentions, n_texts, section.min_texts, section.min_share)
    if len(kept) < 3:
        raise SentiDistillError(
            f"collect_attributes: {len(kept)} attributes are mentioned often enough; lower "
            "collect_attributes.min_texts or enumerate more texts (prepare_corpus.pool_sizes.enumeration)"
        )
    records.write_jsonl("data/attributes.jsonl", kept)
    stage.finish(
        "collect_attributes",
        {
            "mentions": len(mentions),
            "raw_names": len({mention.name for mention in mentions}),
            "attributes_before_filter": len(everything),
            "attributes": len(kept),
            "share_of_mentions_kept": round(sum(sum(a.variants.values()) for a in kept) / len(mentions), 4),
        },
    )


if __name__ == "__main__":
    stage.run(main)
