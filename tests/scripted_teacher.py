"""A teacher for tests that answers by a script, behind an OpenAI-compatible server.

What it says follows from the request alone, so it is the same on every processor. It is no model: it knows the form of
each answer, and fills it with words that hashes choose. Some answers are faulty, as a real teacher's are.

`python -m tests.scripted_teacher --port 8400` serves it. Text completions come with log-probabilities of given tokens,
as vLLM's server gives them; prompts are token ids of `tests.tiny_models.smoke_tokenizer`.
"""

import argparse
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from tests import tiny_models
from tests.local_server import LocalServer, number, reply

FLOOR = 1e-6  # probability of a token that continues no label
ROLES = ("system", "user", "assistant")


class Attribute(NamedTuple):
    name: str
    description: str
    more: str
    less: str


ATTRIBUTES = [
    Attribute(*(part.strip() for part in line.split("|")))
    for line in """
    Disappointment | How far something fell short of what the author had hoped for | disappointed | satisfied
    Gratitude | How thankful the author is to somebody | thankful | ungrateful
    Anger | How angry the author is | angry | calm
    Joy | How much pleasure the author shows | joyful | gloomy
    Sarcasm | Whether the author mocks by praise that is not meant | sarcastic | sincere
    Loneliness | Whether the author lacks company | lonely | sociable
    Hope | How much good the author expects | hopeful | discouraged
    Worry | How much the author fears for something | worried | carefree
    Surprise | Whether the author had expected something else | surprised | unmoved
    Blame | Whether the author makes somebody answerable | reproachful | forgiving
    Tenderness | How gently the author speaks of somebody | tender | cold
    Boredom | How little the matter holds the author's interest | bored | excited
    Shame | Whether the author would like to hide something | ashamed | proud
    Determination | How firmly the author means to act | determined | hesitant
    Formality | How far the author keeps to the rules of polite writing | formal | casual
    Exaggeration | Whether the author says more than is the case | exaggerating | sober
    Regret | Whether the author wishes to have acted otherwise | regretful | content
    Suspicion | How little the author believes others | suspicious | trusting
    Envy | Whether the author begrudges others what they have | envious | generous
    Relief | How glad the author is that something is over | relieved | tense
    """.strip().splitlines()
]
DEGREES = ("strong", "weak", "moderate", "very strong", "hardly any")
# A label has one of these moods. A text that is written for the label holds one of the mood's phrases.
MOODS = (
    ("made me sing on the stairs", "was the best hour of my week", "left me grinning"),
    ("made my blood boil", "had me slamming the door", "still has me shaking my fist"),
    ("left a lump in my throat", "kept me awake until four", "took the light out of the day"),
    ("was over before it mattered", "went by without a word", "could be noted in the register"),
    ("made me hold my breath", "sent a chill down my neck", "had us locking the windows"),
    ("had us hugging in the kitchen", "warmed even my old aunt", "was soft as a blanket"),
    ("was a farce in three acts", "deserves a medal made of tin", "fooled nobody but the cat"),
    ("gave us back some faith", "opened a door at last", "may yet turn out well"),
)
SUBJECTS = (
    *("The walk to the harbour", "That parcel from Aunt Vera", "Our third rehearsal", "The vote about the mill"),
    *("His speech on the ferry", "The repair of my watch", "A letter in green ink", "The quiz at the corner pub"),
    *("Her first driving lesson", "The long wait at gate nine", "Dinner with the new boss", "My turn at the piano"),
)
CIRCUMSTANCES = (
    *("with sand in both shoes", "after seven days of fog", "in front of the whole choir", "although the tea was cold"),
    *("before anyone had slept", "while the radio played waltzes", "on the night of the fair", "without a single map"),
    *(
        "two streets from the river",
        "under a borrowed umbrella",
        "with six cousins watching",
        "as the lamps went on",
    ),
)


