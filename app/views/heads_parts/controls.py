"""What is chosen above the pictures: measures of scatter and grid, the filter, and the names of heads."""

from __future__ import annotations

import streamlit as st

from app import widgets
from app.charts.head_filter import (
    EXAMPLE,
    EXAMPLE_OF_IMAGES,
    LONGEST_FILTER,
    RELATIONS,
    condition_words,
    joined_words,
    label_words,
)
from app.charts.head_order import ORDER_HELP, ORDERS
from app.charts.words import within
from app.glossary import BY_NAME, meaning
from app.views.heads_parts.choice import (
    ACROSS,
    AREA,
    ARRANGED,
    CLUSTER,
    COMPARED,
    FILTER,
    LAYER,
    LESS_NULL,
    LIKENESS,
    MOST_COMPARED,
    NAME,
    NONE,
    SAME,
    TONE,
    UP,
    Choice,
    arrangements,
    label_counts,
    words_of,
    write_compared,
)

OFFERED = {LIKENESS: "Likeness (map of heads)", LAYER: "Layer", SAME: "as in the grid", NAME: "strongest name",
           CLUSTER: "cluster", NONE: "all alike"}  # fmt: skip
MORE_WAYS = "The command python -m analysis patterns adds arrangements that are kept with the run."


def title_of(name: str) -> str:
    """A measure or another choice as the page calls it."""
    return OFFERED.get(name) or words_of(name)["title"]


def measure_help(measure: str) -> str:
    """What the measure in the grid says."""
    words = words_of(measure)
    high, term = f" High = {words['high']}." if words["high"] else "", within(words["title"])
    if term in BY_NAME:
        return f"{words['title']} ({words['unit']}): {meaning(term)}{high}"
    return f"{words['title']}: {words['unit']}.{high}"


def pick_measures(choice: Choice) -> None:
    """The row of pickers: the scatter's over the scatter, the grid's over the grid."""
    left, right = st.columns([0.47, 0.53], gap="small")
    with left:
        _pick_scatter(choice)
    with right:
        _pick_grid(choice)


def _pick_scatter(choice: Choice) -> None:
    measures, is_like = choice.scores.measures, choice.across == LIKENESS
    across, up, dots = st.columns([1, 1, 0.62], gap="small", vertical_alignment="bottom")
    with across:
        widgets.pick("Across", [LIKENESS, LAYER, *measures], choice.across, set_across, key="heads_across",
                     format_func=title_of)  # fmt: skip
    with up:
        if is_like:
            ways = arrangements(str(choice.selection.run))
            widgets.pick("Arranged by", list(ways), choice.arranged, lambda name: {ARRANGED: name},
                         key="heads_arranged", format_func=ways.get, help=meaning("likeness", MORE_WAYS))  # fmt: skip
        else:
            widgets.pick("Up", [LAYER, *measures], choice.up, lambda name: {UP: name}, key="heads_up",
                         format_func=title_of)  # fmt: skip
    with dots, st.popover("Dots", width="stretch", help="Colour and size of the dots."):
        options = [SAME, NAME, *([CLUSTER] if is_like else []), LAYER, *measures]
        widgets.pick("Colour of dots", options, choice.tone, lambda name: {TONE: name}, key="heads_tone",
                     format_func=title_of)  # fmt: skip
        widgets.pick(
            "Size of dots", [NONE, *measures], choice.area, lambda name: {AREA: None if name == NONE else name},
            key="heads_area", format_func=title_of,
        )  # fmt: skip


def _pick_grid(choice: Choice) -> None:
    grid, order, null = st.columns([1.5, 1.2, 0.9], gap="small", vertical_alignment="bottom")
    with grid:
        widgets.pick("Grid shows", choice.scores.measures, choice.measure, lambda name: {"score": name},
                     key="heads_measure", format_func=title_of, help=measure_help(choice.measure))  # fmt: skip
    with order:
        widgets.pick(
            "Order", list(ORDERS), choice.selection.option("order", ORDERS),
            lambda word: {"order": None if word == "layer" else word, "by": None}, key="heads_order",
            format_func=ORDERS.get, help=ORDER_HELP,
        )  # fmt: skip
    with null:
        st.toggle(
            "Less null", help=meaning("null", "Shown is how far the measure is from it: 0 is no different."),
            **widgets.bound(
                "heads_null", choice.less_null, lambda is_on: widgets.select(**{LESS_NULL: "1" if is_on else None})
            ),
        )  # fmt: skip


