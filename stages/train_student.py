"""train set -> models/student/ (safetensors and tokenizer), and plots/training_loss.csv.

Columns of the plot: step, loss, learning_rate
"""

import time
from pathlib import Path

import pandas as pd

from sentidistill import config, records
from sentidistill.errors import SentiDistillError
from sentidistill.inference.engines.transformers import TransformersEngine
from sentidistill.inference.requests import Reader, Request, answer
from sentidistill.pipeline import stage
from sentidistill.prompts import stop_strings
from sentidistill.samples import TRAIN_ROWS
from sentidistill.sources import models, packages
from sentidistill.student.training import tokenise, train

PROBES = 16


def main() -> None:
    params = config.load()
    section, student, runtime = params.train_student, params.student, params.runtime
    cache = stage.cache_root()
    base = Path("models/student_base")
    rows = TRAIN_ROWS.read()
    tokenizer = models.load_tokenizer(base, cache.parent)
    data = tokenise(rows, tokenizer, student.prompt_format, student.max_length)
    if data.dropped:
        raise SentiDistillError(
            f"train_student: {data.dropped} of {len(rows)} rows do not fit into student.max_length = "
            f"{student.max_length} tokens; raise it, or remake data/train.jsonl by score_difficulty and select_samples"
        )
    model = models.load_causal_lm(base, cache.parent, runtime.model_copy(update={"dtype": "float32"}))
    fingerprint = records.content_id(models.identity(base), section.model_dump(), data.input_ids)
    started = time.monotonic()
    losses = train(
        model,
        tokenizer,
        data,
        section,
        max_length=student.max_length,
        rows_per_step=runtime.train_rows_per_step,
        save_steps=runtime.save_steps,
        checkpoints=cache / "train" / fingerprint,
    )
    seconds = time.monotonic() - started
    out = Path("models/student")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    weights = {file.name: packages.sha256(file) for file in sorted(out.glob("*.safetensors"))}
    records.write_json(out / models.ORIGIN, {"source": "trained", "weights": weights})
    records.write_text("plots/training_loss.csv", pd.DataFrame(losses).to_csv(index=False))
    stop = stop_strings(student.prompt_format)
    probes = [Request(prompt, max_new_tokens=96, stop=stop) for prompt in data.prompts[:PROBES]]
    engine = TransformersEngine(model, tokenizer, rows_per_batch=PROBES, batch_tokens=runtime.batch_tokens)
    ending = answer(engine, Reader("", student.prompt_format, student.max_length, lambda: tokenizer), probes)
    supervised = sum(map(sum, data.completion_mask))
    stage.finish(
        "train_student",
        {
            "rows": len(data.input_ids),
            "truncated": data.truncated,
            "dropped": data.dropped,
            "tokens": sum(map(len, data.input_ids)),
            "supervised_tokens": supervised,
            "first_loss": losses[0]["loss"],
            "last_loss": losses[-1]["loss"],
            "share_of_probes_that_end": sum(a.finish_reason == "stop" for a in ending) / len(ending),
            "share_of_probes_empty": sum(not a.text.strip() for a in ending) / len(ending),
        },
    )
    print(f"training took {seconds:.0f} s")


if __name__ == "__main__":
    stage.run(main)