@dataclass(frozen=True)
class Question:
    """What is asked, in the parts of a prompt: the instruction, the case at hand, and the cue of the answer."""

    instruction: str
    case: str
    cue: str
    seed: int

    @classmethod
    def of(cls, turns: Sequence[tuple[str, str]], seed: int) -> "Question":
        case, _, cue = turns[-1][1].strip().rpartition("\n")
        return cls(turns[0][1], case, cue.strip().rstrip(":"), seed)

    @cached_property
    def fields(self) -> dict[str, str]:
        """The lines `Name: content` of the case."""
        return dict(re.findall(r"^([A-Z][\w ]*): (.+)$", self.case, re.MULTILINE))

    @property
    def text(self) -> str:
        return self.fields.get("Text", self.case)

    def draw(self, options: Sequence, *purpose: Any) -> Any:
        return options[number(self.instruction, self.case, self.seed, *purpose) % len(options)]

    def one_in(self, times: int, *purpose: Any) -> bool:
        return self.draw(range(times), "one in", *purpose) == 0


def enumeration(question: Question) -> str:
    """Attributes that the text's longest words stand for, so that texts share some."""
    if question.one_in(12):
        return "I am sorry, but I cannot help with that."
    words = sorted(set(re.findall(r"\w+", question.text.casefold())), key=lambda word: (-len(word), word))
    found = dict.fromkeys(ATTRIBUTES[number(word) % len(ATTRIBUTES)] for word in words[:4])
    return "\n".join(
        f"{place}. **{one.name}** Attribute Description: {one.description}. "
        f"Attribute Value: {question.draw(DEGREES, one.name)}"
        for place, one in enumerate(found, 1)
    )


def analysis_instructions(question: Question) -> str:
    names = question.fields.get("Attributes", "feelings").split(", ")
    forms = (
        "How does the author of the text show {}, and in which words?",
        "Describe what {} in the text is about and how strong it is.",
        "Explain what a reader of the text would have to know to notice {}.",
        "Where does the text hint at {} without saying so?",
        "What would be left of the text if its author felt no {}?",
    )
    first = number(names) % len(forms)
    return "\n".join(
        f"{place + 1}. {forms[(first + place) % len(forms)].format(names[place % len(names)])}" for place in range(3)
    )


def proposals(question: Question) -> str:
    name = question.fields.get("Attribute", "Mood").title()
    return "\n".join(
        (
            f"1. classification: **{name} Detection** - Decide whether the author of the text shows {name.lower()}.",
            f"2. scoring: **{name} Rating** - Rate the {name.lower()} of the author of the text from 1 to 5.",
            f"3. extraction: **{name} Words** - Quote the words of the text that show {name.lower()}.",
            f"4. structured: **{name} Profile** - Give the degree of {name.lower()} and the words that show it.",
        )
    )


def definition(question: Question) -> str:
    """A definition of the task that `Task`, `Kind` and `Idea` describe, with an example of every label."""
    task, idea = question.fields.get("Task", ""), question.fields.get("Idea", "")
    known = [one for one in ATTRIBUTES if one.name.lower() in f"{task} {idea}".lower()]
    about = known[0] if known else Attribute(task.rpartition(" ")[0] or "Mood", "", "moved", "unmoved")
    name, kind, form, labels = about.name.lower(), question.fields.get("Kind", "classification"), "", []
    if kind == "classification":
        labels = [about.more, about.less, "neither"]
        instructions = (
            f"Decide whether the author of the text is {about.more}, {about.less} or neither.",
            f"Choose the word that fits what the author of the text shows of {name}.",
        )
    elif kind == "scoring":
        labels = ["1", "2", "3", "4", "5"]
        ends = f"from 1 (not {about.more} at all) to 5 (very {about.more})"
        instructions = (
            f"Rate how {about.more} the author of the text is, {ends}.",
            f"Say on a scale how {about.more} a reader would call the text, {ends}.",
        )
    elif kind == "extraction":
        form = "the exact words of the text, or none"
        instructions = (
            f"Quote the words of the text that show {name}.",
            f"Find the part of the text in which a reader hears {name}.",
        )
    else:
        form = f'a JSON object with the keys "{name}" and "words"'
        instructions = (
            f"Give the degree of {name} in the text and the words that show it.",
            f"Tell how much {name} there is in the text and where it stands.",
        )
    lines = [f"Instruction: {question.draw(instructions)}"]
    # A definition without labels or format cannot be used.
    if not question.one_in(10, "head"):
        lines.append(f"Labels: {', '.join(labels)}" if labels else f"Format: {form}")
    lines.append("Examples:")
    for place, label in enumerate(labels or ("", "", "")):
        text, output = example(question, label, form, place)
        lines += [f"Input: {text}", f"Output: {output}"]
    if question.one_in(2, "example"):
        lines += ["Input: The register has nine pages.", "Output: [something else]"]
    return "\n".join(lines)


