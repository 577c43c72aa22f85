"""Prompts: from a template and data to text, and from text to token ids.

`render` is the only place where a prompt becomes token ids, so the teacher, the difficulty score,
training and evaluation cannot disagree about a space, a begin token or a chat template.
"""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Annotated, Any, Literal

from jinja2 import Environment, StrictUndefined, TemplateSyntaxError, meta
from pydantic import BaseModel, ConfigDict, Field

from sentidistill.config.prompting import PromptFormat
from sentidistill.config.rules import Line, Text
from sentidistill.errors import SentiDistillError
from sentidistill.yaml_files import read, read_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEPARATOR = "###"
TEMPLATE_DATE = date(2024, 7, 26)
# Private-use characters, which stand for the texts of a conversation while its template is applied.
_MARK = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class Prompt:
    """One question to a model: what to do, worked examples, and the case at hand.

    `demonstrations` are (input, output) pairs. `cue` names the answer ("Output:").
    """

    instruction: str
    input: str
    demonstrations: tuple[tuple[str, str], ...] = ()
    cue: str = "Output:"


@dataclass(frozen=True)
class Rendered:
    prompt_ids: list[int]
    completion_ids: list[int]


def stop_strings(prompt_format: PromptFormat) -> tuple[str, ...]:
    """Texts that end an answer besides the model's own end token."""
    return (SEPARATOR,) if prompt_format == "transcript" else ()


def transcript(prompt: Prompt) -> str:
    """The prompt as plain text that a base model continues."""
    blocks = [prompt.instruction.strip()]
    blocks += [f"{text}\n{prompt.cue} {answer}\n{SEPARATOR}" for text, answer in prompt.demonstrations]
    blocks.append(f"{prompt.input}\n{prompt.cue}")
    return "\n\n".join(blocks)


def messages(prompt: Prompt) -> list[dict[str, str]]:
    """The prompt as a conversation: the instruction as the system's turn, each worked example as two turns."""
    turns = [{"role": "system", "content": prompt.instruction.strip()}]
    for text, answer in prompt.demonstrations:
        turns.append({"role": "user", "content": f"{text}\n{prompt.cue}"})
        turns.append({"role": "assistant", "content": answer})
    return [*turns, {"role": "user", "content": f"{prompt.input}\n{prompt.cue}"}]


def render(
    prompt: Prompt,
    tokenizer: "PreTrainedTokenizerBase",
    prompt_format: PromptFormat,
    answer: str | None = None,
    *,
    end: bool = False,
) -> Rendered:
    """Token ids of `prompt`, and of `answer` where one is given.

    The ids of the prompt never depend on the answer. With `end`, the completion closes with the token that ends an
    answer, as in training. If the model has a begin token, there is exactly one: a transcript gets the tokenizer's own,
    a chat template brings its own. Texts are tokenised as plain text, even where they read like a special token.
    """
    prompt_ids = (_chat_ids if prompt_format == "chat" else _transcript_ids)(prompt, tokenizer)
    completion_ids = [] if answer is None else answer_ids(answer, tokenizer, prompt_format)
    if end:
        completion_ids = [*completion_ids, end_ids(tokenizer, prompt_format)[0]]
    return Rendered(prompt_ids, completion_ids)


def answer_ids(answer: str, tokenizer: "PreTrainedTokenizerBase", prompt_format: PromptFormat) -> list[int]:
    """Token ids of `answer` as it continues a prompt."""
    return _inner_ids(f" {answer}" if prompt_format == "transcript" else answer, tokenizer)


