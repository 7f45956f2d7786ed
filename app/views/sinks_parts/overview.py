"""The first screen: rate by layer, the ranked table, heads by share, levels, norms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.sinks.levels import Levels
from analysis.types import head_name
from app import cache, widgets
from app.cache import sinks as kept
from app.charts.head_grid import Shades, cell_words, ink_on, make_shades
from app.charts.head_order import arrange
from app.charts.sink_layers import (
    COLOURS,
    LAYER,
    NULL,
    OF_TOKENS,
    group_table,
    layer_table,
    make_groups,
    make_layers,
)
from app.charts.sink_levels import LEVEL, level_table, make_levels, nearest_words
from app.charts.sink_rows import MOST_ROWS, describe_tokens, examples, members, ranked, row_name, value_of
from app.components.headboard import Head, Tower
from app.components.headboard.headgrid import Grid, headgrid
from app.components.ranking import ranking
from app.palette import VIRIDIS
from app.views.sinks_parts.choice import GROUP, MARK, OF_HEAD, OF_LAYER, OF_LEVEL, Choice, Mark, groups, read_level
from app.views.sinks_parts.pictures import clickable, legend, title_row

GRID, TABLE, BY_LAYER, LEVELS, NORMS = (f"sinks_{part}" for part in ("grid", "table", "layers", "levels", "norms"))
GRID_HIGH = 216
MOST_OF_IMAGES = 4

SHARE_WORDS = {
    "title": "Attention on sinks", "unit": "share of all attention of the head, 0 to 1",
    "high": "most of it goes to sinks",
}  # fmt: skip
COLUMNS = {
    "name": ("token", "Class, string or position of the token."),
    "score": ("score", "Mean attention it receives, 0 to 1, over all heads and inputs; the tick is the null: what even "
              "attention would give."),
    "rate": ("sink rate", "Share of heads and tokens in which it passes the threshold, 0 to 1, with its 95 % interval "
             "over inputs."),
    "n": ("inputs", "Inputs that have such a token."),
    "example": ("in context", "Where it receives most."),
}  # fmt: skip


def pick(mark: Mark | None) -> None:
    """A mark was clicked, or let go."""
    widgets.select(**{MARK: None if mark is None else mark.word})


def pick_layer(point: dict) -> None:
    """A layer was clicked."""
    pick(Mark(OF_LAYER, str(int(point["pick"]))))


def by_layer(choice: Choice) -> None:
    """How often the primary sink is one, and what it receives, layer by layer."""
    table = layers_of(choice)
    title_row("Primary sink by layer", "primary sink", table, f"{choice.run}-sinks-by-layer.csv", "layers")
    clickable(make_layers(table, choice.rule.threshold, picked_layer(choice)), {LAYER: pick_layer}, BY_LAYER)
    legend(COLOURS, dashed=NULL)


def layers_of(choice: Choice) -> pd.DataFrame:
    """The table of `app.charts.sink_layers.layer_table`."""
    tower = kept.tower(choice.run, choice.stack, choice.rule)
    received = np.stack([of_site.mean(axis=0) for of_site in tower.of_primary])
    return layer_table(tower.share[:, tower.primary], received, kept.seen(choice.run, choice.stack, choice.rule).even)


def picked_layer(choice: Choice) -> int | None:
    """The layer in hand."""
    return int(choice.mark.value) if choice.mark is not None and choice.mark.kind == OF_LAYER else None


def top_tokens(choice: Choice) -> None:
    """The ranked table, and how its tokens are grouped."""
    table = top_rows(choice, choice.group)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False, key="sinks_top_row"):
        title_row("Top sink tokens", "sink score", table, f"{choice.run}-sinks-{choice.group}.csv", "top")
        _choose_group(choice)
    shown = table.head(MOST_ROWS if choice.is_text else MOST_OF_IMAGES)
    values = [value_of(row, choice.group) for row in shown.itertuples()]
    picked = None
    if choice.mark is not None and choice.mark.kind == choice.group and choice.mark.value in values:
        picked = values.index(choice.mark.value)
    ranking(
        ranking_rows(choice, shown, choice.group), COLUMNS, picked=picked, key=TABLE,
        label=f"Sinks by {choice.group}, the highest score first",
        on_pick=lambda at: pick(None if at is None else Mark(choice.group, values[at])),
    )  # fmt: skip


def top_rows(choice: Choice, group: str) -> pd.DataFrame:
    """The rows of one way to group tokens, the highest score first."""
    return ranked(kept.findings(choice.run, choice.table_rule, choice.stack).overall, group)


def _choose_group(choice: Choice) -> None:
    known = groups(choice.run, choice.table_rule, choice.stack)
    st.segmented_control(
        "Tokens by", list(known), format_func=known.get, required=True, label_visibility="collapsed",
        **widgets.bound("sinks_group", choice.group, lambda group: widgets.select(**{GROUP: group, MARK: None})),
    )  # fmt: skip


def ranking_rows(choice: Choice, shown: pd.DataFrame, group: str) -> list[dict]:
    """Rows of the ranked table with an example of each where it receives most."""
    tokens, counted = (of(choice.run, choice.stack) for of in (kept.tokens, kept.counted))
    classes, texts = kept.classes(choice.run, choice.stack), choice.texts
    score = score_of_points(choice)
    rows = []
    for row in shown.itertuples():
        chosen = members(group, value_of(row, group), counted, classes)
        found = examples(score, chosen, tokens["input_id"].to_numpy(), most=1)
        told = describe_tokens(found, score[found], tokens, texts)
        first = told[0].as_dict() if told else {"before": "", "text": "", "after": "", "place": "no example"}
        place = first["place"] if choice.is_text or not told else f"{first['place']} of image {first['input']}"
        has_range = np.isfinite(row.ci_low)
        rows.append({
            "name": row_name(row, group), "score": float(row.score), "null": float(row.null),
            "rate": float(row.rate), "low": float(row.ci_low) if has_range else None,
            "high": float(row.ci_high) if has_range else None, "n": int(row.n),
            **{part: first[part] for part in ("before", "text", "after")}, "place": place,
        })  # fmt: skip
    return rows


def score_of_points(choice: Choice) -> np.ndarray:
    """What every token receives, mean over all heads of the tower; NaN where too few queries see it to be a sink."""
    tower = kept.tower(choice.run, choice.stack, choice.rule)
    mean = np.average(tower.score, axis=0, weights=[site.n_heads for site in tower.sites])
    return np.where(kept.seen(choice.run, choice.stack, choice.rule).able, mean, np.nan)


def heads_by_share(choice: Choice) -> None:
    """Every head by the share of its attention that lies on sinks; a click picks, a double click opens."""
    table = share_table(choice)
    title_row("Attention on sinks", "share on sinks", table.drop(columns="null"), f"{choice.run}-sinks-heads.csv",
              "heads")  # fmt: skip
    shades, values = make_shades(table.rename(columns={"share": "value"}), SHARE_WORDS)
    names = table["name"].tolist()
    says = [
        (row.name, f"attention on sinks: {row.share:.2f}", f"sinks an input: {row.sinks:.2g}",
         f"attention on the primary sink: {row.primary:.2f}")
        for row in table.itertuples()
    ]  # fmt: skip
    cells = shades.colours(values)
    heads = [
        Head(name, site, head, False, said, cell_words(value, shades), colour, ink_on(colour), None, None, 0.0, "")
        for name, site, head, said, value, colour in zip(names, table["site"], table["head"], says, values, cells)
    ]
    lines = arrange(table["layer"].tolist(), table["head"].tolist(), values.tolist(), "layer")
    n_columns = max(site.n_heads for site in choice.sites)
    tower = Tower(widgets.stack_title(choice.stack), "", n_columns, lines, False)
    picked = None
    if choice.mark is not None and choice.mark.kind == OF_HEAD:
        mine = (table["site"] == choice.selection.site) & (table["head"] == choice.selection.head)
        picked = int(np.flatnonzero(mine)[0]) if mine.any() else None
    alt = f"{SHARE_WORDS['title']}, {SHARE_WORDS['unit']}; rows are layers"
    with st.container(key="sinks_grid_box"):
        opened = headgrid(
            Grid(heads, tower, shades, picked, alt, GRID_HIGH), lambda row: _pick_head(table, row), key=GRID
        )
    _ramp(shades)
    if opened is not None:
        row = table.iloc[opened]
        widgets.open_view("head", site=row["site"], head=int(row["head"]), mark=None)


def share_table(choice: Choice) -> pd.DataFrame:
    """A row a head: name, site (label), layer, head, share (of all attention, on its sinks), sinks (an input), primary
    (mean attention on the primary sink), null (NaN)."""
    tower = kept.tower(choice.run, choice.stack, choice.rule)
    rows = []
    for site, mass, n_sinks, primary in zip(tower.sites, tower.mass, tower.n_sinks, tower.of_primary):
        figures = zip(mass.mean(axis=1), n_sinks.mean(axis=1), primary.mean(axis=1))
        rows += [
            (head_name(site.depth, head), site.label, site.depth, head, *map(float, found))
            for head, found in enumerate(figures)
        ]
    table = pd.DataFrame(rows, columns=["name", "site", "layer", "head", "share", "sinks", "primary"])
    return table.assign(null=np.nan)


def _pick_head(table: pd.DataFrame, row: int | None) -> None:
    if row is None:
        widgets.select(head=None, **{MARK: None})
    else:
        widgets.select(site=table["site"].iloc[row], head=int(table["head"].iloc[row]), **{MARK: None})


def _ramp(shades: Shades) -> None:
    low, high = shades.ticks(2)
    stops = ", ".join(VIRIDIS)
    st.html(
        f'<div class="qk-legend"><span>{low}</span><span class="qk-ramp" style="background:'
        f'linear-gradient(90deg,{stops})"></span><span>{high}</span><span class="qk-note">of attention</span></div>'
    )


def levels(choice: Choice) -> None:
    """The heat map of levels, or why there is none."""
    found = kept.levels(choice.run, choice.stack, choice.rule, choice.of_levels)
    if found is None:
        title_row("Levels of sinks", "level of a sink", None, "", "levels")
        return no_states(choice)
    table = level_table(found)
    shown = found.tokens.drop(columns="row")
    title_row("Levels of sinks", "level of a sink", shown, f"{choice.run}-sinks-levels.csv", "levels")
    if table.empty:
        return _no_levels(choice, found)
    at = read_level(choice.mark.value) if choice.mark is not None and choice.mark.kind == OF_LEVEL else None
    clickable(make_levels(table, found, at), {LEVEL: _pick_level}, LEVELS)
    note = "tokens in each cell; framed: secondary sinks"
    if found.share > 0.5:
        note = "states of most tokens point one way here: their direction tells no sink"
    legend({}, note)
    return None


def _pick_level(point: dict) -> None:
    pick(Mark(OF_LEVEL, f"{int(point['first_layer'])}.{int(point['lifetime'])}"))


def _no_levels(choice: Choice, found: Levels) -> None:
    figures = kept.figures(choice.run, choice.stack)
    is_primary = figures["is_primary"][0] > 0
    said = nearest_words(figures["cosine"][: len(choice.sites)], is_primary, found, choice.of_levels.similar)
    empty(
        "Here you would see from which layer, and for how many layers, other tokens point where the primary sink "
        f"points. {said}"
    )


def norms(choice: Choice) -> None:
    """How long states are: primary sinks, other sinks, the rest."""
    figures = kept.figures(choice.run, choice.stack)
    if not figures:
        title_row("Norms by layer", "residual state", None, "", "norms")
        return no_states(choice)
    tower = kept.tower(choice.run, choice.stack, choice.rule)
    table = group_table(figures["norm"], tower.is_primary, (tower.share > 0).any(axis=0))
    title_row("Norms by layer", "residual state", table, f"{choice.run}-sinks-norms.csv", "norms")
    clickable(
        make_groups(table, picked_layer(choice), "norm of the residual state", behind=True), {LAYER: pick_layer}, NORMS
    )
    shown = {name: colour for name, colour in OF_TOKENS.items() if name in set(table["tokens"])}
    legend(shown, note="median, quartiles; log")
    return None


def no_states(choice: Choice) -> None:
    """Why there is nothing of residual states, and what to do."""
    if choice.sites[0].is_cross:
        return empty(
            "Nothing of residual states here: those of a token are told in the stack that carries them from layer to "
            "layer. Choose the self-attention of the encoder or of the decoder."
        )
    spec = cache.run(choice.run).manifest.get("spec", {})
    said = f" --model {spec['model']} --data {spec['data']}" if spec.get("model") and spec.get("data") else ""
    empty(
        "Here you would see what becomes of the residual states. This run has none measured: extract it again with "
        f"python -m analysis extract{said} --states on."
    )
    return None


def empty(said: str) -> None:
    """What would be in a place, in the room of the picture."""
    with st.container(height=216, border=False):
        st.caption(widgets.plain(said))


def sentence_of(choice: Choice) -> str:
    """The sentence that sums the sinks of the tower up."""
    return kept.sentence(choice.run, choice.stack, choice.rule, choice.of_levels)
