"""What theory says about a network, computed on the network: diagnostics, no training.

Functions take an *estimator*: anything with the attributes ``network_`` and ``dictionary_``,
such as a fitted estimator of this package, or ``types.SimpleNamespace(network_=..., ...)``.
"""

from sklearn_unroll.theory._phase_transition import l1_phase_transition
from sklearn_unroll.theory._weights import coherence, weight_coupling

__all__ = ["coherence", "l1_phase_transition", "weight_coupling"]
