"""Shapes are checked while the tests run: every jaxtyping annotation of `analysis` becomes a beartype check."""

from jaxtyping import install_import_hook

install_import_hook(["analysis.metrics", "analysis.projection", "analysis.attention"], "beartype.beartype")
