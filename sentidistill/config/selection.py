"""`select_samples`."""

from typing import Literal

from pydantic import model_validator

from sentidistill.config.rules import Line, PartAboveZero, Positive, Section, Seed, Share, without_faults


class SelectSamples(Section):
    rate: PartAboveZero
    budget: dict[Literal["samples", "tokens"], Positive]
    metric: Literal["difficulty", "rank_score", "rank_score_all", "nll", "ppl", "n_tokens", "uncertainty"]
    strategy: Literal["soft", "hard", "easy", "random", "hard_and_sure"]
    peak: Share
    stratify: bool | Literal["instruction"]
    perspectives: list[Line]
    without_perspectives: list[Line]
    max_share: dict[Literal["cluster", "family"], PartAboveZero]
    seed: Seed

    @model_validator(mode="after")
    def _consistent(self) -> "SelectSamples":
        faults = {
            "budget is either in samples or in tokens": len(self.budget) > 1,
            "max_share needs stratify": self.max_share and not self.stratify,
            "strategy hard_and_sure needs stratify": self.strategy == "hard_and_sure" and not self.stratify,
            "metric uncertainty needs a strategy that does not rest on the teacher's answers, such as soft": (
                self.metric == "uncertainty" and self.strategy == "hard_and_sure"
            ),
        }
        return without_faults(self, faults)
