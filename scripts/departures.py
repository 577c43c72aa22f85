"""Write docs/departures.md of scripts/departures.yaml and of the params: `python -m scripts.departures`."""

import json
from pathlib import Path
from typing import Any

from sentidistill.commands import profiles
from sentidistill.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "docs/departures.md"
FAMILIES = ("llama", "qwen", "gemma")
HEAD = """# Where we depart from the paper

Each published constant of CompEffDist (Xie et al., EMNLP 2025, arXiv 2510.24425), what it is in the paper's profiles
(`params/paper-llama.yaml`, `-qwen`, `-gemma`) and in the default run, and why they differ. A source is *paper* (as
others summarise it), *code* (its public repository) or *library* (what that code calls). This file is generated
(`python -m scripts.departures`). [method.md](method.md) says what each stage does."""


def shown(value: Any) -> str:
    """A value of params.yaml in a cell of a table; of a model its name."""
    if not isinstance(value, dict) or "source" not in value:
        return json.dumps(value).replace('"', "")
    if value["source"] == "gguf":
        return next(place["repo"] for place in value["places"] if "repo" in place)
    return value.get("repo") or value["packages"][0]["name"]


def at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def cell(row: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    """The params of `row` in one or several runs, all values where they differ."""
    lines = [row["ours"]] if "ours" in row else []
    for key in row.get("params", []):
        values = dict.fromkeys(shown(at(run, key)) for run in runs)
        lines.append(f"`{key}` {', '.join(values)}")
    return "<br>".join(lines)


def page() -> str:
    """The text of docs/departures.md. Raises `KeyError` for a param that there is not."""
    default = read_yaml(ROOT / "params.yaml")
    papers = [profiles.with_profile(f"paper-{family}") for family in FAMILIES]
    lines = [HEAD]
    for heading, rows in read_yaml(ROOT / "scripts/departures.yaml").items():
        lines += ["", f"## {heading}", "", "| what | published | source | the paper's profiles | default | why |"]
        lines.append("|---|---|---|---|---|---|")
        for row in rows:
            found = [row["what"], row["published"], row["source"], cell(row, papers), cell(row, [default]), row["why"]]
            lines.append(f"| {' | '.join(found)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    PATH.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
