"""Checks before the first step of training (rows, special tokens, memory) and after it (answers)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sentidistill.config.prompting import PromptFormat
from sentidistill.config.runtime import Runtime
from sentidistill.errors import SentiDistillError
from sentidistill.inference.requests import Request, Response
from sentidistill.prompts import stop_strings
from sentidistill.student.rows import Tokenised

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

GB = 1e9
PROBES, PROBE_TOKENS = 16, 96
STATES = 16  # bytes a trained parameter: weight, gradient and the two moments of AdamW, in float32
FROZEN = 4  # bytes of one that is not: its weight


def rows(data: Tokenised) -> dict[str, int]:
    """Counts of rows, and of their tokens. `without_answer`: rows on which no loss falls."""
    lengths = [len(ids) for ids in data.input_ids]
    answers = [sum(mask) for mask in data.completion_mask]
    return {
        "rows": len(lengths),
        "truncated": data.truncated,
        "dropped": data.dropped,
        "without_answer": answers.count(0),
        "tokens": sum(lengths),
        "supervised_tokens": sum(answers),
        "median_length": int(np.median(lengths)),
        "longest": max(lengths),
    }


def special_tokens(data: Tokenised, tokenizer: "PreTrainedTokenizerBase") -> dict[str, str]:
    """The token that ends an answer, and the one that fills up short rows."""
    return {
        "end_token": str(tokenizer.convert_ids_to_tokens(data.input_ids[0][-1])),
        "pad_token": str(tokenizer.pad_token or tokenizer.eos_token),
    }


def memory(model: "PreTrainedModel | PeftModel", tokens: int, gradient_checkpointing: bool) -> tuple[int, int]:
    """Bytes of the model's states, and of what a forward pass of `tokens` tokens keeps for the backward pass.

    A layer keeps about 8 values of the model's width and 4 of its inner width a token (inputs of both norms, of the
    projections and of the gate; no attention weights); with checkpointing, one of the width, and one layer is whole.
    The logits are there three times: as they are, as probabilities and as gradients.
    """
    config = model.config.get_text_config()
    value = 4 if model.device.type == "cpu" else 2  # bfloat16
    width = config.hidden_size
    layer = 8 * width + 4 * (getattr(config, "intermediate_size", None) or 4 * width)
    layers = config.num_hidden_layers
    kept = width * layers + layer if gradient_checkpointing else layer * layers
    states = sum(weights.numel() * (STATES if weights.requires_grad else FROZEN) for weights in model.parameters())
    return states, tokens * (value * kept + 3 * 4 * config.vocab_size)


def free(device: "torch.device") -> int | None:
    """Bytes that are free for tensors on `device`; None where it does not say."""
    import psutil
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return psutil.virtual_memory().available if device.type == "cpu" else None


def check_memory(model: "PreTrainedModel | PeftModel", data: Tokenised, runtime: Runtime) -> dict[str, str]:
    """The bytes that a step needs and the bytes that are free; both include the weights of `model`, which is loaded.

    Raises `SentiDistillError` with the params to turn where it does not fit.
    """
    longest = max(data.tokens_read())
    states, passing = memory(model, runtime.train_rows_per_step * longest, runtime.gradient_checkpointing)
    there = free(model.device)
    if there is None:
        return {"memory_needed": f"{(states + passing) / GB:.1f} GB"}
    there += sum(weights.numel() * weights.element_size() for weights in model.parameters())
    if states + passing > there:
        raise SentiDistillError(
            f"train_student: a step needs about {(states + passing) / GB:.1f} GB on {model.device}, and "
            f"{there / GB:.1f} GB are there: {states / GB:.1f} for weights, gradients and optimiser, "
            f"{passing / GB:.1f} for {runtime.train_rows_per_step} rows of up to {longest} tokens; lower "
            "runtime.train_rows_per_step or student.max_length, set runtime.gradient_checkpointing: true, train an "
            "adapter (train_student.lora), or take a smaller student"
        )
    return {"memory_needed": f"{(states + passing) / GB:.1f} GB of {there / GB:.1f}"}


def probes(data: Tokenised, prompt_format: PromptFormat) -> list[Request]:
    """A few prompts of training, to be answered freely."""
    stop = stop_strings(prompt_format)
    return [Request(one, max_new_tokens=PROBE_TOKENS, stop=stop) for one in data.prompts[:PROBES]]


def endings(answers: Sequence[Response], max_failure_rate: float) -> dict[str, float]:
    """Shares of a trained student's answers that end, and that are empty.

    Raises `SentiDistillError` where more than `max_failure_rate` of them are endless or empty.
    """
    ended = sum(one.finish_reason == "stop" for one in answers) / len(answers)
    empty = sum(not one.text.strip() for one in answers) / len(answers)
    if 1 - ended + empty > max_failure_rate:
        raise SentiDistillError(
            f"train_student: of the student's answers to {len(answers)} training prompts {1 - ended:.0%} do not end, "
            f"and {empty:.0%} are empty; train for more epochs, or with another learning_rate, or raise "
            "train_student.max_failure_rate"
        )
    return {"share_of_probes_that_end": ended, "share_of_probes_empty": empty}