def set_across(name: str) -> dict[str, str | None]:
    """A new axis; colours that only a map of heads has go with it."""
    gone = {TONE: None} if name == LIKENESS or widgets.current().options.get(TONE) == CLUSTER else {}
    return {ACROSS: name, **gone}


def filter_row(choice: Choice) -> None:
    """The filter as typed, a way to build it by clicking, how many heads match, and a button that compares them."""
    typed, build, count, compare, clear = st.columns(
        [1, 0.17, 0.22, 0.18, 0.12], gap="small", vertical_alignment="center"
    )
    example, label = (EXAMPLE, "induction") if choice.is_text else (EXAMPLE_OF_IMAGES, "global")
    typed.text_input(
        "Filter of heads", label_visibility="collapsed", max_chars=LONGEST_FILTER,
        placeholder=f"filter heads: {example}, or label is {label}", icon=":material/filter_alt:",
        **widgets.bound("heads_filter", choice.filter, set_filter),
    )  # fmt: skip
    with build:
        _builder(choice)
    n, matching = len(choice.holds), int(choice.holds.sum())
    is_on = bool(choice.filter.strip()) and not choice.problem
    with count:
        st.markdown(f"**{matching:,}** of {n:,} match" if is_on else f"{n:,} heads")
    rows = [int(row) for row in choice.holds.nonzero()[0]]
    compare.button(
        "Compare", key="heads_compare", width="stretch", disabled=not is_on or not rows,
        help=f"Select all heads that match, {MOST_COMPARED} at most, and set their figures side by side.",
        on_click=lambda: widgets.select(**{COMPARED: write_compared(rows, choice.scores)}),
    )  # fmt: skip
    clear.button(
        "Clear", key="heads_clear", type="tertiary", disabled=not (choice.filter or choice.compared),
        help="Take away the filter and the compared heads.",
        on_click=lambda: widgets.select(**{FILTER: None, COMPARED: None}),
    )  # fmt: skip
    if choice.problem:
        widgets.say_problem(choice.problem)


def set_filter(words: str) -> None:
    """Another filter; the heads that are compared stay."""
    widgets.select(**{FILTER: words.strip() or None})


def _builder(choice: Choice) -> None:
    """A condition put together by clicking, added to what is typed."""
    with st.popover("Add", icon=":material/add:", width="stretch", help="Put a condition together by clicking."):
        measure = st.selectbox(
            "Measure", [*choice.scores.measures, LAYER, "head"], key="heads_build_measure",
            index=choice.scores.measures.index(choice.measure), format_func=lambda name: name.replace("_", "-"),
        )  # fmt: skip
        relation = st.selectbox("Relation", list(RELATIONS), key="heads_build_relation")
        number = st.number_input("Number", value=0.5, step=0.05, format="%g", key="heads_build_number")
        words = condition_words(measure, relation, number)
        st.button(
            f"Add “{words}”", key="heads_build_add", type="primary", width="stretch",
            on_click=lambda: set_filter(joined_words("" if choice.problem else choice.filter, words)),
        )  # fmt: skip
        has_null = measure in choice.scores.null and choice.scores.null[measure].notna().any()
        if has_null:
            against = condition_words(measure, relation, "its null")
            st.button(
                f"Add “{against}”", key="heads_build_null", width="stretch",
                on_click=lambda: set_filter(joined_words("" if choice.problem else choice.filter, against)),
            )  # fmt: skip


def names_row(choice: Choice) -> None:
    """The names of heads with their numbers; a click filters by one, a second click lets go."""
    counts = label_counts(choice.labels)
    if not counts:
        st.caption("No head reaches a threshold for a name; the thresholds are under the pictures.")
        return
    shown = next((name for name in counts if choice.filter.strip() == label_words(name)), None)
    st.pills(
        "Names of heads", list(counts), label_visibility="collapsed",
        format_func=lambda name: f"{name} {counts[name]}", help=meaning("name of a head"),
        **widgets.bound("heads_names", shown, _filter_by_name),
    )  # fmt: skip


def _filter_by_name(name: str | None) -> None:
    set_filter("" if name is None else label_words(name))
