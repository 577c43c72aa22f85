"""What the parsers of all kinds of answers share: lists, emphasis, fences, JSON, repetition."""

import json
import re
from typing import Any

import json_repair
from rapidfuzz import fuzz, process

ITEM = re.compile(r"^[ \t]*(?:#+[ \t]*)?(?:(\d{1,3})[.)]|[-*•+](?!\*))[ \t]+", re.MULTILINE)
JSON = re.compile(r"^(?:```\w*\s*)?[{\[]\s*[{\[\"']", re.MULTILINE)
# How families of reasoning models open and close their reasoning (the last: gpt-oss, before its final channel).
_OPEN = r"<(?:think|thinking|thought|reasoning)>|\[THINK\]|◁think▷|<\|channel\|>analysis<\|message\|>"
_CLOSE = r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>"
_THINKING = re.compile(rf"\A.*(?:{_CLOSE})|(?:{_OPEN}).*\Z", re.DOTALL)
# A model that is not stopped goes on with another example; what stands there is no answer to ours.
# "### Aspects" is a heading of the answer itself; "###" alone separates examples.
NEXT_EXAMPLE = re.compile(r"\n\s*(?:###(?! *\w)|(?:Sentence|Text|Input)\s*:)")
FENCE = re.compile(r"^```\w*\s*|\s*```\s*$")
# No answer that we ask for is longer, or is a list of more. What a model or server sends beyond is cut off.
LONGEST = 50_000
MOST_ITEMS = 100
# Characters of JSON that are repaired: the time for it grows with their square.
REPAIRED = 5_000
_LONG_RUN = re.compile(r"\W{201,}")


def bounded(text: str) -> str:
    """`text` without the middle of runs of hundreds of blanks or marks, and without what then lies beyond `LONGEST`.

    Models that go round in circles write thousands of them, and patterns that look for marks would try each.
    """
    return _LONG_RUN.sub(lambda run: run[0][:100] + run[0][-100:], text)[:LONGEST]


def strip_thinking(text: str) -> str:
    """`text` without the reasoning that some chat models put before their answer, and `bounded`.

    It ends at the last closing tag; its opening tag may have stood in the prompt. Unfinished reasoning has no answer.
    """
    return bounded(_THINKING.sub("", text).strip())


def until_repetition(text: str, cut: bool = True) -> str:
    """`text` up to the first sentence that all but repeats an earlier one; where it is `cut` off, without an unfinished
    last sentence.

    Small models go round in circles until their limit of tokens. A text of one unfinished sentence is kept. A finished
    one may end in a list, a rating or an emoji, but for a mark after its last sentence that opens what never comes.
    """
    starts = [0, *(found.end() for found in re.finditer(r"[.!?][\"'”’)]*\s+|\n+", text))]
    seen: list[str] = []
    end = len(text)
    for start, following in zip(starts, [*starts[1:], len(text)]):
        sentence = re.sub(r"^\W*(?:\w+:)?\s*", "", text[start:following]).casefold().strip()
        nearest = process.extractOne(sentence, seen, scorer=fuzz.ratio, score_cutoff=85) if len(sentence) > 3 else None
        if nearest is not None and nearest[1] > 85:
            end = start
            break
        seen.append(sentence)
    kept = text[:end].strip()
    if not cut and end == len(text):
        return re.sub(r"(?<=[.!?])\s+[\"'“‘(\[]\Z", "", kept)
    whole = re.match(r".*[^\s\d][.!?][\"'”’)]*(?=\s|\Z)", kept, re.DOTALL)
    return whole[0] if whole else kept


def list_items(text: str, *, to_blank_line: bool = True) -> list[str]:
    """Contents of the items of a list in Markdown, each up to the next item or, by default, an empty line.

    Where numbered items occur, bullets between them belong to the items.
    """
    starts = list(ITEM.finditer(text))
    if any(start[1] for start in starts):
        starts = [start for start in starts if start[1]]
    elif any(not start[0][0].isspace() for start in starts):
        starts = [start for start in starts if not start[0][0].isspace()]
    ends = [start.start() for start in starts[1:]] + [len(text)]
    items = [text[start.end() : end].strip() for start, end in zip(starts, ends)]
    return [re.split(r"\n[ \t]*\n", item)[0] for item in items] if to_blank_line else items


def plain(text: str) -> str:
    """`text` on one line, without Markdown emphasis and surrounding marks."""
    text = re.sub(r"\*\*|__|`|</?\w+>", "", text or "")
    return re.sub(r"\s+", " ", text).strip(" \t\n*:-–—\"'“”")


def at_mark(line: str) -> tuple[str, str, str]:
    parts = re.split(r"(:|[ \t][-–—][ \t])", line, maxsplit=1)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else (line, "", "")


def scalar(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None or isinstance(value, dict) else str(value)


def parse_json(text: str) -> tuple[Any, bool]:
    """(value, whether it had to be repaired) of a JSON object or list in `text`; (None, False) if there is none."""
    text = FENCE.sub("", strip_thinking(text))
    try:
        value = json.loads(text)
        return (value, False) if isinstance(value, dict | list) else (None, False)
    except (ValueError, RecursionError):
        pass
    begin = re.search(r"[{\[]", text)
    if not begin:
        return None, False
    try:
        value = json_repair.loads(text[begin.start() :][:REPAIRED])
    except (ValueError, RecursionError):  # nested by the hundred, which no answer is
        return None, False
    return (value, True) if isinstance(value, dict | list) and value else (None, False)
