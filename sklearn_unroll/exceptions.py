"""Warnings of the package, for filters that want to name them."""

__all__ = [
    "GuardWarning",
    "PairsWarning",
    "TrainingWarning",
    "UnfamiliarDataWarning",
    "WorthlessFitWarning",
]


class UnfamiliarDataWarning(UserWarning):
    """Data differ in size or in kind from those a network was trained on."""


class GuardWarning(UnfamiliarDataWarning):
    """A guard has refused many of a network's steps: data differ from those of training."""


class PairsWarning(UserWarning):
    """The codes of pairs do not explain their observations through the operator."""


class TrainingWarning(UserWarning):
    """A fit went on well by its own measure, but something in it is not to be trusted."""


class WorthlessFitWarning(TrainingWarning):
    """The codes of a fit are no better than what costs nothing: zeros, say."""
