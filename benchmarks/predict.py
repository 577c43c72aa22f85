"""Rows of a CSV file per second: python -m sentidistill.predict, beside the bare model.

    python -m benchmarks.predict [MODEL_FOLDER] [ROWS]     default: models/student, the test texts of the default tasks

In turn, on parts of 500 rows each. "Command" reads, cleans, predicts and writes. "Model" is the part of that time that
the model's own forward passes take, over the very same batches. "Bare" is one forward pass over padded batches of whole
prompts, made beforehand. Two minutes on 2 cores with AVX-512.
"""

import csv
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.evaluation import last_logits
from benchmarks.timing import spread
from sentidistill import scored
from sentidistill.evaluation import tasks
from sentidistill.predict import Predictor, cells, columns

PART, BATCH = 500, 32


def main(folder: str = "models/student", rows: str = "2000") -> None:
    student = Predictor(folder)
    model, in_model, started = student._engine._model, 0.0, 0.0

    def begin(*_) -> None:
        nonlocal started
        started = time.perf_counter()

    def end(*_) -> None:
        nonlocal in_model
        in_model += time.perf_counter() - started

    model.register_forward_pre_hook(begin)
    model.register_forward_hook(end)

    def command(path: Path) -> None:
        scored.write(
            scored.Source(path, "text"),
            path.with_suffix(".scored.csv"),
            columns({"sentiment": student.tasks["sentiment"]}),
            lambda asked: cells(student, asked, ["sentiment"], 1.0),
            [],
            lambda *_, **__: None,
        )

    texts = list(dict.fromkeys(text for text, _ in tasks.for_use(Path("data/benchmark"), "test")["sentiment"][1]))
    texts = texts[: int(rows)]
    student.predict(texts[:BATCH])
    times: list[tuple[float, float, float]] = []
    with tempfile.TemporaryDirectory() as name:
        for place in range(0, len(texts), PART):
            part, path = texts[place : place + PART], Path(name, f"{place}.csv")
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([["text"], *([text] for text in part)])
            prompts = sorted(student.prompts(part), key=len)
            in_model, first = 0.0, time.perf_counter()
            command(path)
            second, of_model = time.perf_counter(), in_model
            last_logits(model, prompts, BATCH)
            times.append((second - first, of_model, time.perf_counter() - second))
    print(f"{folder}: {len(texts)} rows, {len(texts) / sum(one for one, _, _ in times):.1f} a second")
    for place, other in ((1, "model"), (2, "bare")):
        print(f"  time of the command to {other}: {spread(one[0] / one[place] for one in times)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
