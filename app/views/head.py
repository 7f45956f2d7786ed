"""Head: all queries and keys of one head in one map, and what a picked token attends to."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from analysis.errors import UserError
from analysis.types import Site, head_name
from app import cache, marks, widgets
from app.charts.head_table import leading
from app.charts.neighbours import LINES
from app.charts.words import within
from app.components.scatter import carry, draw_panel, draw_scatter
from app.state import Selection, resolve
from app.views import View
from app.views.head_parts import lasso, picks, render_top
from app.views.head_parts.compare import BESIDE, beside, render_compare, walk_beside
from app.views.head_parts.fidelity import under_picture
from app.views.head_parts.map_choice import no_vectors, say_no_map
from app.views.head_parts.names import say_names
from app.views.head_parts.new_points import points_of_new
from app.views.head_parts.picture import extra_message, map_message, patches_message, view_of
from app.views.head_parts.similar import render_similar
from app.views.head_parts.strip import render_strip

PICTURE, PANEL = "head_picture", "head_panel"
RUN, SHOWN_MARKS, SHOWN_MAP = "head_run", "head_shown_marks", "head_shown_map"
"""In the session: the run shown, which need not be in the link, and the marks and the map that the left column tells
of. What it tells is compared with what the picture shows, so that a rerun that is cut short is made up for by the next.
"""

CHOICES = {"lines", "labels", "draw", "size", "hide", "range", "kinds"}
"""Words of the link that the picture sets by itself."""


def render_head(selection: Selection) -> None:
    """Draw the page."""
    if selection.map is None:
        say_no_map(selection, cache.facts(selection.run))
        return
    st.session_state[RUN] = str(selection.run)
    st.session_state[SHOWN_MARKS] = _key(marked(selection))
    st.session_state[SHOWN_MAP] = selection.map
    body(str(selection.run))


@st.fragment
def body(run_id: str) -> None:
    """All but the left column: what a pick, a lasso or a walk to another head draws anew."""
    facts = cache.facts(run_id)
    selection, _ = resolve(widgets.current().having(run=run_id), facts)
    if st.session_state.get(SHOWN_MAP) != selection.map:
        st.rerun()
    try:
        draw(selection, facts.site(selection.site))
    except UserError as error:
        widgets.say_problem(str(error))
    if st.session_state.get(SHOWN_MARKS) != _key(marked(selection)):
        st.rerun()  # what is marked changed here: the left column tells of it


def draw(selection: Selection, site: Site) -> None:
    """The sentence, the picture with what belongs to it, and the panel."""
    facts = cache.facts(selection.run)
    name = head_name(site.depth, selection.head)
    if not site.has_vectors:
        st.markdown(f"##### {name} is in no map")
        st.markdown(no_vectors(site))
        return
    counted = " (sinks counted in)" if selection.hides_sinks else ""
    sentence = f"{name} of {widgets.stack_title(site.stack_label)}: {head_sentence(figures_of(selection), counted)}"
    right = beside(selection, facts)
    with st.container(key="head_top"):  # whatever it says, the picture under it stays the same element
        render_strip(selection, facts)
        render_top(sentence, selection, right, facts)
    if right is not None:
        render_compare(selection, right, facts, picture_of, panel_of)
        under_two(selection, right)
        return
    with st.container(key="head_row"):
        picture, column = st.columns([3.85, 1])
    with picture, st.container(key="head_main"):
        draw_map(selection)
        held = lasso.held(selection)
    with column:
        say_names(selection)
        panel(selection, held)
    with picture:
        under_picture(selection, figures_of(selection))
        render_similar(selection, site)
        if held:
            lasso.tables([selection], held)
        bring_more(selection)
    table(selection, site)


def figures_of(selection: Selection) -> dict[str, Any]:
    """Scores and fidelity of the head."""
    heads = cache.heads(selection.run, selection.map)
    return heads[(heads["site"] == selection.site) & (heads["head"] == selection.head)].iloc[0].to_dict()


def draw_map(selection: Selection, side: str = "") -> None:
    """The points; `side` is `BESIDE` for the right one of two pictures."""
    facts, key = cache.facts(selection.run), PICTURE + side
    new, new_key = points_of_new(selection)
    draw_scatter(
        map_message(selection, facts, facts.site(selection.site), figures_of(selection), new, new_key, side), key=key,
        on_pick=partial(pick_on, key), on_walk=partial(walk, key), on_further=partial(pick_further, key),
        on_choose=partial(choose, key), on_lasso=partial(take_lasso, key),
    )  # fmt: skip


def bring_more(selection: Selection, side: str = "") -> None:
    """What a picture needs a little later than its points: norms, ties, patches."""
    carry(extra_message(selection), f"head_extra{side}")
    if not side and selection.options.get("draw") == "patches" and not cache.input_texts(selection.run):
        carry(patches_message(selection), "head_patches")


def picture_of(selection: Selection, side: str) -> None:
    """One of two pictures, with its fidelity."""
    draw_map(selection, side)
    under_picture(selection, figures_of(selection), side)
    bring_more(selection, side)


def under_two(selection: Selection, right: Selection) -> None:
    """Like points and the lasso's tables of both heads; of one head under two maps they are the same, and come once."""
    is_one = (right.site, right.head) == (selection.site, selection.head)
    heads, facts = [selection] if is_one else [selection, right], cache.facts(selection.run)
    for place, each, side in zip(st.columns(len(heads), gap="medium"), heads, ("", BESIDE)):
        with place:
            render_similar(each, facts.site(each.site), side)
    if held := lasso.held(selection):
        lasso.tables(heads, held)


