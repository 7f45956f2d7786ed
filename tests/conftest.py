"""Shapes are checked while the tests run: every jaxtyping annotation of `analysis` becomes a beartype check."""

import sys
from collections.abc import Iterator

import pytest
from jaxtyping import install_import_hook

CHECKED = ("metrics", "projection", "sinks", "attention")

install_import_hook([f"analysis.{room}" for room in CHECKED], "beartype.beartype")


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """Streamlit's AppTest leaves its script behind as ``__main__``, which a later spawned process would run first."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before
