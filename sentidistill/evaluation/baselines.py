"""What a model has to beat on the label tasks: the commonest label, a linear model of the training texts, and VADER."""

from collections import Counter
from collections.abc import Sequence

from sentidistill.config import DEFAULT_TASKS
from sentidistill.evaluation.questions import limited, text_of
from sentidistill.evaluation.sentibench import GROUPS, LABELS, gold_label
from sentidistill.evaluation.suite import Outcome, Settings

KINDS = ("majority", "tfidf", "vader")
# VADER's authors: a compound score within these limits is neutral.
NEUTRAL = 0.05


def kinds(task: str) -> tuple[str, ...]:
    """The baselines that apply to `task`: none to tuples, VADER only where sentiment itself is asked for."""
    if task not in LABELS:
        return ()
    return KINDS if task in (*DEFAULT_TASKS, *GROUPS["basic"]) else ("majority", "tfidf")


def outcomes(kind: str, task: str, records: Sequence[dict], train: Sequence[dict], settings: Settings) -> list[Outcome]:
    """What the baseline predicts for the records that a model is tested on."""
    predict = {"majority": majority, "tfidf": tfidf, "vader": vader}[kind]
    places = limited(task, records, settings.label_limit, seed=0)
    texts = [text_of(task, records[place]) for place in places]
    return [
        Outcome(
            task=task,
            record=place,
            seed=0,
            text=text,
            gold=gold_label(records[place]),
            output=label,
            calibrated=None,
            right=label == gold_label(records[place]),
            finish_reason="choice",
            error=None,
            shown=[],
            scores=[],
        )
        for place, text, label in zip(places, texts, predict(task, texts, train))
    ]


def majority(task: str, texts: Sequence[str], train: Sequence[dict]) -> list[str]:
    (commonest, _), *_ = Counter(gold_label(record) for record in train).most_common(1)
    return [commonest] * len(texts)


def tfidf(task: str, texts: Sequence[str], train: Sequence[dict]) -> list[str]:
    """TF-IDF of words and pairs, and logistic regression with classes weighed alike; it sees all training records."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(class_weight="balanced", max_iter=2000),
    )
    model.fit([text_of(task, record) for record in train], [gold_label(record) for record in train])
    return model.predict(list(texts)).tolist()


def vader(task: str, texts: Sequence[str], train: Sequence[dict]) -> list[str]:
    """The lexicon and rules of Hutto and Gilbert (2014), which learn nothing from the training texts."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    scores = [analyzer.polarity_scores(text)["compound"] for text in texts]
    if "neutral" not in LABELS[task]:
        return ["positive" if score > 0 else "negative" for score in scores]
    return ["neutral" if abs(score) < NEUTRAL else "positive" if score > 0 else "negative" for score in scores]