def panel_of(selection: Selection, side: str) -> None:
    """The panel of one of two pictures."""
    panel(selection, lasso.held(selection), PANEL + side)


def panel(selection: Selection, held: dict[str, Any] | None, key: str = PANEL) -> None:
    """The panel: the picked token, the lasso, or what to do here."""
    found, view = marked(selection), view_of(selection)
    is_text = bool(cache.input_texts(selection.run))
    options = {name: selection.options.get(name) for name in CHOICES - {"size"}}
    options |= {"lines": selection.option("lines", LINES), "draw": selection.option("draw", ("points", "patches"))}
    options["labels"] = selection.option("labels", ("on", "off"), "on" if is_text else "off")
    words = lasso.panel_words(selection, held, view) if held else {}
    said_here = hint(cache.facts(selection.run).site(selection.site)) if key == PANEL else []
    draw_panel(
        picks.picked(selection), said_here, view=view, key=key, on_pick=partial(pick_on, key),
        on_without=partial(without, key), marked=found.tokens if found else None, said=said(found, held),
        options=options, **picks.further(selection), **words,
    )  # fmt: skip


def said(found: marks.Marks | None, held: dict[str, Any] | None) -> str:
    """What stands out on the map, with how many points it is."""
    if found is None:
        return ""
    n = found.n_tokens
    queries, keys = (n, n) if held is None else held["flags"].reshape(2, -1).sum(axis=1).tolist()
    words = ("query" if queries == 1 else "queries", "key" if keys == 1 else "keys")
    return f"{found.title}: {queries:,} {words[0]}, {keys:,} {words[1]}"


def marked(selection: Selection) -> marks.Marks | None:
    """What is marked; None too where the search cannot be understood, which the left column says."""
    try:
        return marks.marks(selection)
    except UserError:
        return None


def _key(found: marks.Marks | None) -> str:
    return found.key + found.title if found else ""


def head_sentence(figures: dict, counted: str = "") -> str:
    """What the head's scores say, the largest weights first; `counted` says what they count in."""
    said = []
    for each in leading(figures, cache.metrics(), 4):
        unit = "" if each["is_share"] else f" {each['unit'].split(';')[0]}"
        said.append(f"{within(each['title'])} {each['value']:.2f}{unit}")
    return f"mean weights{counted} {', '.join(said)}." if said else "no scores yet."


def hint(site: Site) -> list[str]:
    """What to do here, for somebody who has picked nothing."""
    points = "Each token is two points: its query (what it looks for) and its key (what it offers)."
    if site.is_cross:
        points = (
            f"Each token is one point: those of the {site.query_sequence} are queries (what they look for), those of "
            f"the {site.key_sequence} keys (what they offer)."
        )
    elif site.query_sequence:
        points = f"Each token of the {site.query_sequence} is two points: its query and its key."
    return [
        points,
        "Point at one to read it. Click to see what it looks at, and who looks at it, with exact weights; "
        "shift and click adds the lines of another point.",
        "Drag with shift, or the lasso (L), draws round points: what they share, and the attention between them.",
        "Drag moves, the wheel zooms. Keys: arrows walk the heads, comma and full stop the labelled points; "
        "Escape clears.",
    ]


def pick_on(key: str) -> None:
    """A point was clicked on a map, or a row of a panel, or everything let go."""
    picks.pick(st.session_state[key].pick)


def pick_further(key: str) -> None:
    """A point was clicked with shift held."""
    picks.pick_further(st.session_state[key].further)


def without(key: str) -> None:
    """The name of a further point was clicked in the panel."""
    picks.without(st.session_state[key].without)


def choose(key: str) -> None:
    """Lines, labels, sizes, patches or filters were chosen on the picture."""
    chosen = st.session_state[key].choose
    widgets.select(**{word: value for word, value in chosen.items() if word in CHOICES})


def take_lasso(key: str) -> None:
    """A line was drawn round points."""
    lasso.take(_drawn_on(key), st.session_state[key].lasso)


def walk(key: str) -> None:
    """An arrow asks for the next head; the picked token stays picked."""
    target = st.session_state[key].walk
    if key == PICTURE:
        widgets.select(site=target["site"], head=target["head"])
    else:
        walk_beside(_drawn_on(PICTURE), _drawn_on(key), target)


def _drawn_on(key: str) -> Selection:
    """What the picture of that key shows, by what the address says now."""
    run_id = st.session_state[RUN]
    facts = cache.facts(run_id)
    selection, _ = resolve(widgets.current().having(run=run_id), facts)
    return selection if key == PICTURE else beside(selection, facts) or selection


def table(selection: Selection, site: Site) -> None:
    """The points as numbers, to read and to take away."""
    opened = st.expander("Table of points", key="head_table", on_change="rerun")
    if not opened.open:
        return
    with opened:
        tokens = cache.tokens(selection.run)
        queries, keys = cache.points(selection.run, selection.map, site.label, selection.head)
        shown = tokens[["input_id", "position", "text"]].copy()
        for kind, places in (("query", queries), ("key", keys)):
            for axis, values in zip("xyz", places.T):
                shown[f"{kind} {axis}"] = values
        shown = shown[np.isfinite(queries[:, 0]) | np.isfinite(keys[:, 0])]
        st.dataframe(shown.head(2000), hide_index=True, height=320)
        name = f"{selection.run}-{head_name(site.depth, selection.head)}-{selection.map}.csv"
        st.download_button(
            f"Download all {len(shown):,} tokens as CSV",
            lambda: shown.to_csv(index=False),
            name,
            "text/csv",
            on_click="ignore",
        )


VIEW = View("Head", ":material/scatter_plot:", order=20, render=render_head)
