"""What training shows a network besides the samples it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor

from sklearn_unroll.functional import Composite, Observation
from sklearn_unroll.functional.rows import Rows
from sklearn_unroll.training.samples import Samples

__all__ = ["Augmentation"]

_AT_ONCE = 4096  # samples


class Augmentation(BaseEstimator):
    """Other contrasts and noise in every minibatch; a stateless parameter object.

    A network for an absolute alpha is another function for every contrast, and learned layers
    may amplify directions that no sample has shown: it is to meet both in training. Each sample
    is multiplied by a factor whose logarithm is uniform, and some get normal noise of a given
    share of their norm. Codes, where there are any, are multiplied too, and are those without
    the noise.

    Parameters
    ----------
    contrast : tuple of (float, float), default=(0.3, 3.0)
        Smallest and largest factor, positive; (1, 1) keeps the contrast.
    noise : float, default=0.7
        Norm of the noise relative to that of its sample.
    share : float, default=0.25
        Share of the samples that get noise, from 0 to 1.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> from sklearn_unroll.training import Augmentation
    >>> Trainer("lasso", augmentation=Augmentation(contrast=(0.1, 10.0)))
    Trainer(augmentation=Augmentation(contrast=(0.1, 10.0)), objective='lasso')
    """

    _parameter_constraints: ClassVar[dict] = {
        "contrast": [tuple, list],
        "noise": [Interval(Real, 0, None, closed="left")],
        "share": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        contrast: tuple[float, float] = (0.3, 3.0),
        noise: float = 0.7,
        share: float = 0.25,
    ) -> None:
        self.contrast = contrast
        self.noise = noise
        self.share = share

    def check(self) -> Augmentation:
        """Return a validated copy.

        Returns
        -------
        Augmentation
            With parameters as they are.

        Raises
        ------
        ValueError
            If contrasts are not two positive numbers, the smaller first.
        """
        self._validate_params()
        valid = len(self.contrast) == 2 and all(isinstance(c, Real) for c in self.contrast)
        if not (valid and 0 < self.contrast[0] <= self.contrast[1] < math.inf):
            raise ValueError(
                f"contrast must be two positive numbers, the smallest and the largest factor on "
                f"a sample, got {self.contrast!r}."
            )
        return type(self)(**self.get_params())

    def __call__(self, samples: Samples, generator: torch.Generator) -> Samples:
        """Return samples as training is to see them this time.

        Parameters
        ----------
        samples : Samples
            A minibatch; left as it is.
        generator : torch.Generator
            Source of randomness, on the device of the samples.

        Returns
        -------
        Samples
            As many.
        """
        obs = samples.obs
        if isinstance(obs, Composite):
            raise ValueError(
                "augmentation is for codes of observations; instances of a problem, whose labels "
                "or starts belong to them, are trained on as they are. Use augmentation=None."
            )
        low, high = map(math.log, self.contrast)
        b = obs.b
        factor = (low + (high - low) * _uniform(b, generator)).exp()
        noisy = _uniform(b, generator) < self.share
        xi = torch.randn(b.shape, generator=generator, dtype=b.dtype, device=b.device)
        size = self.noise * torch.linalg.vector_norm(b, dim=1, keepdim=True)
        xi = xi * (size / torch.linalg.vector_norm(xi, dim=1, keepdim=True))
        b = factor * torch.where(noisy, b + xi, b)
        y = None if samples.y is None else factor * samples.y
        return Samples(obs._replace(b=b), y, samples.weight)

    def show(self, samples: Samples, generator: torch.Generator) -> Samples:
        """Return all samples as a training is to see them throughout, such as those of a monitor.

        Parameters
        ----------
        samples : Samples
            Any number of samples, which are looked at chunk by chunk.
        generator : torch.Generator
            Source of randomness, on the device of the samples.

        Returns
        -------
        Samples
            As many; of many samples the data are rows, made again whenever they are looked at.
        """
        if len(samples) <= _AT_ONCE:
            return self(samples.take(slice(None)), generator)
        return _Shown(self, samples, generator).all()


class _Shown:
    """Many samples as an augmentation shows them, made again whenever they are looked at.

    Such as those that monitor a training: a copy of them would be as large as they are.
    """

    def __init__(
        self, augment: Augmentation, samples: Samples, generator: torch.Generator
    ) -> None:
        self.augment, self.samples, self.device = augment, samples, generator.device
        self.states, self.kept = [], (-1, samples)
        for start in range(0, len(samples), _AT_ONCE):
            self.states.append(generator.get_state())
            first = augment(samples.take(slice(start, start + _AT_ONCE)), generator)
        self.first = first.take(slice(0, 1))

    def part(self, number: int) -> Samples:
        """Return a part; the last one is kept, as the next look is often at it."""
        if self.kept[0] != number:
            generator = torch.Generator(self.device)
            generator.set_state(self.states[number])
            rows = slice(number * _AT_ONCE, (number + 1) * _AT_ONCE)
            self.kept = number, self.augment(self.samples.take(rows), generator)
        return self.kept[1]

    def rows(self, of: Callable[[Samples], Tensor]) -> Rows:
        """Return observations, or codes, as rows."""

        def pick(rows: slice | Tensor) -> Tensor:
            if isinstance(rows, Tensor):
                return pick(slice(None))[rows]
            start, stop, _ = rows.indices(len(self.samples))
            parts = []
            for number in range(start // _AT_ONCE, -(-stop // _AT_ONCE)):
                first = number * _AT_ONCE
                parts.append(of(self.part(number))[max(start - first, 0) : stop - first])
            return torch.cat(parts) if parts else of(self.first)[:0]

        like = of(self.first)
        return Rows(pick, (len(self.samples), like.shape[1]), like)

    def all(self) -> Samples:
        """Return all of them."""
        samples, y = self.samples, None
        if samples.y is not None:
            y = self.rows(lambda part: part.y)
        A = samples.obs.A if samples.rows is None else samples.obs.A.take(samples.rows)
        return Samples(Observation(self.rows(lambda part: part.obs.b), A), y, samples.weight)


def _uniform(b: Tensor, generator: torch.Generator) -> Tensor:
    """Return a number from 0 to 1 for each row."""
    return torch.rand(len(b), 1, generator=generator, dtype=b.dtype, device=b.device)
