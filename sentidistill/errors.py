"""The one exception that a user is meant to read."""


class SentiDistillError(Exception):
    """A fault of the input or the set-up; its message names the place and the remedy."""
