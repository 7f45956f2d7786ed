"""Shapes are checked while the tests run: every jaxtyping annotation of `analysis` becomes a beartype check."""

from jaxtyping import install_import_hook

CHECKED = ("metrics", "projection", "sinks", "attention")

install_import_hook([f"analysis.{room}" for room in CHECKED], "beartype.beartype")
