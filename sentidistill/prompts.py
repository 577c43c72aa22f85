"""Prompts: from a template and data to text, and from text to token ids.

`render` is the only place where a prompt becomes token ids, so the teacher, the difficulty score,
training and evaluation cannot disagree about a space, a begin token or a chat template.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, StrictUndefined

from sentidistill.config import PromptFormat
from sentidistill.errors import SentiDistillError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEPARATOR = "###"
TEMPLATE_DATE = date(2024, 7, 26)


@dataclass(frozen=True)
class Prompt:
    """One question to a model: what to do, worked examples, and the case at hand.

    `demonstrations` are (input, output) pairs. `cue` names the answer ("Output:"). `prefill` is the
    beginning of the answer that a base model is given; a chat model is not given one.
    """

    instruction: str
    input: str
    demonstrations: tuple[tuple[str, str], ...] = ()
    cue: str = "Output:"
    prefill: str = ""


@dataclass(frozen=True)
class Rendered:
    text: str
    prompt_ids: list[int]
    completion_ids: list[int]


def stop_strings(prompt_format: PromptFormat) -> tuple[str, ...]:
    """Texts that end an answer besides the model's own end token."""
    return (SEPARATOR,) if prompt_format == "transcript" else ()


def given_prefix(prompt: Prompt, prompt_format: PromptFormat) -> str:
    """What a parser has to put before the model's answer."""
    return prompt.prefill if prompt_format == "transcript" else ""


def transcript(prompt: Prompt) -> str:
    """The prompt as plain text that a base model continues."""
    blocks = [prompt.instruction.strip()]
    blocks += [f"{text}\n{prompt.cue} {answer}\n{SEPARATOR}" for text, answer in prompt.demonstrations]
    blocks.append(f"{prompt.input}\n{prompt.cue}" + (f" {prompt.prefill}" if prompt.prefill else ""))
    return "\n\n".join(blocks)


def messages(prompt: Prompt) -> list[dict[str, str]]:
    """The prompt as one user turn for a chat model."""
    blocks = [prompt.instruction.strip()]
    blocks += [f"{text}\n{prompt.cue} {answer}" for text, answer in prompt.demonstrations]
    blocks.append(f"{prompt.input}\n{prompt.cue}")
    return [{"role": "user", "content": "\n\n".join(blocks)}]


def prompt_text(prompt: Prompt, tokenizer: "PreTrainedTokenizerBase", prompt_format: PromptFormat) -> str:
    """The text that `render` tokenises; a chat template's own special tokens are in it."""
    if prompt_format == "transcript":
        return transcript(prompt)
    if tokenizer.chat_template is None:
        raise SentiDistillError("prompt_format is 'chat', but the model has no chat template; use 'transcript'")
    return tokenizer.apply_chat_template(
        messages(prompt),
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
        # Some templates write today's date into the prompt: every day's answers would be new ones.
        strftime_now=TEMPLATE_DATE.strftime,
    )


def completion_text(prompt: Prompt, answer: str, prompt_format: PromptFormat) -> str:
    """`answer` as it continues the prompt's text."""
    return f" {answer}" if prompt_format == "transcript" and not prompt.prefill else answer


def render(
    prompt: Prompt,
    tokenizer: "PreTrainedTokenizerBase",
    prompt_format: PromptFormat,
    answer: str | None = None,
    *,
    end: bool = False,
) -> Rendered:
    """Token ids of `prompt`, and of `answer` where one is given.

    The ids of the prompt never depend on the answer. With `end`, the completion closes with the
    tokenizer's end token, as in training. There is one begin token where the model has one: a
    transcript gets the tokenizer's own, a chat template brings its own.
    """
    text = prompt_text(prompt, tokenizer, prompt_format)
    prompt_ids = tokenizer(text, add_special_tokens=prompt_format == "transcript")["input_ids"]
    completion_ids: list[int] = []
    if answer is not None:
        continued = completion_text(prompt, answer, prompt_format)
        completion_ids = tokenizer(continued, add_special_tokens=False)["input_ids"]
        if end:
            completion_ids = [*completion_ids, tokenizer.eos_token_id]
    return Rendered(text, prompt_ids, completion_ids)


class Template:
    """A teacher call: `prompts/{name}.jinja` with blocks, and exemplars in `prompts/{name}.yaml`.

    The blocks `instruction`, `input` and `cue` are required, `prefill` is optional. An exemplar is
    a mapping of the input's variables and `output`.
    """

    def __init__(self, name: str, *, exemplars: bool, folder: Path = Path("prompts")):
        environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        path = folder / f"{name}.jinja"
        try:
            self._template = environment.from_string(path.read_text(encoding="utf-8"))
            rows = yaml.safe_load(path.with_suffix(".yaml").read_text(encoding="utf-8")) if exemplars else []
        except (OSError, yaml.YAMLError) as error:
            raise SentiDistillError(f"prompt {name}: {error}") from error
        self._rows = rows
        shown = ({"exemplars": True, **row} for row in rows)
        self.demonstrations = tuple((self._block("input", row), row["output"].strip()) for row in shown)

    def _block(self, name: str, values: dict[str, Any]) -> str:
        block = self._template.blocks.get(name)
        if block is None:
            return ""
        return "".join(block(self._template.new_context(values))).strip()

    def prompt(self, *, same: str | None = None, **values: Any) -> Prompt:
        """The prompt for one case; with `same`, only exemplars with the same value of this variable are in it.

        Raises `jinja2.UndefinedError` for a variable without a value.
        """
        shown = tuple(
            demonstration
            for row, demonstration in zip(self._rows, self.demonstrations)
            if same is None or row[same] == values[same]
        )
        values = {"exemplars": bool(shown), **values}
        return Prompt(
            instruction=self._block("instruction", values),
            input=self._block("input", values),
            demonstrations=shown,
            cue=self._block("cue", values),
            prefill=self._block("prefill", values),
        )
