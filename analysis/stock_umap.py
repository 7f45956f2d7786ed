"""Stock umap-learn, with what it compiles kept on disk: else every process compiles it anew, for 10 to 20 seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from umap import UMAP

KEPT = (("umap.utils", "fast_knn_indices"), ("umap.umap_", "smooth_knn_dist"),
        ("umap.umap_", "compute_membership_strengths"))  # fmt: skip
"""What takes nearly all the time to compile; each calls numpy alone, so that its own file tells when it is old."""


def stock_umap() -> type[UMAP]:
    """The class `umap.UMAP`; numba keeps the machine code beside the library or in the user's cache.

    Where neither can be written, and in a version of umap-learn that names these functions otherwise, they are compiled
    in every process, as umap-learn does it.
    """
    import importlib

    from umap import UMAP

    for module, name in KEPT:
        enable = getattr(getattr(importlib.import_module(module), name, None), "enable_caching", None)
        if enable is not None:
            try:
                enable()
            except RuntimeError:  # numba's "cannot cache function": no writable place for it
                return UMAP
    return UMAP
