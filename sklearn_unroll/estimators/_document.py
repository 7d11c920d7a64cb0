"""Paragraphs of docstrings that several estimators share, written once.

A line ``%(name)s`` in a docstring stands for the paragraph of that name, see :func:`fill`.
"""

from __future__ import annotations

import re
from textwrap import indent

PARAGRAPHS = {
    # Parameters of constructors.
    "dictionary": """\
dictionary : array-like of shape (n_components, n_features), default=None
    Rows are atoms, ``X ~ codes @ dictionary``, as in
    :class:`sklearn.decomposition.SparseCoder` (papers write ``b = A x`` with
    ``A = dictionary.T``). None estimates it from the pairs by ridge regression.""",
    "alpha": """\
alpha : float, default=0.1
    Weight of the l1 norm. It is the objective of a fit without y, and sets the first
    thresholds of a fit with y, in units of the codes' size.""",
    "n_layers": """\
n_layers : int, default=16
    Number of layers, the iterations of the untrained network.""",
    "groups": """\
groups : array-like of int of shape (n_components,), int or None, default=None
    The label of each atom's group, in any order, or the size of groups of consecutive atoms:
    codes are shrunk, and zero, group by group. The group lasso,
    ``alpha sum_g sqrt(d_g) ||z_g||_2`` with ``d_g`` the number of atoms of group g, takes the
    place of ``alpha ||z||_1``, and ``support_selection`` counts groups. They do not overlap.""",
    "normalize": """\
normalize : bool or "auto", default="auto"
    Bring every observation to the mean norm of those of ``fit`` and scale its codes back,
    so that codes scale with the data, exactly: ``predict(c * X) == c * predict(X)``. The
    weight of the l1 norm is then alpha times the relative norm of the observation.
    ``"auto"`` does so in a fit with y, where no alpha is to be kept.""",
    "alpha_relative": """\
alpha_relative : bool, default=False
    Whether alpha is a fraction of each observation's ``max |x D^T|``, from which on its codes
    are zero, as in :class:`LassoCoder`: one network for all contrasts.""",
    "guard": """\
guard : {"auto", "objective", "residual"} or None, default="auto"
    What no layer may do to any sample, see :class:`~sklearn_unroll.nn.Guarded`; ``fit`` trains
    without it. ``"objective"``: raise the objective of ``problem`` above that of zeros; the
    sample takes the classical step instead, and the answer is the best iterate.
    ``"residual"``: leave more energy of the observation unexplained than zeros do; the sample
    stays where it was. ``"auto"`` is the former where the problem is known, after a fit
    without y, and else the latter. Off with None.""",
    "debias": """\
debias : bool or {"least_squares", "repair"}, default=False
    Follow the codes by least squares on their support, without or with repair of the
    support at a noise level taken from the residual, see
    :func:`~sklearn_unroll.solvers.debias`; codes that explain their observation better
    as they are stay so. True takes what serves the pairs of ``fit`` best, which may be
    neither, and without y the former. For recovery: the codes no longer solve the l1
    problem.""",
    "trainer": """\
trainer : Trainer, default=None
    How to train; None takes the recipe of ``default_trainer``.""",
    "warm_start": """\
warm_start : bool, default=False
    Whether ``fit`` goes on from the network of the last fit.""",
    "device": """\
device : str or torch.device, default="auto"
    Where to compute. ``"auto"``: where X is, if it is a tensor; otherwise on the GPU
    where there is one.""",
    "random_state": """\
random_state : int, RandomState instance or None, default=None
    Seed of first weights, shuffles and the validation split. The global generators
    of torch and numpy do not matter and are not touched, except that None draws the seed
    from numpy's.""",
    # Attributes.
    "network_": """\
network_ : Unrolled
    The trained network.""",
    "dictionary_": """\
dictionary_ : array of shape (n_components, n_features), Operator or None
    The dictionary in use, as given; None where every sample has its own.""",
    "debias_": """\
debias_ : {"least_squares", "repair"} or None
    The debiasing in use.""",
    "norm_": """\
norm_ : float or None
    Mean norm of the observations of ``fit``, to which others are brought; None where they are
    not.
scale_ : Scale or None
    Sizes of ``atoms`` and ``codes`` in the pairs of ``fit``, in units of which the network sees
    them where observations are brought to one norm.""",
    "guard_": """\
guard_ : Guard or None
    The guard in use: its ``region``, the classical ``step``, and the median ``norm`` of the
    observations of ``fit`` as the network saw them.""",
    "training_": """\
trainer_ : Trainer
    How the last ``fit`` or ``partial_fit`` has trained.
history_ : History
    Losses, rates and times in seconds, of the last ``fit``.
n_epochs_ : int
    Epochs trained.""",
    "features_": """\
n_features_in_ : int
    Number of features seen during fit.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the features, where X had names.""",
    # What methods take and give.
    "X": """\
X : array-like of shape (n_samples, n_features)
    Observations.""",
    "y": """\
y : array-like of shape (n_samples, n_components), default=None
    True codes.""",
    "ignored": """\
y : Ignored
    Not used, as in scikit-learn.""",
    "sample_weight": """\
sample_weight : array-like of shape (n_samples,), default=None
    Nonnegative weights of the samples.""",
    "operators": """\
operators : array-like of shape (n_samples, n_components, n_features), default=None
    The dictionary of every observation, for networks that are made for more than one.""",
    "problem_operators": """\
operators : array-like of shape (n_samples, n_components, n_features), default=None
    The operator of every instance, or one for all of shape (n_components, n_features).""",
    "problem_alpha": """\
alpha : float or array-like of shape (n_samples,), default=None
    Weight of a named penalty for every instance; the estimator's own by default.""",
    "n_iter": """\
n_iter : int, default=None
    Iterations; the estimator's own by default.""",
    "x0": """\
x0 : array-like of shape (n_samples, n_components), default=None
    Where iterates start, zero by default.""",
    "solver_alpha": """\
alpha : float or array-like of shape (n_samples,), default=None
    Weight of the l1 norm, or, with ``alpha_relative=True``, fraction of each sample's
    largest; the estimator's own by default.""",
    "lasso_aim": """\
alpha, error, l1_radius : float or array-like of shape (n_samples,), default=None
    One of them, to be met instead of what the estimator has; with ``alpha_relative=True`` alpha
    is a fraction of each sample's largest.
operators : array-like of shape (n_samples, n_components, n_features), default=None
    The dictionary of every sample; a list may hold one many times. Samples that share one are
    solved together.""",
    "solver_operators": """\
operators : array-like of shape (n_samples, n_components, n_features), default=None
    The dictionary of every sample; a list may hold one many times. Samples that share one are
    solved together.""",
    "solver_tol": """\
tol : float or array-like of shape (n_samples,), default=None
    Largest squared norms of residuals; the estimator's own by default.""",
    "seen_only": """\
NaN in X stands for entries that were not seen: each sample's problem, with its certificate, is
that on its own entries. ``inverse_transform`` gives complete signals, so that a
:class:`~sklearn.pipeline.Pipeline` of a coder imputes. A sample of which nothing was seen is
an error.""",
    "out": """\
out : array or numpy.memmap of the shape of the result, default=None
    Where to write the codes, a block of rows at a time, and what is then returned: writable,
    contiguous, with kind and float dtype of X, and no memory of X. If an error is raised, its
    numbers may be any.""",
    "codes": """\
array of shape (n_samples, n_components) or (n_samples,)
    Codes, with the kind, device and float dtype of X; one-dimensional where y was.""",
    "fitted": """\
self : estimator
    The fitted estimator.""",
    "network_operator": """\
Parameters
----------
dtype : torch.dtype, default=None
    Of its tensors; that of the network by default.

Returns
-------
Operator
    That of ``observe``, without observations.

Raises
------
ValueError
    If there is not one for all samples.""",
    "fit_errors": """\
ValueError
    If an input or a parameter is not valid.
DivergenceError
    If the training loss becomes infinite or NaN; the estimator is left as it was.""",
}
PLACE = re.compile(r"^( *)%\((\w+)\)s$", re.MULTILINE)


def fill(owner: type) -> type:
    """Put the shared paragraphs into the docstrings of a class and of what it defines."""
    owner.__doc__ = _filled(owner.__doc__)
    for member in vars(owner).values():
        if callable(member) and member.__doc__ and not isinstance(member, type):
            member.__doc__ = _filled(member.__doc__)
    return owner


def _filled(text: str | None) -> str | None:
    # Without docstrings (python -OO) there is nothing to fill.
    return text and PLACE.sub(lambda place: indent(PARAGRAPHS[place[2]], place[1]), text)
