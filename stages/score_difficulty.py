"""pool with answers -> data/difficulty.csv: how hard each answer is for the base student.

Columns: id, stratum (the instruction and, where labels are closed, the answer), family, rank_score,
rank_score_all, nll, n_tokens, truncated
"""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from sentidistill import config, models, records, stage
from sentidistill.difficulty import score_ids
from sentidistill.progress import track
from sentidistill.prompts import render
from sentidistill.samples import Answered, PoolPrompt


def stratum(row: PoolPrompt, answer: str) -> str:
    """What selection keeps its share of: the instruction and, where labels are closed, the answer.

    The difficulty of a label is to a good part how seldom the student says it whatever the text. Ranked
    across labels, the hard half of a task would be the texts with that label.
    """
    return f"{row.stratum} {answer}" if row.labels else row.stratum


def main() -> None:
    params = config.load()
    root = stage.cache_root().parent
    answers = {row.id: row.answer for row in records.read_jsonl("data/responses.jsonl", Answered)}
    rows = [row for row in records.read_jsonl("data/prompts.jsonl", PoolPrompt) if row.id in answers]
    tokenizer = models.load_tokenizer(Path("models/student_base"), root)
    model = models.load_causal_lm(Path("models/student_base"), root, params.runtime)
    rendered = [render(row.student_prompt(), tokenizer, params.student.prompt_format, answers[row.id]) for row in rows]
    with track("score_difficulty", len(rows)) as progress:
        scores = score_ids(
            model,
            [(one.prompt_ids, one.completion_ids) for one in rendered],
            top_p=params.score_difficulty.top_p,
            max_length=params.student.max_length,
            batch_tokens=params.runtime.batch_tokens // 8,
            advance=progress.advance,
        )
    table = pd.DataFrame([asdict(score) for score in scores])
    table.insert(0, "id", [row.id for row in rows])
    table.insert(1, "stratum", [stratum(row, answers[row.id]) for row in rows])
    table.insert(2, "family", [row.family for row in rows])
    records.write_text("data/difficulty.csv", table.round(6).to_csv(index=False))
    stage.finish(
        "score_difficulty",
        {
            "samples": len(table),
            "tokens_scored": int(table["n_tokens"].sum()),
            "truncated": int(table["truncated"].sum()),
            "mean_rank_score": round(float(table["rank_score"].mean()), 4),
            "mean_rank_score_all": round(float(table["rank_score_all"].mean()), 4),
            "mean_nll": round(float(table["nll"].mean()), 4),
            "share_fully_predicted": round(float((table["rank_score"] == 0).mean()), 4),
        },
    )


if __name__ == "__main__":
    stage.run(main)
