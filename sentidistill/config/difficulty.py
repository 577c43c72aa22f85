"""`score_difficulty`."""

from typing import Annotated, Literal

from sentidistill.config.rules import Count, PartAboveZero, Positive, Section, Share, whole


class ScoreDifficulty(Section):
    top_p: PartAboveZero
    batch_tokens: Positive
    model: Literal["student_base", "proxy"]
    proxy_check: Count
    engine: Literal["transformers", "vllm"]
    vllm_shown: Annotated[int, whole(1, 1_000_000)]
    max_truncated_share: Share