def new_examples(question: Question) -> str:
    """An example for each of the answers that are asked for, or two with answers of the task's form."""
    asked = re.search(r"each of these answers: (.+?)\.?$", question.case, re.MULTILINE)
    labels = asked[1].split(", ") if asked else ["", ""]
    pairs = [example(question, label, question.fields.get("Task", ""), place) for place, label in enumerate(labels)]
    return "\n".join(f"Input: {text}\nOutput: {output}" for text, output in pairs)


def example(question: Question, label: str, form: str, place: int) -> tuple[str, str]:
    """(text, answer) for a label, or for a `form` of an open answer."""
    text = written(question, label or str(question.draw(MOODS, place)), place)
    if label:
        return text, label
    phrase = next(phrase for mood in MOODS for phrase in mood if phrase in text)
    if "JSON" in form:
        return text, json.dumps(objects(form, [question.draw(DEGREES, place), phrase]))
    return text, phrase


def written(question: Question, label: str, place: int) -> str:
    """A sentence that `label` fits."""
    subject, circumstance = question.draw(SUBJECTS, "subject", place), question.draw(CIRCUMSTANCES, "where", place)
    return f"{subject} {question.draw(mood_of(label), 'mood', place)}, {circumstance}."


def mood_of(label: str) -> tuple[str, ...]:
    return MOODS[number(label) % len(MOODS)]


def likeliest_label(question: Question) -> str:
    labels = labels_of(question)
    return max(labels, key=dict(zip(labels, shares(question, labels))).get)


def labels_of(question: Question) -> list[str]:
    found = re.search(r"Answer with one of: (.+?)\.?$", question.instruction, re.MULTILINE)
    return found[1].split(", ") if found else []


def shares(question: Question, labels: Sequence[str]) -> list[float]:
    """Probabilities of the labels; one whose mood the case has is the likeliest."""
    weights = [
        math.exp(
            3 * any(phrase in question.case for phrase in mood_of(label)) + number(question.case, label) % 1000 / 500
        )
        for label in labels
    ]
    return [weight / sum(weights) for weight in weights]


def quoted(question: Question) -> str:
    """Words that stand in the text, or none."""
    return "none" if question.one_in(5) else spans(question.text)[0]


def spans(text: str) -> list[str]:
    """Parts of the text, the longest of three words; none is the whole text."""
    words = text.split()
    start = number(text) % max(1, len(words) - 3)
    return [" ".join(words[start : start + 3]) if len(words) > 3 else words[-1], words[start], words[-1]]


def object_of_keys(question: Question) -> str:
    values = [question.draw(DEGREES), *spans(question.text)]
    found = objects(question.instruction, values)
    return json.dumps([found] if "list of objects" in question.instruction else found)


def objects(form: str, values: list[str]) -> dict[str, str]:
    """An object with the keys that `form` has in double quotes."""
    return dict(zip(dict.fromkeys(re.findall(r'"([^"]{1,40})"', form)), values))


def analysis(question: Question) -> str:
    one = question.draw(ATTRIBUTES)
    return f'The author sounds {one.more}. The words "{spans(question.text)[0]}" show it.'


# What is answered, by the cue that ends the prompt: those of prompts/*.jinja.
BY_CUE = {
    "Attributes": enumeration,
    "Instructions": analysis_instructions,
    "Tasks": proposals,
    "Definition": definition,
    "New examples": new_examples,
}
# Any other cue is that of a task, whose instruction says what an answer looks like.
BY_FORM = {"Answer with one of: ": likeliest_label, "JSON": object_of_keys, "exact words": quoted, "": analysis}


def answer(question: Question) -> str:
    if question.cue in BY_CUE:
        return BY_CUE[question.cue](question)
    return next(write for form, write in BY_FORM.items() if form in question.instruction)(question)


