"""The right column: what speaks for the mark in hand, and where to go with it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.types import KEY, Site, head_name
from app import widgets
from app.cache import sinks as kept
from app.cache.vectors import small_image
from app.charts.sink_evidence import (
    Evidence,
    HeadSaid,
    heads_by_value,
    heads_of_rows,
    layer_words,
    most_received,
    rate_words,
)
from app.charts.sink_rows import GROUPS, Example, describe_tokens, examples, members, ranked, row_name, value_of
from app.charts.text_attention import visible_token
from app.components.similar import similar
from app.palette import KEY as KEY_COLOUR
from app.views.sinks_parts.choice import MARK, OF_HEAD, OF_LAYER, OF_LEVEL, Choice, Mark, read_level
from app.views.sinks_parts.overview import layers_of, pick, score_of_points, share_table

LIST, NOTHING = "sinks_examples", "nothing"
MOST_EXAMPLES, MOST_PICTURES = 6, 3
OF_ALL = "mean over all heads"


def evidence(choice: Choice) -> None:
    """What is picked, its figures, its heads, its tokens in their inputs; buttons that open them."""
    _choose(choice)
    found = evidence_of(choice)
    if found is None:
        st.caption("Nothing of this run has that mark: click another.")
        return
    st.markdown(f"**{widgets.plain(found.title)}**")
    widgets.say(found.said, quiet=True)
    told = _told(choice, found)
    picked = _in_hand(choice, told)
    _open(choice, found, picked)
    _heads(choice, found)
    _examples(choice, found, told, picked)


def _choose(choice: Choice) -> None:
    """Every mark by its name: the way there without a pointer."""
    options = [NOTHING, *marks_of(choice)]
    now = choice.mark.word if choice.mark is not None else NOTHING
    if now not in options:
        options.insert(1, now)

    def chosen(word: str) -> None:
        if word == NOTHING:
            widgets.select(head=None, **{MARK: None})
        else:
            pick(Mark(*word.split(":", 1)))

    st.selectbox(
        "Evidence for", options, format_func=lambda word: _mark_title(choice, word),
        **widgets.bound("sinks_mark", now, chosen),
    )  # fmt: skip


def marks_of(choice: Choice) -> list[str]:
    """What can be picked besides heads: rows of the table, layers, levels."""
    rows = ranked(kept.findings(choice.run, choice.table_rule, choice.stack).overall, choice.group)
    words = [Mark(choice.group, value_of(row, choice.group)).word for row in rows.itertuples()]
    words += [Mark(OF_LAYER, str(layer)).word for layer in range(len(choice.sites))]
    levels = kept.levels(choice.run, choice.stack, choice.rule, choice.of_levels)
    if levels is not None:
        words += [Mark(OF_LEVEL, f"{row.first_layer}.{row.lifetime}").word for row in levels.levels.itertuples()]
    return words


def _mark_title(choice: Choice, word: str) -> str:
    kind, _, value = word.partition(":")
    if word == NOTHING:
        return "the strongest"
    if kind == OF_HEAD:
        return f"head {head_name(_site(choice).depth, int(choice.selection.head or 0))}"
    if kind == OF_LEVEL:
        first, lifetime = value.split(".")
        return f"from layer {first} for {lifetime}"
    return f"{kind} {visible_token(value)}"


def _site(choice: Choice) -> Site:
    """The site of the head of the link."""
    return next(site for site in choice.sites if site.label == choice.selection.site)


def evidence_of(choice: Choice) -> Evidence | None:
    """What speaks for the mark in hand; of the first row of the table where there is none."""
    mark = choice.mark
    if mark is None:
        rows = ranked(kept.findings(choice.run, choice.table_rule, choice.stack).overall, choice.group)
        if rows.empty:
            return None
        mark = Mark(choice.group, value_of(next(rows.itertuples()), choice.group))
    if mark.kind in GROUPS:
        return _of_group(choice, mark)
    if mark.kind == OF_LAYER:
        return _of_layer(choice, int(mark.value))
    return _of_head(choice) if mark.kind == OF_HEAD else _of_level(choice, *read_level(mark.value))


def _of_group(choice: Choice, mark: Mark) -> Evidence | None:
    found = kept.findings(choice.run, choice.table_rule, choice.stack)
    rows = ranked(found.overall, mark.kind)
    row = next((row for row in rows.itertuples() if value_of(row, mark.kind) == mark.value), None)
    if row is None:
        return None
    mine = ranked(found.by_head, mark.kind)
    mine = mine[[value_of(each, mark.kind) == mark.value for each in mine.itertuples()]]
    tokens = kept.tokens(choice.run, choice.stack)
    score = score_of_points(choice)
    counted = kept.counted(choice.run, choice.stack)
    chosen = members(mark.kind, mark.value, counted, kept.classes(choice.run, choice.stack))
    at = examples(score, chosen, tokens["input_id"].to_numpy(), MOST_EXAMPLES)
    title = row_name(row, mark.kind)
    return Evidence(title, rate_words(row), heads_of_rows(mine, choice.sites), "attention it receives there",
                    at, score[at], OF_ALL)  # fmt: skip


def _of_layer(choice: Choice, layer: int) -> Evidence:
    tower = kept.tower(choice.run, choice.stack, choice.rule)
    row = next(each for each in layers_of(choice).itertuples() if each.layer == layer)
    share = tower.share[layer]
    figures = kept.figures(choice.run, choice.stack)
    norm = None
    if figures:
        of_layer, is_primary = figures["norm"][layer], tower.is_primary
        norm = float(of_layer[is_primary].mean() / max(float(np.median(of_layer[~is_primary])), 1e-30))
    said = layer_words(row, float((share[~tower.is_primary] > 0).mean()), norm)
    tokens = kept.tokens(choice.run, choice.stack)
    able = kept.seen(choice.run, choice.stack, choice.rule).able
    score = most_received(tower.score[layer], able)
    at = examples(score, able, tokens["text"].astype(str).to_numpy(), MOST_EXAMPLES)
    heads = heads_by_value([tower.mass[layer].mean(axis=1)], [choice.sites[layer]])
    return Evidence(
        f"Layer {layer}", said, heads, "attention on sinks", at, score[at], f"mean over heads of layer {layer}"
    )


def _of_head(choice: Choice) -> Evidence:
    site = _site(choice)
    head = int(choice.selection.head or 0)
    name = head_name(site.depth, head)
    row = next(each for each in share_table(choice).itertuples() if each.name == name)
    whose = f"the {site.query_sequence}'s" if site.is_cross else "the other tokens'"
    n = f"{row.sinks:.1f} {'token' if f'{row.sinks:.1f}' == '1.0' else 'tokens'}"
    said = (
        f"{100 * row.share:.0f} % of its attention lies on its sinks, {n} an input; the primary sink receives "
        f"{row.primary:.2f} of {whose} attention."
    )
    tokens = kept.tokens(choice.run, choice.stack)
    able = kept.seen(choice.run, choice.stack, choice.rule).able
    score = most_received(kept.received(choice.run, site.label, choice.rule.counts_own)[head], able)
    at = examples(score, able, tokens["text"].astype(str).to_numpy(), MOST_EXAMPLES)
    return Evidence(f"Head {name}", said, [HeadSaid(name, site.label, head, float(row.share))], "", at, score[at],
                    f"attention received in {name}")  # fmt: skip


def _of_level(choice: Choice, first: int, lifetime: int) -> Evidence | None:
    levels = kept.levels(choice.run, choice.stack, choice.rule, choice.of_levels)
    if levels is None:
        return None
    chosen = levels.tokens[(levels.tokens["first_layer"] == first) & (levels.tokens["lifetime"] == lifetime)]
    cell = levels.levels[(levels.levels["first_layer"] == first) & (levels.levels["lifetime"] == lifetime)]
    if chosen.empty or cell.empty:
        return None
    rows, score = chosen["row"].to_numpy(dtype=np.int64), chosen["score"].to_numpy(dtype=float)
    order = np.argsort(-score, kind="stable")[:MOST_EXAMPLES]
    n, label = int(cell["n"].iloc[0]), str(cell["label"].iloc[0])
    last = first + lifetime - 1
    where = f"in layer {first}" if last == first else f"in layers {first} to {last}"
    said = (
        f"{n:,} {'token' if n == 1 else 'tokens'} ({label}) point where the primary sink points {where} and receive "
        f"{score.mean():.3g} of attention there."
    )
    heads = _heads_on(choice, rows, slice(first, last + 1))
    title = f"From layer {first} for {lifetime} {'layer' if lifetime == 1 else 'layers'}"
    at = rows[order]
    return Evidence(
        title, said, heads, "attention they receive there", at, score[order], "mean over heads of its layers"
    )


def _heads_on(choice: Choice, rows: np.ndarray, layers: slice) -> list[HeadSaid]:
    """The heads of some layers that give these tokens most."""
    sites = choice.sites[layers]
    values = [
        np.nan_to_num(kept.received(choice.run, site.label, choice.rule.counts_own)[:, rows]).mean(axis=1)
        for site in sites
    ]
    return heads_by_value(values, sites)


def _heads(choice: Choice, found: Evidence) -> None:
    """The heads that look most, each a button that picks it."""
    if len(found.heads) < 2:
        return
    st.caption(f"Most in ({found.heads_are}):")
    names = {f"{head.site}:{head.head}": head for head in found.heads}

    def chosen(word: str | None) -> None:
        if word is not None:
            widgets.select(site=names[word].site, head=names[word].head, **{MARK: None})

    st.pills(
        "Heads that look most", list(names), label_visibility="collapsed",
        format_func=lambda word: f"{names[word].name} {names[word].value:.2f}",
        **widgets.bound("sinks_heads", None, chosen),
    )  # fmt: skip


def _told(choice: Choice, found: Evidence) -> list[Example]:
    """The examples with what is around them; pictures take more room than words."""
    most = MOST_EXAMPLES if choice.is_text else MOST_PICTURES
    texts = choice.texts
    return describe_tokens(found.rows[:most], found.values[:most], kept.tokens(choice.run, choice.stack), texts)


def _in_hand(choice: Choice, told: list[Example]) -> Example | None:
    """The example that the link names, or the first."""
    at = (choice.selection.input, choice.selection.token)
    return next((each for each in told if (each.input, each.token) == at), told[0] if told else None)


def _examples(choice: Choice, found: Evidence, told: list[Example], picked: Example | None) -> None:
    """Tokens in their inputs; a click picks one."""
    if not told:
        st.caption("No token is seen by as many queries as the settings ask for.")
        return
    images = {} if choice.is_text else {each.input: small_image(choice.run, each.input) for each in told}
    rows = [
        each.as_dict()
        | {"point": each.row, "distance": each.value, "is_picked": each is picked,
           "pick": {"input": each.input, "token": each.token, "kind": KEY}}
        for each in told
    ]  # fmt: skip
    st.caption(f"Where it shows ({found.values_are}):")
    similar(rows, images, colour=KEY_COLOUR, farthest=1.0, label=f"Examples of {found.title}", key=LIST,
            on_pick=lambda point: widgets.select(**point))  # fmt: skip


def _open(choice: Choice, found: Evidence, picked: Example | None) -> None:
    """The buttons that go there."""
    head = found.heads[0] if found.heads else None
    if choice.mark is not None and choice.mark.kind != OF_HEAD and choice.selection.head is not None:
        mine = (choice.selection.site, choice.selection.head)
        head = next((each for each in found.heads if (each.site, each.head) == mine), head)
    token = {} if picked is None else {"input": picked.input, "token": picked.token, "kind": KEY}
    place = {} if head is None else {"site": head.site, "head": head.head}
    left, right = st.columns(2, gap="small")
    if left.button("Open in Input", key="sinks_to_input", width="stretch", disabled=picked is None,
                   help="The picked token in its input, seen by this head."):  # fmt: skip
        widgets.open_view("input", **{MARK: None}, **place, **token)
    name = head.name if head is not None else ""
    if right.button(f"Open {name}", key="sinks_to_head", type="primary", width="stretch", disabled=head is None,
                    help="Queries and keys of the head in one map, in the Head view."):  # fmt: skip
        widgets.open_view("head", **{MARK: None}, **place, **token)
