"""Write the stage table and the graph of dvc.yaml into README.md: `python -m scripts.readme`."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- generated from dvc.yaml by scripts/readme.py -->", "<!-- end of the generated part -->"


def _paths(entries: list) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def generated(dvc_yaml: str) -> str:
    """The table of stages and a Mermaid graph of them, as Markdown."""
    stages = yaml.safe_load(dvc_yaml)["stages"]
    rows, writer, reads = [], {}, {}
    for name, stage in stages.items():
        body = stage.get("do", stage)
        items = stage.get("foreach", [""])
        outs = _paths([*body.get("outs", []), *body.get("metrics", [])])
        for item in items:
            writer |= {path.replace("${item}", item): name for path in outs}
        reads[name] = {path.replace("${item}", item) for path in _paths(body["deps"]) for item in items}
        shown = [path.replace("${item}", "*") for path in _paths(body.get("outs", []))]
        about = body["desc"].replace("${item}", "each model" if name == "evaluate" else "teacher, student or embedder")
        rows.append(f"| `{name}` | {about} | {', '.join(f'`{path}`' for path in shown)} |")
    edges = sorted(
        {
            (origin, name)
            for name, inputs in reads.items()
            for path in inputs
            for out, origin in writer.items()
            if origin != name and (out == path or out.startswith(f"{path}/") or path.startswith(f"{out}/"))
        },
        key=lambda edge: (list(stages).index(edge[0]), list(stages).index(edge[1])),
    )
    lines = ["| stage | what it does | writes |", "|---|---|---|", *rows, "", "```mermaid", "flowchart TD"]
    lines += [f"    {origin} --> {name}" for origin, name in edges]
    return "\n".join([*lines, "```"])


def main() -> None:
    path = ROOT / "README.md"
    part = f"{BEGIN}\n{generated((ROOT / 'dvc.yaml').read_text())}\n{END}"
    path.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: part, path.read_text(), flags=re.DOTALL))


if __name__ == "__main__":
    main()
