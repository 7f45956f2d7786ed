"""What is set beside a head: read from the link, and nothing where the link names nothing else."""

import pytest

from analysis.types import Site
from app.state import RunFacts, Selection
from app.views.head_parts.compare import beside


def site(depth: int, role: str = "self") -> Site:
    return Site(
        index=depth, key=f"layer.{depth}.{role}", label=f"text.dec.{role}.{depth}", modality="text", stack="dec",
        role=role, depth=depth, n_heads=4, n_kv_heads=4, d_head=8, d_value=8, scale=1.0,
    )  # fmt: skip


FACTS = RunFacts("run", sites=(site(0), site(1), site(2, "cross")), maps=("atlas-2d", "umap-3d"))
HERE = Selection(run="run", map="atlas-2d", site="text.dec.self.1", head=2, input=3, token=4)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ({"beside": "text.dec.self.0.3"}, ("text.dec.self.0", 3, "atlas-2d")),
        ({"beside": "text.dec.self.1.0"}, ("text.dec.self.1", 0, "atlas-2d")),
        ({"beside_map": "umap-3d"}, ("text.dec.self.1", 2, "umap-3d")),
        ({"beside": "text.dec.self.0.3", "beside_map": "umap-3d"}, ("text.dec.self.0", 3, "umap-3d")),
        ({"beside": "nothing like it", "beside_map": "umap-3d"}, ("text.dec.self.1", 2, "umap-3d")),
    ],
)
def test_the_link_names_a_head_a_map_or_both(words, shown):
    right = beside(HERE.having(**words), FACTS)
    assert (right.site, right.head, right.map) == shown
    assert (right.input, right.token) == (3, 4)


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"beside": ""},
        {"beside": "text.dec.self.1.2"},
        {"beside_map": "atlas-2d"},
        {"beside": "text.dec.self.0.4"},
        {"beside": "text.dec.self.0.-1"},
        {"beside": "text.dec.self.0.²"},
        {"beside": "text.dec.self.9.1"},
        {"beside": "text.dec.cross.2.1"},
        {"beside_map": "tsne-2d"},
    ],
)
def test_what_is_the_same_or_not_there_is_no_comparison(words):
    assert beside(HERE.having(**words), FACTS) is None
