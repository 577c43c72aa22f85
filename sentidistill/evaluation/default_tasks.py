"""The default tasks: sentences from four domains with the mean rating of twenty people each.

Source: C. J. Hutto and E. Gilbert, "VADER", ICWSM 2014 (the data that accompanies vaderSentiment).
"""

from sentidistill.records import Record, Table

SENTIMENTS = ("negative", "neutral", "positive")


class Example(Record):
    """One labelled text, in the form of SentiBench's records. `rating` is the mean of the human ratings, -4 to 4."""

    id: str
    sentence: str
    label: str
    rating: float


# The validation texts of all default tasks, in a file apart, so that a further task does not retrain the student.
VALIDATION = Table("data/validation.jsonl", Example)


def label(rating: float, negative_below: float, positive_above: float) -> str:
    """Class of a mean rating; the two limits themselves are neutral."""
    if rating < negative_below:
        return "negative"
    return "positive" if rating > positive_above else "neutral"
