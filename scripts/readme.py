"""Write the stage table and the graph of dvc.yaml into README.md: `python -m scripts.readme`."""

import re
from pathlib import Path

import yaml

from sentidistill.pipeline.graph import path_of, stages

ROOT = Path(__file__).resolve().parent.parent
ABOUT = {
    "item": "teacher, student, embedder or proxy",
    "item.model": "each model",
    "item.task": "each task of the benchmark",
}
BEGIN, END = "<!-- generated from dvc.yaml by scripts/readme.py -->", "<!-- end of the generated part -->"


def generated(dvc_yaml: str) -> str:
    """The table of stages and a Mermaid graph of them, as Markdown."""
    content = yaml.safe_load(dvc_yaml)
    rows, writer, reads = [], {}, {}
    for one in stages(content, yaml.safe_load((ROOT / "params.yaml").read_text())):
        writer |= dict.fromkeys([*one.outs, *one.metrics], one.template)
        reads.setdefault(one.template, set()).update(one.deps)
    for name, stage in content["stages"].items():
        body = stage.get("do", stage)
        shown = [re.sub(r"\$\{[\w.]+\}", "*", path_of(entry)) for entry in body.get("outs", [])]
        about = body["desc"]
        for item, words in ABOUT.items():
            about = about.replace(f"${{{item}}}", words)
        rows.append(f"| `{name}` | {about} | {', '.join(f'`{path}`' for path in shown)} |")
    order = list(content["stages"])
    edges = sorted(
        {
            (origin, name)
            for name, inputs in reads.items()
            for path in inputs
            for out, origin in writer.items()
            if origin != name and (out == path or out.startswith(f"{path}/") or path.startswith(f"{out}/"))
        },
        key=lambda edge: (order.index(edge[0]), order.index(edge[1])),
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
