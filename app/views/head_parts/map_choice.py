"""Which map the Head view shows: method, dimensions, target, aligned. One that is not there yet can be made."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import streamlit as st

from analysis.projection.naming import MapKind
from analysis.types import Site
from app import cache, jobs, widgets
from app.glossary import BY_NAME, meaning
from app.hosted.public import runs_models
from app.jobs.requests.map import WHOLE, WITHOUT_SINKS, MapRequest, about, in_words, kind_of, read_kind, seconds_to_make
from app.state import BEFORE, RunFacts, Selection
from app.views import one_job

WANT = "want"
"""The word of the link for a map that was chosen but is not there yet."""

_WHOLE_MAP = "The map itself is of the whole attention."

TARGETS = {WHOLE: "whole attention", WITHOUT_SINKS: "without sinks"}


def pick_map(selection: Selection) -> None:
    """The choice, as a small panel that opens; a map that exists is shown at once."""
    chosen = _wanted(selection) or _shown(selection)
    with st.popover(f"Map: {_short(_shown(selection))}", width="stretch", help="Choose how the points are laid out."):
        _choose(selection, chosen)


def show_map(name: str, **more: str) -> None:
    """Show a map of the run instead of one that was wanted. For callbacks."""
    widgets.select(map=name, **{WANT: None}, **more)


def say_map(selection: Selection, facts: RunFacts) -> None:
    """Above the picture, while a map is wanted that is not there: an offer to make it, or how far it has come."""
    wanted = _wanted(selection)
    if wanted is None:
        return
    known = _known(selection.run)
    if wanted in known:
        widgets.select(map=known[wanted], **{WANT: None})
        st.rerun()
    request = _request(selection.run, wanted)
    job = one_job.newest(request)
    with st.container(border=True, key="map_wanted"):
        if job is not None and job.state == jobs.RUNNING:
            one_job.watch(request, f"Making {in_words(wanted)}", "map_cancel")
        else:
            _offer(selection, facts, wanted, job)


def say_hidden(sentence: str, selection: Selection, facts: RunFacts) -> None:
    """How much is hidden with the sinks, whether the map shown counts them in, and the way to the one without."""
    told = "" if selection.map is None or _wanted(selection) is not None else sinks_in_map(selection)
    if told != _WHOLE_MAP:
        widgets.say(f"{sentence} {told}".rstrip(), quiet=True)
        return
    words, button = st.columns([1, 0.24], vertical_alignment="center", gap="small")
    with words:
        widgets.say(f"{sentence} {told}", quiet=True)
    twin, look = facts.without_sinks.get(selection.map), {"key": "map_without_sinks", "width": "stretch"}
    if twin is not None:
        button.button("Show it without sinks", on_click=show_map, args=(twin,), kwargs={BEFORE: selection.map}, **look)
    elif runs_models():
        want = {WANT: replace(_shown(selection), target=WITHOUT_SINKS).name, BEFORE: selection.map}
        button.button("Make it without sinks", on_click=widgets.select, kwargs=want, **look)


def sinks_in_map(selection: Selection) -> str:
    """Whether the map shown counts sinks in, for a reader who hides them; empty where it does not."""
    shown = _shown(selection)
    if shown.target == WITHOUT_SINKS:
        return ""
    if not cache.methods().get(shown.method, {}).get("has_targets", True):
        return "The map is of neighbours, whatever they attend to: sinks make no difference."
    return _WHOLE_MAP


def say_no_map(selection: Selection, facts: RunFacts) -> None:
    """In place of the picture, for a run without any map: the offer to make one."""
    if not any(site.has_vectors for site in facts.sites):
        st.markdown("##### No map")
        st.markdown(no_vectors(facts.site(selection.site)))
        return
    st.markdown("##### No map yet")
    st.markdown(
        "Here you will see all queries and keys of a head as points, near where one attends to the other. This run was "
        "made without a map."
    )
    if _wanted(selection) is None:
        selection = selection.having(**{WANT: MapKind("atlas").name})
    say_map(selection, facts)


def no_vectors(site: Site) -> str:
    """Why heads of a site are in no map, in one sentence."""
    what = (
        "a state-space layer, whose attention is implicit: computed from its scan"
        if site.is_signed
        else "a model that returns its attention and nothing more"
    )
    name = widgets.plain(widgets.stack_title(site.stack_label))
    return (
        f"A map is made of queries and keys, and {name} has none: it is {what}. "
        "Input, Heads and Sinks show its attention."
    )


def _meaning(method: str) -> str:
    """What a method does: the term of the glossary, or where it has none the method's own words."""
    return meaning(method) if method in BY_NAME else cache.methods()[method]["says"]


