"""Instruction construction without its models, at three sizes up to the paper's, and how each step grows.

    python -m benchmarks.construction

The stages themselves run, on made-up texts and a scripted teacher, and store every answer; the time that
the embedder takes is subtracted. At full size: 20,000 enumerations with 250,000 mentions, about 2,000 tasks
and 60,000 demonstrations. Run after the stage `prepare_models@embedder`.
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from sentidistill import clustering, records
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.requests import Job, Reader, Response
from sentidistill.inference.store import Cache
from sentidistill.sources.corpus import Text

ROOT = Path(__file__).resolve().parent.parent
SIZES = (1 / 16, 1 / 4, 1)
TEXTS, MENTIONS_PER_TEXT, ATTRIBUTES, DEMONSTRATIONS_PER_TASK = 20_000, 12.5, 1_900, 36
RARE_SHARE = 0.12  # of the mentions have a name of their own
FAULTY_SHARE = 0.05  # of the definitions
STEPS = (
    "enumerate_attributes",
    "collect_attributes",
    "cluster_attributes",
    "select_perspectives",
    "write_analysis_instructions",
    "propose_tasks",
    "define_tasks",
    "write_demonstrations",
    "build_instructions",
)


def words(text: str) -> list[str]:
    return text.split()


QUALITIES = words("""
warm cold deep sudden quiet open hidden moral social public private honest blunt gentle bitter playful formal
casual vivid plain strong mild shared lonely early late hopeful weary tender harsh proud humble calm restless
clear vague bold shy patient hasty loyal distant
""")
FEELINGS = words("""
trust anger joy fear pride shame hope doubt humour irony praise blame longing regret envy gratitude respect
contempt relief boredom wonder disgust grief comfort worry curiosity sympathy certainty sarcasm nostalgia
urgency courtesy loyalty guilt delight surprise sorrow courage patience tension affection
""")
WORDS = words("""
the a my our this that was is never always again today yesterday morning house street train coffee friend mother
garden window paper story match game doctor school river bread winter summer really so very quite hardly almost
said told went came found lost broke kept liked wanted needed heard saw felt knew thought
""")


class ScriptedTeacher:
    """An engine that answers every prompt of the construction in the form of a large teacher, at once."""

    def __init__(self, names: list[str]):
        self._names = names
        self._weights = [1 / (rank + 20) for rank in range(len(names))]

    def stream(self, jobs: list[Job]) -> Iterator[list[tuple[int, Response]]]:
        for start in range(0, len(jobs), 500):
            yield [(start + place, self._response(job)) for place, job in enumerate(jobs[start : start + 500])]

    def _response(self, job: Job) -> Response:
        request = job.request
        random_ = random.Random(request.random_seed())
        if request.choices:
            # A written text ends with the label that it was asked for, and is taken for it.
            scores = tuple(-random_.random() - (not request.prompt.input.endswith(one)) for one in request.choices)
            return Response(request.choices[scores.index(max(scores))], "choice", 100, 0, scores)
        write = {
            "Attributes:": self._attributes,
            "Instructions:": self._instructions,
            "Tasks:": self._tasks,
            "Definition:": self._definition,
            "New examples:": self._examples,
        }[request.prompt.cue]
        return Response(write(request.prompt.input, random_), "stop", 500, 100)

    def _attributes(self, _: str, random_: random.Random) -> str:
        lines = []
        for number in range(random_.choice((12, 13))):
            (name,) = random_.choices(self._names, self._weights)
            if random_.random() < RARE_SHARE:
                name = f"{random_.choice(WORDS)} {name} {random_.choice(WORDS)}"
            description = f"How much {name} the text shows, {sentence(random_, 4)}"
            lines.append(
                f"{number + 1}. **{name.title()}** Attribute Description: {description} Attribute Value: "
                f"{random_.choice(('high', 'low'))}"
            )
        return "\n\n".join(lines)

    def _instructions(self, given: str, random_: random.Random) -> str:
        names = given.split("\n")[0].removeprefix("Attributes: ").split(", ")
        kinds = (
            "Describe how the text shows {}.",
            "Which words of the text carry {}?",
            "Explain what {} in the text aims at.",
        )
        return "\n".join(f"{number + 1}. {random_.choice(kinds).format(random_.choice(names))}" for number in range(15))

    def _tasks(self, given: str, _: random.Random) -> str:
        name = given.split("\n")[0].removeprefix("Attribute: ")
        return "\n".join(
            f"{number + 1}. {kind}: **{name.title()} {word}** - Say how the text stands to {name}, by a {word}."
            for number, (kind, word) in enumerate(
                [("classification", "Class"), ("scoring", "Score"), ("extraction", "Quote"), ("structured", "Form")]
            )
        )

    def _definition(self, given: str, random_: random.Random) -> str:
        name, kind = (line.split(": ", 1)[1] for line in given.split("\n")[:2])
        topic = " ".join(name.lower().split()[:-1])
        labels = [f"much {topic}", f"some {topic}", "none"] if kind == "classification" else ["1", "2", "3", "4", "5"]
        if random_.random() < FAULTY_SHARE:
            labels = labels[:1]
        texts = [sentence(random_, 12) for _ in range(8)]
        if kind in ("classification", "scoring"):
            form, outputs = f"Labels: {', '.join(labels)}", [random_.choice(labels) for _ in texts]
        elif kind == "extraction":
            form, outputs = "Format: the exact words of the text, or none", [" ".join(t.split()[:2]) for t in texts]
        else:
            form = f'Format: a JSON object with the keys "{topic}" and "reason"'
            outputs = [json.dumps({topic: "much", "reason": text.split()[0]}) for text in texts]
        examples = "\n".join(f"Input: {text}\nOutput: {output}" for text, output in zip(texts, outputs))
        scale = f" from 1 (none) to 5 (much {topic})" if kind == "scoring" else ""
        return f"Instruction: Of {topic}{scale}, {sentence(random_, 9)}\n{form}\nExamples:\n{examples}"

    def _examples(self, given: str, random_: random.Random) -> str:
        _, closed, wanted = given.partition("for each of these answers: ")
        if closed:
            pairs = [(f"{sentence(random_, 14)} {label}", label) for label in wanted.rstrip(".").split(", ")]
        else:
            keys = given.split('"')[1::2]
            texts = [sentence(random_, 14) for _ in range(2)]
            written = [json.dumps({key: random_.choice(WORDS) for key in keys}) if keys else "" for _ in texts]
            pairs = [(text, output or " ".join(text.split()[3:5])) for text, output in zip(texts, written)]
        return "\n".join(f"Input: {text}\nOutput: {output}" for text, output in pairs)


def sentence(random_: random.Random, words: int) -> str:
    return " ".join(random_.choices(WORDS, k=words)).capitalize() + "."


def prepare(folder: Path, size: float) -> None:
    """A project folder with texts and params for `size` times the paper's scale."""
    for name in ("prompts", "models"):
        (folder / name).symlink_to(ROOT / name)
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["teacher"] |= {"worked_examples": False, "retries": 1}
    values["collect_attributes"] |= {"min_texts": 2, "min_share": 11 / TEXTS}
    values["select_perspectives"]["method"] = "embedding"
    values["write_analysis_instructions"]["attributes_per_call"] = 15
    values["propose_tasks"]["attributes_per_cluster"] = 9
    values["define_tasks"] |= {
        "max_tasks": dict.fromkeys(values["define_tasks"]["max_tasks"], 10**6),
    }
    demonstrations = values["write_demonstrations"]
    demonstrations |= {
        "prompts_per_closed_task": DEMONSTRATIONS_PER_TASK,
        "prompts_per_open_task": DEMONSTRATIONS_PER_TASK,
        "min_kappa": -1.0,
    }
    demonstrations["max_per_label"] = DEMONSTRATIONS_PER_TASK
    records.write_text(folder / "params.yaml", yaml.safe_dump(values))
    random_ = random.Random(1)
    texts = (
        Text(id=f"{number:016x}", domain="d", text=sentence(random_, 30), pool="enumeration")
        for number in range(round(TEXTS * size))
    )
    records.write_jsonl(folder / "data/corpus.jsonl", texts)


