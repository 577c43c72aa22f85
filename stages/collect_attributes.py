"""mentions -> data/attributes.jsonl: normalised attributes that enough texts mention, commonest first.

A row: {"name": "frustration", "count": 31, "description": "How annoyed ...", "variants": {"frustration level": 2}}
data/attribute_vectors.npy has the embeddings of the names in the same order (n x d, float32, unit length).
"""

import math
from pathlib import Path

from sentidistill import clustering, config
from sentidistill.construct.attributes import (
    ATTRIBUTES,
    MENTIONS,
    counted,
    gather,
    merge_meanings,
    merge_spellings,
    write_vectors,
)
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.sources import models

# A name can absorb other names if it has at least this share of the texts that an attribute needs.
HEAD = 3


def main() -> None:
    section = config.load().collect_attributes
    mentions = MENTIONS.read()
    n_texts = len({mention.text_id for mention in mentions})
    needed = max(section.min_texts, math.ceil(section.min_share * n_texts))
    names = gather(mentions)
    # A name far below the threshold will hardly reach it by absorbing similar names.
    head = math.ceil(needed / HEAD)
    spelled = merge_spellings(names, section.same_spelling, head)
    frequent = {name: one for name, one in spelled.items() if one.number(section.count) >= head}
    embeddings = clustering.embed(list(frequent), models.locate(Path("models/embedder"), stage.cache_root().parent))
    merged = merge_meanings(frequent, embeddings, section.same_meaning)
    kept = counted(merged, needed, section.count)
    if len(kept) < 3:
        raise SentiDistillError(
            f"collect_attributes: {len(kept)} attributes are mentioned often enough; lower "
            "collect_attributes.min_texts or enumerate more texts (prepare_corpus.pool_sizes.enumeration)"
        )
    ATTRIBUTES.write(kept)
    write_vectors(embeddings[[list(frequent).index(attribute.name) for attribute in kept]])
    stage.finish(
        "collect_attributes",
        {
            "mentions": len(mentions),
            "raw_names": len({mention.name for mention in mentions}),
            "names": len(names),
            "merged_by_spelling": len(names) - len(spelled),
            "merged_by_meaning": len(frequent) - len(merged),
            "too_rare": len(spelled) - len(frequent) + len(merged) - len(kept),
            "attributes": len(kept),
            "texts_needed": needed,
            "share_of_mentions_kept": round(sum(sum(a.variants.values()) for a in kept) / len(mentions), 4),
        },
    )


if __name__ == "__main__":
    stage.run(main)
