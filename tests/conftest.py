"""Shapes are checked while the tests run: every jaxtyping annotation of `analysis` becomes a beartype check."""

import os
import sys
from collections.abc import Iterator

import pytest
from jaxtyping import install_import_hook

CHECKED = ("metrics", "projection", "sinks", "attention")

if "OMP_NUM_THREADS" in os.environ:
    # UMAP makes numba set the threads of OpenMP for the whole process, torch and scikit-learn included, to its own
    # number of all cores: beside another process of tests they then wait for each other (t-SNE 15 s instead of 1.5).
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

install_import_hook([f"analysis.{room}" for room in CHECKED], "beartype.beartype")


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """Streamlit's AppTest leaves its script behind as ``__main__``, which a later spawned process would run first."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before
