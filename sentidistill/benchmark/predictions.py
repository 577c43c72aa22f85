"""A prediction, as `evaluate` stores it and `report` reads it."""

from sentidistill.records import Record


class Prediction(Record):
    """One test record's outcome. `scores` are log-probabilities in the order of the task's labels.

    `draw` is the number of the set of demonstrations; `uncalibrated` the label without calibration.
    """

    id: str
    task: str
    gold: str
    draw: int
    scores: list[float]
    predicted: str
    uncalibrated: str
