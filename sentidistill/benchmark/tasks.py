"""The default benchmark: sentences from four domains with the mean rating of twenty people each.

Source: C. J. Hutto and E. Gilbert, "VADER", ICWSM 2014 (the data that accompanies vaderSentiment).
"""

from sentidistill.records import Record

LABELS = ("negative", "neutral", "positive")

CUE = "Sentiment"
INSTRUCTIONS = {
    task: f"Decide what the sentiment of {text} is. Answer with one of: {', '.join(LABELS)}."
    for task, text in {
        "tweet": "the tweet",
        "amazon": "the sentence from a product review",
        "movie": "the sentence from a movie review",
        "editorial": "the sentence from a newspaper editorial",
    }.items()
}


class Example(Record):
    """One labelled text of the benchmark. `rating` is the mean of the human ratings, -4 to 4."""

    id: str
    text: str
    label: str
    rating: float


def label(rating: float, negative_below: float, positive_above: float) -> str:
    """Class of a mean rating; the two limits themselves are neutral."""
    if rating < negative_below:
        return "negative"
    return "positive" if rating > positive_above else "neutral"
