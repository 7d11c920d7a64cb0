"""Data for unrolled networks: sparse recovery, patches of photographs, Fourier samples."""

from sklearn_unroll.datasets._image_patches import load_image_patches
from sklearn_unroll.datasets._images import load_brain_slice, make_phantoms
from sklearn_unroll.datasets._masks import cartesian_mask, radial_mask
from sklearn_unroll.datasets._sparse_recovery import make_sparse_recovery

__all__ = [
    "cartesian_mask",
    "load_brain_slice",
    "load_image_patches",
    "make_phantoms",
    "make_sparse_recovery",
    "radial_mask",
]
