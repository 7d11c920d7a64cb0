"""Warnings of the package, for filters that want to name them."""

__all__ = ["GuardWarning", "TrainingWarning", "WorthlessFitWarning"]


class GuardWarning(UserWarning):
    """A guard has refused many of a network's steps: data differ from those of training."""


class TrainingWarning(UserWarning):
    """A fit went on well by its own measure, but something in it is not to be trusted."""


class WorthlessFitWarning(TrainingWarning):
    """The codes of a fit are no better than what costs nothing: zeros, say."""