def _choose(selection: Selection, chosen: MapKind) -> None:
    known, method = _known(selection.run), cache.methods().get(chosen.method)

    def take(changed: MapKind) -> None:
        changed = _possible(changed)
        if changed in known:
            show_map(known[changed])
        else:
            widgets.select(**{WANT: changed.name})

    names = list(dict.fromkeys([*cache.methods(), chosen.method]))
    says = "\n".join(f"- {name}: {_meaning(name)}" for name in cache.methods())
    st.selectbox(
        "Method", names, help=says,
        **widgets.bound("map_method", chosen.method, lambda name: take(replace(chosen, method=name))),
    )  # fmt: skip
    if method is not None:
        st.caption(widgets.plain(_meaning(chosen.method)))
    _segments(
        "Dimensions", {dims: f"{dims}-D" for dims in (method["dims"] if method else (chosen.dims,))}, chosen.dims,
        "map_dims", lambda dims: take(replace(chosen, dims=dims)),
    )  # fmt: skip
    if method is None or method["has_targets"]:
        _segments(
            "It explains", TARGETS, chosen.target, "map_target", lambda target: take(replace(chosen, target=target))
        )
    if method is not None and method["aligns"]:
        st.toggle(
            "Aligned with its neighbours",
            help="Each head starts towards the map of the head before it: neighbouring heads can be compared by eye.",
            **widgets.bound("map_aligned", chosen.aligned, lambda is_on: take(replace(chosen, aligned=is_on))),
        )  # fmt: skip
    made = ", ".join(known.values())
    st.caption(widgets.plain(f"Already made: {made}." if made else "No map is made yet."))


def _segments(label: str, words: dict[Any, str], chosen: Any, key: str, then: Any) -> None:
    st.segmented_control(
        label, list(words), format_func=words.get, required=True, width="stretch", **widgets.bound(key, chosen, then)
    )


def _offer(selection: Selection, facts: RunFacts, wanted: MapKind, last: jobs.Job | None) -> None:
    words, make, back = st.columns([1, 0.24, 0.2], vertical_alignment="center", gap="small")
    if not runs_models():
        words.markdown(f"This run has no map by **{in_words(wanted)}**, and this public page makes none.")
    else:
        failed = f" The last try: {last.error}" if last is not None and last.error and not last.dismissed else ""
        words.markdown(
            f"This run has no map by **{widgets.plain(in_words(wanted))}** yet: making it for all heads takes about "
            f"{_time(facts, wanted)}, more when this machine is busy. You can go on meanwhile.{widgets.plain(failed)}"
        )
        make.button(
            "Compute this map", key="map_make", type="primary", width="stretch", on_click=one_job.begin,
            args=(_request(selection.run, wanted),),
        )  # fmt: skip
    if selection.map is not None:
        back.button(
            f"Keep {selection.map}", key="map_keep", type="tertiary", width="stretch",
            on_click=lambda: widgets.select(**{WANT: None}),
        )  # fmt: skip


def _time(facts: RunFacts, wanted: MapKind) -> str:
    n_heads = sum(site.n_heads for site in facts.sites)
    is_concurrent = cache.methods().get(wanted.method, {}).get("is_concurrent", False)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return about(seconds_to_make(wanted, sum(facts.n_tokens.values()), n_heads, n_cores, is_concurrent))


def _request(run_id: str, wanted: MapKind) -> MapRequest:
    return MapRequest(run_id, wanted.method, wanted.dims, wanted.target, wanted.aligned)


def _known(run_id: str) -> dict[MapKind, str]:
    """The maps of the run by what they are; of two that differ in their seed the first."""
    found: dict[MapKind, str] = {}
    for row in cache.run(run_id).projections().to_dict("records"):
        found.setdefault(kind_of(row), str(row["name"]))
    return found


def _shown(selection: Selection) -> MapKind:
    return kind_of(cache.projection(selection.run, selection.map))


def _wanted(selection: Selection) -> MapKind | None:
    wanted = read_kind(selection.options.get(WANT, ""))
    return None if wanted is None else _possible(wanted)


def _possible(choice: MapKind) -> MapKind:
    """The choice with what its method does not know left away."""
    method = cache.methods().get(choice.method)
    if method is None:
        return choice
    return MapKind(
        choice.method,
        choice.dims if choice.dims in method["dims"] else method["dims"][0],
        choice.target if method["has_targets"] else WHOLE,
        choice.aligned and method["aligns"],
    )


def _short(choice: MapKind) -> str:
    apart = [", no sinks"] if choice.target == WITHOUT_SINKS else []
    return "".join([f"{choice.method} {choice.dims}-D", *apart, *([", aligned"] if choice.aligned else [])])