def measure(size: float) -> None:
    """Run the steps in this process and print their seconds, what they made, and the peak of memory, as JSON."""
    import importlib

    embedding = 0.0
    embed = clustering.embed

    def timed(texts: list[str], folder: Path):
        nonlocal embedding
        started = time.perf_counter()
        rows = embed(texts, folder)
        embedding += time.perf_counter() - started
        return rows

    clustering.embed = timed
    pairs = [f"{quality} {feeling}" for quality in QUALITIES for feeling in FEELINGS]
    random.Random(2).shuffle(pairs)
    teacher = ScriptedTeacher(pairs[: round(ATTRIBUTES * size)])

    @contextmanager
    def open_model(_role, _params, cache_root: Path) -> Iterator[CachedTeacher]:
        cache = Cache(cache_root / "generations" / "responses.sqlite")
        yield CachedTeacher(Reader("scripted", "chat", 10**6), lambda: teacher, cache)
        cache.close()

    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, size)
        os.chdir(folder)
        for step in STEPS:
            main = importlib.import_module(f"stages.{step}").main
            embedding, started = 0.0, time.perf_counter()
            main(**({"open_model": open_model} if "open_model" in main.__code__.co_varnames else {}))
            seconds[step] = time.perf_counter() - started - embedding
        made = {step: records.read_json(f"metrics/{step}.json") for step in STEPS}
        os.chdir(ROOT)
    figures = {
        "mentions": made["enumerate_attributes"]["mentions"],
        "attributes": made["collect_attributes"]["attributes"],
        "clusters": made["cluster_attributes"]["clusters"],
        "tasks": made["define_tasks"]["definitions"],
        "demonstrations": made["write_demonstrations"]["demonstrations"],
        "instructions": made["build_instructions"]["instructions"],
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "figures": figures, "peak": peak}))


def main() -> None:
    results = []
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.construction", str(size)]
        output = subprocess.run(
            command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        results.append(json.loads(output.stdout.splitlines()[-1]))
    sizes = "".join(f"{f'x {size:.4g}':>10}" for size in SIZES)
    print(f"{'seconds':30}{sizes}   last step by")
    for step in STEPS:
        values = [result["seconds"][step] for result in results]
        print(f"{step:30}" + "".join(f"{value:10.1f}" for value in values) + f"{values[-1] / values[-2]:10.1f}")
    totals = [sum(result["seconds"].values()) for result in results]
    print(f"{'all':30}" + "".join(f"{total:10.1f}" for total in totals) + f"{totals[-1] / totals[-2]:10.1f}")
    print(f"{'peak of memory, MB':30}" + "".join(f"{result['peak']:10.0f}" for result in results))
    for name in results[0]["figures"]:
        print(f"{name:30}" + "".join(f"{result['figures'][name]:10,}" for result in results))


if __name__ == "__main__":
    measure(float(sys.argv[1])) if len(sys.argv) > 1 else main()
