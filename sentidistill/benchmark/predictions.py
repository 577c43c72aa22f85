"""A prediction, as `evaluate` stores it and `report` reads it."""

from sentidistill.records import Record


class Prediction(Record):
    """One test record's outcome. `scores` are log-probabilities in the order of the task's labels.

    `draw` is the number of the set of demonstrations. `predicted` is the likeliest label, `calibrated`
    the likeliest after the mean scores of unlabelled training texts are taken off.
    """

    id: str
    task: str
    gold: str
    draw: int
    scores: list[float]
    predicted: str
    calibrated: str