def of_schema(schema: dict[str, Any], question: Question, *path: str) -> Any:
    """A value that obeys `schema`, as far as those of the pipeline go. Texts stand in the text of the question."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    if "enum" in schema:
        known = [label for label in schema["enum"] if label == likeliest_label(question)] if labels_of(question) else []
        return known[0] if known else question.draw(schema["enum"], *path)
    if schema["type"] == "object":
        return {key: of_schema(value, question, *path, key) for key, value in schema["properties"].items()}
    if schema["type"] == "array":
        return [of_schema(schema["items"], question, *path)]
    if schema["type"] in ("number", "integer"):
        return 3
    return question.draw(spans(question.text), *path)


class ScriptedTeacher:
    """Answers to calls of a server: `ScriptedTeacher()(path, body)`; of a family it reads the chat template."""

    def __init__(self, family: str | None = None):
        self._family = tiny_models.FAMILIES[family] if family else None
        self._name = family

    @cached_property
    def _tokenizer(self):
        one = tiny_models.tokenizer_of_family(self._name) if self._name else tiny_models.smoke_tokenizer()
        return one.backend_tokenizer

    def __call__(self, path: str, body: dict) -> dict:
        if path.endswith("/chat/completions"):
            text = self._said([(turn["role"], turn["content"]) for turn in body["messages"]], body)
            return reply({"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}, 0, 0)
        turns, beginning = self._turns(body["prompt"])
        if wanted := body.get("logprob_token_ids"):
            top = self._logprobs(Question.of(turns, 0), beginning, wanted)
            logprobs = {"top_logprobs": [top], "tokens": [], "token_logprobs": [], "text_offset": []}
            return reply({"text": "", "finish_reason": "length", "logprobs": logprobs}, len(body["prompt"]), 1)
        ids = self._ids(self._said(turns, body))
        kept = ids[: body["max_tokens"]]
        finish_reason = "stop" if kept == ids else "length"
        choice = {"text": self._tokenizer.decode(kept), "finish_reason": finish_reason}
        return reply(choice, len(body["prompt"]), len(kept))

    def _said(self, turns: list[tuple[str, str]], body: dict) -> str:
        question = Question.of(turns, body.get("seed") or 0)
        if form := body.get("response_format"):
            return json.dumps(of_schema(form["json_schema"]["schema"], question), ensure_ascii=False)
        return answer(question)

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    @property
    def _end(self) -> int:
        return self._tokenizer.token_to_id(self._family.special[0] if self._family else "<|end|>")

    def _turns_of_family(self, ids: list[int]) -> tuple[list[tuple[str, str]], list[int]]:
        last = len(ids) - ids[::-1].index(self._end)
        turns = re.findall(self._family.turn, self._tokenizer.decode(ids[:last], skip_special_tokens=False), re.DOTALL)
        if turns[0][0] != "system":  # Gemma's instruction opens the first user's turn
            instruction, _, case = turns[0][1].partition("\n\n")
            turns[:1] = [("system", instruction), ("user", case)]
        opening = self._tokenizer.encode(self._family.opening, add_special_tokens=False).ids
        assert ids[last : last + len(opening)] == opening, "the answer is not asked for as the template does"
        return turns, ids[last + len(opening) :]

    def _turns(self, ids: list[int]) -> tuple[list[tuple[str, str]], list[int]]:
        """((role, content) of each turn, ids of the beginning of the answer) of a prompt by the chat template."""
        if self._family:
            return self._turns_of_family(ids)
        roles = {self._tokenizer.token_to_id(f"<|{role}|>"): role for role in ROLES}
        turns: list[tuple[str, str]] = []
        inner: list[int] = []
        for token in ids:
            if token in roles:
                role, inner = roles[token], []
            elif token == self._end:
                turns.append((role, self._tokenizer.decode(inner)))
            else:
                inner.append(token)
        return turns, inner

    def _logprobs(self, question: Question, beginning: list[int], wanted: list[int]) -> dict[str, float]:
        """Log-probabilities of `wanted` tokens after `beginning`, of a model that says one of the labels and ends."""
        labels = labels_of(question)
        whole = [[*self._ids(label), self._end] for label in labels]
        chances = shares(question, labels)

        def mass(start: list[int]) -> float:
            return FLOOR + sum(chance for ids, chance in zip(whole, chances) if ids[: len(start)] == start)

        before = mass(beginning)
        return {
            f"token_id:{token}": round(min(0.0, math.log(mass([*beginning, token]) / before)), 6) for token in wanted
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the scripted teacher on loopback.")
    parser.add_argument("--port", type=int, default=8400)
    server = LocalServer(answer=ScriptedTeacher(), port=parser.parse_args().port)
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
