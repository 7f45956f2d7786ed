"""A second run: its sentence, the primary sink by layer and its top classes beside those of the first."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.errors import UserError
from analysis.sinks.groups import CLASS
from app import cache, widgets
from app.cache import sinks as kept
from app.charts.sink_layers import COLOURS, NULL, make_layers
from app.components.ranking import ranking
from app.views.sinks_parts.choice import BESIDE, Choice, read_choice
from app.views.sinks_parts.overview import COLUMNS, layers_of, ranking_rows, sentence_of, top_rows
from app.views.sinks_parts.pictures import clickable, legend, show_table

NONE = ""
MOST_CLASSES = 6


def pick_beside(choice: Choice) -> None:
    """Another complete run, or none."""
    runs = cache.runs()
    others = [run for run, status in zip(runs["run_id"], runs["status"]) if status == "complete" and run != choice.run]
    asked = choice.selection.options.get(BESIDE, NONE)
    with st.popover("Compare", icon=":material/compare:", width="stretch", help="Two runs side by side."):
        if not others:
            st.caption("There is no second run here: make one on the page Runs.")
            return
        widgets.pick("Second run", [NONE, *others], asked, lambda run: {BESIDE: run or None}, key="sinks_beside",
                     format_func=lambda run: run or "none")  # fmt: skip


def compares(choice: Choice) -> bool:
    """Whether a second run is asked for."""
    return choice.selection.options.get(BESIDE, choice.run) not in ("", choice.run)


def beside(choice: Choice) -> None:
    """Both runs next to each other on the same scales; nothing without a second one."""
    if not compares(choice):
        return
    asked = choice.selection.options[BESIDE]
    try:
        sides = [choice, other_choice(choice, asked)]
        tables = [layers_of(each) for each in sides]
        said = [sentence_of(each) for each in sides]
    except UserError as error:
        widgets.say_problem(f"{asked}: {error}")
        _end()
        return
    n_layers = max(map(len, tables))
    with st.container(border=True, key="sinks_beside_runs"):
        for place, (column, each) in enumerate(zip(st.columns(2, gap="medium"), sides, strict=True)):
            with column, st.container(key=f"sinks_beside_{place}"):
                title = f"**{widgets.plain(each.run)}**, {widgets.plain(widgets.stack_title(each.stack))}"
                st.markdown(title, help=widgets.plain(f"Run {each.run}, {widgets.stack_title(each.stack)}"))
                widgets.say(said[place], quiet=True)
                clickable(make_layers(tables[place], each.rule.threshold, None, n_layers), {},
                          f"sinks_beside_layers_{place}")  # fmt: skip
                with st.popover("Table", icon=":material/table:"):
                    show_table(tables[place], f"{each.run}-sinks-by-layer.csv", f"beside_{place}")
                rows = top_rows(each, CLASS).head(MOST_CLASSES)
                ranking(ranking_rows(each, rows, CLASS), COLUMNS, picked=None, key=f"sinks_beside_top_{place}",
                        label=f"Sinks of {each.run} by class", on_pick=lambda _: None)  # fmt: skip
        legend(COLOURS, dashed=NULL, note="same scales; the same thresholds on both")
        _end()


def other_choice(choice: Choice, run_id: str) -> Choice:
    """What the same settings show of another run: its tower of that name, or its first.

    Raises:
        UserError: It does not open, has no self-attention, or was made before sinks were measured.
    """
    facts = cache.facts(run_id)
    if not kept.stacks(run_id):
        raise UserError("it has no self-attention, of which sinks are: choose another run.")
    mine = choice.selection.site
    site = mine if mine in {site.label for site in facts.sites} else next(
        site.label for site in facts.sites if site.stack_label == kept.stacks(run_id)[0]
    )  # fmt: skip
    return replace(read_choice(choice.selection.having(run=run_id, site=site, mark=None, head=None)), mark=None)


def _end() -> None:
    st.button("End comparison", key="sinks_beside_end", type="tertiary", icon=":material/close:",
              on_click=lambda: widgets.select(**{BESIDE: None}))  # fmt: skip
