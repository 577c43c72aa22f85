"""Baselines of the label tasks: the commonest label, a linear model of the training texts, VADER, and any sequence
classifier.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import SENTIMENTS
from sentidistill.evaluation.questions import limited, text_of
from sentidistill.evaluation.suite import Outcome, Settings
from sentidistill.evaluation.tasks import EvaluationTask

if TYPE_CHECKING:
    import torch

# (task, texts, training records) -> a label for each text.
Predict = Callable[[EvaluationTask, Sequence[str], Sequence[dict]], list[str]]
# VADER's authors: a compound score within these limits is neutral.
NEUTRAL = 0.05


def kinds(task: EvaluationTask) -> tuple[str, ...]:
    """The baselines that apply to `task`: none to tuples, VADER only where the labels are sentiments."""
    if not task.labels:
        return ()
    return tuple(KINDS) if set(task.labels) <= set(SENTIMENTS) else ("majority", "tfidf")


def outcomes(
    predict: Predict, task: EvaluationTask, records: Sequence[dict], train: Sequence[dict], settings: Settings
) -> list[Outcome]:
    """What the baseline predicts for the records that a model is tested on."""
    places = limited(task, records, settings.label_limit, seed=0)
    texts = [text_of(task, records[place]) for place in places]
    return [
        Outcome(
            task=task.name,
            record=place,
            seed=0,
            text=text,
            gold=task.gold_label(records[place]),
            output=label,
            calibrated=None,
            right=label == task.gold_label(records[place]),
            finish_reason="choice",
            error=None,
            shown=[],
            scores=[],
        )
        for place, text, label in zip(places, texts, predict(task, texts, train))
    ]


def majority(task: EvaluationTask, texts: Sequence[str], train: Sequence[dict]) -> list[str]:
    (commonest, _), *_ = Counter(task.gold_label(record) for record in train).most_common(1)
    return [commonest] * len(texts)


def tfidf(task: EvaluationTask, texts: Sequence[str], train: Sequence[dict]) -> list[str]:
    """TF-IDF of words and pairs, and logistic regression with classes weighed alike; it sees all training records."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(class_weight="balanced", max_iter=2000),
    )
    model.fit([text_of(task, record) for record in train], [task.gold_label(record) for record in train])
    return model.predict(list(texts)).tolist()


def vader(task: EvaluationTask, texts: Sequence[str], train: Sequence[dict]) -> list[str]:
    """The lexicon and rules of Hutto and Gilbert (2014), which learn nothing from the training texts."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    scores = [analyzer.polarity_scores(text)["compound"] for text in texts]
    if "neutral" not in task.labels:
        return ["positive" if score > 0 else "negative" for score in scores]
    return ["neutral" if abs(score) < NEUTRAL else "positive" if score > 0 else "negative" for score in scores]


KINDS: dict[str, Predict] = {"majority": majority, "tfidf": tfidf, "vader": vader}


def classifier(folder: Path, device: "torch.device") -> Predict:
    """The sequence classifier of transformers' layout in `folder`. It learns nothing from the training texts.

    Raises `SentiDistillError`, when it is asked, if one of its classes is no label of the task; it may know fewer.
    """
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(folder), device=device, trust_remote_code=False)
    known = classify.model.config.id2label
    assert known is not None, "a configuration of transformers names its classes, if need be LABEL_0 and so on"
    classes = list(dict.fromkeys(map(str, known.values())))

    def predict(task: EvaluationTask, texts: Sequence[str], train: Sequence[dict]) -> list[str]:
        named = {name: label for name in classes if (label := task.find(name)) is not None}
        if unknown := [name for name in classes if name not in named]:
            raise SentiDistillError(
                f"{folder}: its classes {', '.join(unknown)} are no labels of {task.name} ({', '.join(task.labels)}); "
                "name them so under id2label in its config.json"
            )
        return [named[found["label"]] for found in classify(list(texts), batch_size=16, truncation=True)]

    return predict
