"""From texts to training rows: the number of things at each step, and what was left out there and why."""

from dataclasses import dataclass
from pathlib import Path

from sentidistill import records
from sentidistill.report.page import losses

CORPUS = {
    "too_short_or_long": "too short or too long",
    "same_as_another": "the same as another text",
    "removed_same_as_benchmark": "the same as a text of the benchmark",
    "removed_near_duplicate_of_benchmark": "nearly the same as a text of the benchmark",
    "removed_as_listed": "on the list of held-out texts",
}


@dataclass(frozen=True)
class Step:
    """`number` things, made from those that `of` names, without what was `lost`: (reason, number) pairs."""

    what: str
    number: int
    of: str
    lost: list[tuple[str, int]]


def steps() -> list[Step]:
    """All steps, in the words of a reader; the numbers are those in metrics/."""
    of = {path.stem: records.read_json(path) for path in Path("metrics").glob("*.json")}
    corpus, prompts, scored = of["prepare_corpus"], of["compose_prompts"], of["score_difficulty"]
    selected, trained = of["select_samples"], of["train_student"]

    def lost(stage: str) -> list[tuple[str, int]]:
        return [(reason, number) for _, reason, number in losses([stage])]

    undrawn = corpus["usable"] - corpus["pool_enumeration"] - corpus["pool_distillation"]
    found = [
        ("texts read", corpus["texts_read"], "", [("rows without a text", corpus["rows_without_text"])]),
        ("usable texts", corpus["usable"], "texts read", [(why, corpus[key]) for key, why in CORPUS.items()]),
        ("texts in which attributes are found", corpus["pool_enumeration"], "usable texts", []),
        ("other texts, for tasks", corpus["pool_distillation"], "usable texts", [("drawn for neither", undrawn)]),
        ("mentions of attributes", of["enumerate_attributes"]["mentions"], "", lost("enumerate_attributes")),
        ("names of attributes", of["enumerate_attributes"]["distinct_names"], "", []),
        ("attributes", of["collect_attributes"]["attributes"], "names of attributes", lost("collect_attributes")),
        ("clusters", of["cluster_attributes"]["clusters"], "", []),
        ("perspectives", of["select_perspectives"]["perspectives"], "clusters", lost("select_perspectives")),
        (
            "instructions for analyses",
            of["write_analysis_instructions"]["instructions"],
            "",
            lost("write_analysis_instructions"),
        ),
        ("proposed tasks", of["propose_tasks"]["proposals"], "", lost("propose_tasks")),
        ("defined tasks", of["define_tasks"]["definitions"], "proposed tasks", lost("define_tasks")),
        (
            "tasks with demonstrations",
            of["write_demonstrations"]["tasks_with_demonstrations"],
            "defined tasks",
            lost("write_demonstrations"),
        ),
        (
            "instructions, of analyses and tasks",
            of["build_instructions"]["instructions"],
            "",
            lost("build_instructions"),
        ),
        (
            "prompts: an instruction with a text",
            prompts["prompts"],
            "",
            [("wanted, but no text was left for them", prompts["prompts_asked"] - prompts["prompts"])],
        ),
        ("answers of the teacher", of["collect_responses"]["answers"], "prompts", lost("collect_responses")),
        (
            "answers whose difficulty is measured",
            scored["samples"],
            "answers of the teacher",
            [("too long for the student", scored["dropped"])],
        ),
        (
            "answers kept",
            selected["kept"],
            "answers whose difficulty is measured",
            [("not chosen for training", scored["samples"] - selected["kept"])],
        ),
        (
            "training rows",
            trained["rows"],
            "answers kept",
            [("too long for the student", trained["dropped"]), ("without an answer", trained["without_answer"])],
        ),
    ]
    return [
        Step(what, number, source, [(why, count) for why, count in left_out if count > 0])
        for what, number, source, left_out in found
    ]
