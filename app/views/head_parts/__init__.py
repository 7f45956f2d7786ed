"""What the Head view can do besides showing one head: other maps, like points, two heads side by side, new inputs."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.types import head_name
from app import widgets
from app.cache import hidden
from app.charts.hidden_words import counted, emptied_words, hidden_words, inputs_words
from app.charts.words import percent
from app.state import RunFacts, Selection
from app.views.head_parts.compare import both_names, pick_beside, say_close
from app.views.head_parts.map_choice import pick_map, say_hidden, say_map
from app.views.head_parts.new_points import say_new


def render_top(sentence: str, selection: Selection, right: Selection | None, facts: RunFacts) -> None:
    """Above the picture: what the head does, which map is shown, what to set beside it, and how much is hidden."""
    words, which_map, other = st.columns([1, 0.22, 0.17], vertical_alignment="center", gap="small")
    with words:
        widgets.say(sentence) if right is None else st.markdown(both_names(selection, right, facts))
    with which_map:
        pick_map(selection)
    with other:
        if right is None:
            pick_beside(selection, facts)
        else:
            say_close()
    if selection.hides_sinks:
        say_hidden(hidden_sentence(selection, right, facts), selection, facts)
    say_map(selection, facts)
    say_new(selection, facts)


def hidden_sentence(selection: Selection, right: Selection | None, facts: RunFacts) -> str:
    """How much of the head's attention is hidden with its sinks, and of that beside it."""
    table, n_read = hidden.heads(selection.run)
    said = hidden_of_head(selection, facts, table, n_read)
    if right is None or (right.site, right.head) == (selection.site, selection.head):
        return said
    name, other = _of_head(right, table, facts)
    return f"{said} Of {name}’s: {percent(other['hidden'])}, on {counted(other['n_hidden'], 'token', 'tokens')}."


def hidden_of_head(selection: Selection, facts: RunFacts, table: pd.DataFrame, n_read: int) -> str:
    """The same of one head alone; `table` and `n_read` are those of `app.cache.hidden.heads`."""
    name, mine = _of_head(selection, table, facts)
    n_all = len(facts.n_tokens)
    said = hidden_words(
        mine["hidden"], mine["n_hidden"], "an input", whose=f"{name}’s attention", learned=mine["learned"],
        rests_on="" if n_read == n_all else f"mean over {inputs_words(n_read, n_all)}",
    )  # fmt: skip
    return said + emptied_words(mine["n_emptied"], "an input")


def _of_head(selection: Selection, table: pd.DataFrame, facts: RunFacts) -> tuple[str, pd.Series]:
    mine = table[(table["site"] == selection.site) & (table["head"] == selection.head)].iloc[0]
    return head_name(facts.site(selection.site).depth, selection.head), mine