def end_ids(tokenizer: "PreTrainedTokenizerBase", prompt_format: PromptFormat) -> list[int]:
    """The tokens that end an answer: first the one that training puts there, then others that models write.

    In a conversation it is what the template puts after an assistant's turn. In a transcript it is the tokenizer's end
    token, or the line break before the separator.
    """
    if tokenizer.eos_token_id is None:
        raise SentiDistillError("the tokenizer has no end token (eos_token); name it in tokenizer_config.json")
    if prompt_format == "transcript":
        return list(dict.fromkeys([tokenizer.eos_token_id, *_inner_ids(f"\n{SEPARATOR}", tokenizer)[:1]]))
    turns = [{"role": "user", "content": "\ue0000\ue001"}, {"role": "assistant", "content": "\ue0001\ue001"}]
    after = _MARK.split(_apply_template(turns, tokenizer, add_generation_prompt=False))[-1]
    ids = tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"]
    return ids[:1] or [tokenizer.eos_token_id]


def _transcript_ids(prompt: Prompt, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    text = transcript(prompt)
    return _begin_ids(tokenizer) + tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def _begin_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The ids that the tokenizer puts before a text. Those that it puts after a text would end the prompt."""
    alone, framed = (tokenizer("x", add_special_tokens=special)["input_ids"] for special in (False, True))
    return next(framed[:at] for at in range(len(framed)) if framed[at : at + len(alone)] == alone)


def _inner_ids(text: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Token ids of `text` within a longer text. Some tokenizers put a blank before each text that they read."""
    anchor, both = (
        tokenizer(one, add_special_tokens=False, split_special_tokens=True)["input_ids"] for one in ("\n", f"\n{text}")
    )
    if both[: len(anchor)] == anchor:
        return both[len(anchor) :]
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def _chat_ids(prompt: Prompt, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The conversation by the model's chat template; an instruction that has no turn there opens the first user's."""
    turns = messages(prompt)
    if not _has_system_turn(tokenizer):
        system, first, *rest = turns
        turns = [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]
    marked = [{**turn, "content": f"\ue000{place}\ue001"} for place, turn in enumerate(turns)]
    ids: list[int] = []
    parts = _MARK.split(_apply_template(marked, tokenizer))
    if sorted(map(int, parts[1::2])) != [*range(len(turns))]:
        raise SentiDistillError(
            "the model's chat template leaves out a turn, or repeats it; mend it, or use prompt_format: transcript"
        )
    for place, part in enumerate(parts):
        if place % 2:
            ids += _inner_ids(turns[int(part)]["content"], tokenizer)
        elif part:
            ids += tokenizer(part, add_special_tokens=False)["input_ids"]
    return ids


def _has_system_turn(tokenizer: "PreTrainedTokenizerBase") -> bool:
    turns = [{"role": "system", "content": "\ue0000\ue001"}, {"role": "user", "content": "\ue0001\ue001"}]
    try:
        return _apply_template(turns, tokenizer).count("\ue001") == len(turns)
    except SentiDistillError:  # Gemma 2's template raises where there is a system turn
        return False


def _apply_template(
    turns: list[dict[str, str]], tokenizer: "PreTrainedTokenizerBase", *, add_generation_prompt: bool = True
) -> str:
    if tokenizer.chat_template is None:
        raise SentiDistillError("prompt_format is 'chat', but the model has no chat template; use 'transcript'")
    try:
        return tokenizer.apply_chat_template(  # type: ignore[return-value]  # a text, as nothing is tokenised
            turns,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,
            # Some templates write today's date into the prompt. Then each day's requests would be new ones.
            strftime_now=TEMPLATE_DATE.strftime,
        )
    except Exception as error:  # whatever the operations of a template raise
        raise SentiDistillError(
            f"the model's chat template cannot be used ({type(error).__name__}: {error}); mend it, or use "
            "prompt_format: transcript"
        ) from error


class _Example(BaseModel):
    """A worked example: the input of a call and its answer. The fields are the variables of the call's template."""

    model_config = ConfigDict(extra="forbid")
    output: Text


class _Attribute(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Line
    description: Line


class _Enumeration(_Example):
    text: Text


class _Analysis(_Example):
    attributes: Annotated[list[_Attribute], Field(min_length=1)]


class _Proposal(_Example):
    name: Line
    description: Text
    related: list[Line]


class _Definition(_Example):
    name: Line
    family: Literal["classification", "scoring", "extraction", "structured"]
    description: Text


class _Demonstration(_Example):
    family: Literal["classification", "scoring", "extraction", "structured"]
    instruction: Text
    answers: list[Line]
    styles: list[Text]


EXAMPLES: dict[str, type[_Example]] = {
    "enumerate_attributes": _Enumeration,
    "write_analysis_instructions": _Analysis,
    "propose_tasks": _Proposal,
    "define_tasks": _Definition,
    "write_demonstrations": _Demonstration,
}
REPAIR = {"previous", "faults"}  # shown besides to a teacher that repairs a definition
BLOCKS = ("instruction", "input", "cue")


class Template:
    """A teacher call: `prompts/{name}.jinja` with the blocks `instruction`, `input` and `cue`.

    Its worked examples are in `prompts/{name}.yaml`: mappings of the input's variables and `output`. Without
    `worked_examples` the prompt is the same but for them.

    Raises `SentiDistillError` with file and line if a template is no valid Jinja, lacks a block or uses a variable that
    the call does not have, or if an example has not the fields that `EXAMPLES` says.
    """

    def __init__(self, name: str, *, worked_examples: bool, folder: Path = Path("prompts")):
        self._path = folder / f"{name}.jinja"
        environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        try:
            source = read_text(self._path)
            self._template = environment.from_string(source)
            used = meta.find_undeclared_variables(environment.parse(source))
        except TemplateSyntaxError as error:
            raise SentiDistillError(f"{self._path}, line {error.lineno}: {error.message}") from error
        except RecursionError as error:
            raise SentiDistillError(f"{self._path}: it is nested too deeply") from error
        if missing := [block for block in BLOCKS if block not in self._template.blocks]:
            raise SentiDistillError(
                f"{self._path}: the block {missing[0]} is missing; write {{% block {missing[0]} %}}"
            )
        known = EXAMPLES[name].model_fields.keys() - {"output"} | (REPAIR if name == "define_tasks" else set())
        if unknown := sorted(used - known):
            line = next(at for at, text in enumerate(source.splitlines(), 1) if unknown[0] in text)
            raise SentiDistillError(
                f"{self._path}, line {line}: there is no variable {unknown[0]}; there are {', '.join(sorted(known))}"
            )
        self._rows: list[dict[str, Any]] = []
        if worked_examples:
            model: Any = EXAMPLES[name]
            examples = Annotated[list[model], Field(min_length=1)]
            self._rows = [row.model_dump() for row in read(self._path.with_suffix(".yaml"), examples)]
        self.demonstrations = tuple((self._block("input", row), row["output"].strip()) for row in self._rows)

    def _block(self, name: str, values: dict[str, Any]) -> str:
        try:
            return "".join(self._template.blocks[name](self._template.new_context(values))).strip()
        except Exception as error:  # a template is code: it may raise anything
            frames = [one for one in extract_tb(error.__traceback__) if one.filename == self._template.filename]
            lines = [self._template.get_corresponding_lineno(one.lineno or 1) for one in frames]
            place = f"{self._path}, line {lines[-1]}" if lines else f"{self._path}, block {name}"
            raise SentiDistillError(f"{place}: {error}") from error

    def prompt(self, *, same: str | None = None, **values: Any) -> Prompt:
        """The prompt for one case; with `same`, only worked examples with the same value of this variable are in it.

        Raises `SentiDistillError` with file and line if it cannot be written, such as for a variable without a value.
        """
        shown = tuple(
            demonstration
            for row, demonstration in zip(self._rows, self.demonstrations)
            if same is None or row[same] == values[same]
        )
        return Prompt(
            instruction=self._block("instruction", values),
            input=self._block("input", values),
            demonstrations=shown,
            cue=self._block("cue", values),
        )
