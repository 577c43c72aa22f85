"""What models and texts are under, and what follows for a student of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sentidistill.config import Params
from sentidistill.config.corpus import VaderTexts


class Licence(NamedTuple):
    """What a model or a source of texts is called, what it is under, and what follows for a student of it."""

    name: str
    licence: str
    follows: str


# Of models whose name or source holds `name`, by the publishers' own pages; the first that fits counts.
MODELS = (
    Licence("qwen3", "Apache-2.0", "keep its notice"),
    Licence("qwen2.5-3b", "Qwen Research License", "no commercial use"),
    Licence("qwen2.5-coder-3b", "Qwen Research License", "no commercial use"),
    Licence("qwen2.5-72b", "Qwen License", "ask above 100 million users a month; say that it was built with Qwen"),
    Licence("qwen2.5", "Apache-2.0", "keep its notice"),
    Licence("smollm", "Apache-2.0", "keep its notice"),
    Licence("gemma", "Gemma Terms of Use", "a student is a model derivative: pass on the terms and the use policy"),
    Licence(
        "llama",
        "Llama Community License",
        "a model trained on its output begins its name with Llama; say *Built with Llama*; pass the licence on",
    ),
)
UNKNOWN = Licence("", "not known here", "look at its source before you pass the student on")


def called(origin: dict[str, Any]) -> str:
    """What people know a model by: its repository, server's name or folder, or else the packages that it comes in."""
    places = [origin, *origin.get("places", [])]
    for key in ("repo", "model", "path"):
        if named := [place[key] for place in places if place.get(key)]:
            return str(named[0])
    return ", ".join(origin.get("packages", {})) or "no model"


def of_model(origin: dict[str, Any]) -> Licence:
    """By all that is known of where the model comes from, under the name that people know it by."""
    told = str(origin).lower()
    known = next((one for one in MODELS if one.name in told), UNKNOWN)
    return known._replace(name=called(origin))


def of_texts(params: Params) -> list[Licence]:
    """Of the texts that the student learns from. A file of the user's own does not say what it is under."""
    sources = params.prepare_corpus.sources
    found = [
        Licence(
            f"texts: {source.vader} of vaderSentiment (Hutto and Gilbert, 2014)",
            "MIT; the texts belong to their authors",
            "name the source",
        )
        for source in sources
        if isinstance(source, VaderTexts)
    ]
    own = [source.path for source in sources if not isinstance(source, VaderTexts)]
    if params.collect_responses.released:
        own.append(params.collect_responses.released.path)
    if params.train_student.own_labels:
        own += [task.path for task in params.prepare_benchmark.own]
    follows = "they are yours to answer for; if they are for non-commercial use only, so is the student"
    return found + [Licence(f"texts: {path}", UNKNOWN.licence, follows) for path in dict.fromkeys(own)]


def table(params: Params, origins: Sequence[dict[str, Any]]) -> list[Licence]:
    """Of the models of these origins, and of the texts."""
    return list(dict.fromkeys([*map(of_model, origins), *of_texts(params)]))
