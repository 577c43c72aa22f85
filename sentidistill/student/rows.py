"""The rows that the student is trained on, as token ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sentidistill.config.prompting import PromptFormat
from sentidistill.errors import SentiDistillError
from sentidistill.prompts import Prompt, answer_ids
from sentidistill.samples import SoftLabels, TrainRow, fit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Tokenised:
    """Rows as token ids. `completion_mask` is 1 on the answer and its end, 0 on the prompt.

    `answers`: of each row, the answers that the loss falls on, with their ends, and their weights; of most rows its own
    answer with weight 1. `prompts`: with the demonstrations that are shown. `truncated`: rows that lost some;
    `dropped`: rows left out.
    """

    prompts: list[Prompt]
    input_ids: list[list[int]]
    completion_mask: list[list[int]]
    answers: list[list[tuple[list[int], float]]]
    truncated: int
    dropped: int

    @property
    def weighted(self) -> bool:
        return any([weight for _, weight in of_row] != [1.0] for of_row in self.answers)

    def prompt_ids(self, place: int) -> list[int]:
        return self.input_ids[place][: self.completion_mask[place].count(0)]

    def tokens_read(self) -> list[int]:
        """Tokens that each row takes in a forward pass: its prompt, and all answers."""
        return [
            mask.count(0) + sum(len(ids) for ids, _ in of_row)
            for mask, of_row in zip(self.completion_mask, self.answers)
        ]


def tokenise(
    rows: Sequence[TrainRow],
    tokenizer: "PreTrainedTokenizerBase",
    prompt_format: PromptFormat,
    max_length: int,
    weights: Mapping[str, Mapping[str, float]] = {},
) -> Tokenised:
    """Ids of every row that fits into `max_length` tokens, as `samples.fit` makes it fit.

    `weights`: by the id of a row, the answers that it is trained on in place of its own alone, and their weights. It
    has to fit with each of them.
    """
    settings = (tokenizer, prompt_format)
    data = Tokenised([], [], [], [], 0, 0)
    truncated = 0
    for row in rows:
        of_row = weights.get(row.id, {row.answer: 1.0})
        ids = {answer: answer_ids(answer, *settings) for answer in (row.answer, *of_row)}
        fitted = fit(row.prompt(), max(ids, key=lambda answer: len(ids[answer])), *settings, max_length)
        if fitted is None:
            continue
        end = fitted.completion_ids[-1:]
        own = ids[row.answer] + end
        data.prompts.append(fitted.prompt)
        data.input_ids.append(fitted.prompt_ids + own)
        data.completion_mask.append([0] * len(fitted.prompt_ids) + [1] * len(own))
        data.answers.append([(ids[answer] + end, weight) for answer, weight in of_row.items()])
        truncated += fitted.truncated
    return replace(data, truncated=truncated, dropped=len(rows) - len(data.prompts))


def to_learn(
    rows: Sequence[TrainRow],
    own: Sequence[TrainRow],
    soft_labels: Sequence[SoftLabels],
    own_weight: float,
    tokenizer: "PreTrainedTokenizerBase",
    prompt_format: PromptFormat,
    max_length: int,
) -> tuple[Tokenised, dict[str, int]]:
    """(what is learned, counts of own rows where they have a weight).

    Learned are `rows` of the teacher, on `soft_labels` where there are any, and after them `own` rows with
    `own_weight`. Own rows that do not fit into `max_length` tokens are left out.
    Raises `SentiDistillError` for a teacher's row that does not fit.
    """
    settings = (tokenizer, prompt_format, max_length)
    fitting = [row for row in own if fit(row.prompt(), row.answer, *settings)]
    weights = {row.id: row.probabilities for row in soft_labels}
    weights |= {row.id: {row.answer: own_weight} for row in fitting}
    data = tokenise([*rows, *fitting], *settings, weights)
    if data.dropped:
        raise SentiDistillError(
            f"train_student: {data.dropped} rows of data/train.jsonl do not fit into student.max_length = "
            f"{max_length} tokens; raise it, or remake the file by score_difficulty and select_samples"
        )
    counts = {"own_rows": len(fitting), "own_rows_too_long": len(own) - len(fitting)}
    return data, counts if own_weight else {}
