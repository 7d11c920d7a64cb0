"""Data for unrolled networks: synthetic sparse recovery, and patches of a photograph."""

from sklearn_unroll.datasets._image_patches import load_image_patches
from sklearn_unroll.datasets._sparse_recovery import make_sparse_recovery

__all__ = ["load_image_patches", "make_sparse_recovery"]
