"""TRL's trainer as it trains here: its losses, the order of rows, checkpoints that resume exactly, and its progress.

Importing it imports TRL, which takes seconds.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from accelerate.utils import synchronize_rng_states
from transformers import TrainerCallback
from trl import SFTTrainer

from sentidistill import records
from sentidistill.config.training import TrainStudent
from sentidistill.errors import SentiDistillError
from sentidistill.inference.packing.branches import attention
from sentidistill.inference.packing.prefix_tree import PrefixTree
from sentidistill.pipeline.progress import track
from sentidistill.student.checkpoints import EPOCH_START
from sentidistill.student.rows import Tokenised

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class InSteps(SFTTrainer):
    """Rows of like length come together, in an order that is the same for any number of processes.

    After an epoch, `validate` scores the model. Training ends at a loss that is no number.
    """

    def __init__(self, data: Tokenised, params: TrainStudent, validate: Callable[[], float] | None, **arguments: Any):
        super().__init__(**arguments)
        self.tokenised, self.section, self.validate = data, params, validate

    def _get_train_sampler(self, *arguments):
        sampler: Any = super()._get_train_sampler(*arguments)
        sampler.batch_size = self.section.batch_size
        return sampler

    def training_step(self, *arguments, **named):
        loss = super().training_step(*arguments, **named)
        if not loss.isfinite():
            raise not_finite(f"the loss of step {self.state.global_step + 1} is {float(loss)}")
        return loss

    def evaluate(self, *_, **__):
        assert self.model is not None
        assert self.validate is not None
        self.model.eval()
        found = {"eval_score": self.validate()}
        self.model.train()
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found


class AnswersOnly(InSteps):
    """The same loss, with the vocabulary's logits of those positions alone that predict an answer's token.

    Without Triton, TRL computes the logits of every position, which takes a third of a step.
    """

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        scored = (labels != -100).any(0).nonzero()[:, 0]
        logits = model(**inputs, logits_to_keep=scored - 1, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), labels[:, scored].flatten(), reduction="sum"
        )
        # These are the tokens of all processes, and gradients are means over processes.
        return loss / num_items_in_batch * self.accelerator.num_processes


class Weighted(InSteps):
    """The loss of `weighted_loss` over the number of answer tokens, as of rows with their own answer alone."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        places = inputs["rows"].tolist()
        loss, logits, several = weighted_loss(model, self.model, self.tokenised, places)  # type: ignore[arg-type]

        def measure(gradient):
            size = gradient.float().abs().sum(-1)
            self._metrics["train"]["soft_share"].append(float(size[several].sum() / size.sum()))

        if self.section.targets == "soft":
            logits.register_hook(measure)
        return loss / num_items_in_batch * self.accelerator.num_processes


def weighted_loss(
    forward: Callable[..., Any], model: "PreTrainedModel", data: Tokenised, places: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Negative log-likelihoods of the answers of the rows at `places`, times their weights, summed.

    Also the logits that it comes from, and which of them are of rows with several answers. `forward` calls `model`.
    What answers have in common, their prompt above all, goes through it once.
    """
    answers = [(place, ids, weight) for place in places for ids, weight in data.answers[place]]
    tree = PrefixTree.of([data.prompt_ids(place) + ids[:-1] for place, ids, _ in answers])
    sources = [place for path, (_, ids, _) in zip(tree.paths, answers) for place in path[len(path) - len(ids) :]]
    each = [(token, weight, len(data.answers[place]) > 1) for place, ids, weight in answers for token in ids]
    tokens, depths, predicting, targets, weights, several = (
        torch.tensor(one, device=model.device) for one in (tree.tokens, tree.depths, sources, *zip(*each))
    )
    kept, of_target = predicting.unique(return_inverse=True)
    logits = forward(
        input_ids=tokens[None],
        attention_mask=attention(model.config, tree.sees().to(model.device)[None], depths[None], model.dtype),
        position_ids=depths[None],
        use_cache=False,
        logits_to_keep=kept,
    ).logits[0]
    loss = -(logits.float().log_softmax(-1)[of_target, targets] * weights).sum()
    return loss, logits, torch.zeros_like(kept, dtype=torch.bool).scatter(0, of_target, several)


def numbered(rows: list[dict]) -> dict[str, torch.Tensor]:
    """A batch for `Weighted`: the numbers of its rows, and all labels, by which the trainer counts tokens."""
    labels = [label for row in rows for label in row["labels"]]
    return {"rows": torch.tensor([row["row"] for row in rows]), "labels": torch.tensor([labels])}


class RowOrder(TrainerCallback):
    """Rows come in the same order after a kill within an epoch: it is drawn from torch's random state.

    `resumed`: the checkpoint that training goes on from.
    """

    def __init__(self, checkpoints: Path, resumed: Path | None):
        self.checkpoints = checkpoints
        self.saved = (resumed / EPOCH_START).read_bytes() if resumed else None

    def on_epoch_begin(self, args, state, control, **_):
        if self.saved:
            torch.set_rng_state(torch.frombuffer(bytearray(self.saved), dtype=torch.uint8))
            self.saved = None
        synchronize_rng_states(["torch"])
        self.start = torch.get_rng_state()

    def on_save(self, args, state, control, **_):
        PartialState().wait_for_everyone()
        if not state.is_world_process_zero:
            return
        ended = state.epoch == int(state.epoch)
        start = torch.get_rng_state() if ended else self.start
        path = self.checkpoints / f"checkpoint-{state.global_step}" / EPOCH_START
        records.write_bytes(path, start.numpy().tobytes())


class Progress(TrainerCallback):
    """Our progress display in place of the library's."""

    def on_train_begin(self, args, state, control, **_):
        self.shown = track("train_student, steps", state.max_steps)
        self.tracker = self.shown.__enter__()
        self.tracker.advance(state.global_step, hits=state.global_step)

    def on_step_end(self, args, state, control, **_):
        self.tracker.advance()

    def on_train_end(self, args, state, control, **_):
        self.shown.__exit__(None, None, None)


def not_finite(what: str) -> SentiDistillError:
    return SentiDistillError(f"train_student: {what}; lower train_student.learning_rate, or max_grad_norm")
