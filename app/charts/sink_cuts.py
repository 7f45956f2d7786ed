"""What a model loses without its sinks: measures before and after, by layer, and the answers that changed most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.sinks.cut_measures import MEASURES
from app.charts.scales import weight_words
from app.charts.sink_layers import GRID, finish, layer_axis
from app.charts.text_attention import visible_token
from app.palette import OKABE_ITO, QUIET


def measure_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The means of one cut as a reader sees them: measure, before, after, change, interval (in words), unit, n, more
    (what it says when the value is larger after the cut).

    Args:
        summary: Rows of one cut, of `analysis.pipeline.sink_cuts.summarise_cuts`.
    """
    known = [MEASURES[name] for name in summary["measure"]]
    intervals = [interval_words(row.ci_low, row.ci_high) or "–" for row in summary.itertuples()]
    return pd.DataFrame({
        "measure": [measure.title for measure in known], "before": summary["before"].to_numpy(),
        "after": summary["after"].to_numpy(), "change": summary["change"].to_numpy(), "interval": intervals,
        "unit": [measure.unit for measure in known], "n": summary["n"].to_numpy(),
        "more": [measure.more for measure in known],
    })  # fmt: skip


def cut_words(summary: pd.DataFrame) -> str:
    """What the cut changes, in a sentence: loss, predictions that change, how far the answers part, states.

    Args:
        summary: Rows of one cut.
    """
    rows = {row.measure: row for row in summary.itertuples()}
    said = []
    if (loss := rows.get("loss")) is not None:
        said.append(f"the loss goes from {figure(loss.before)} to {figure(loss.after)} nats ({_of_change(loss)})")
    if (flips := rows.get("flips")) is not None:
        said.append(f"{100 * flips.after:.0f} % of the predictions change")
    if (parted := rows.get("kl_bits")) is not None:
        said.append(f"the answers part by {figure(parted.after)} bits")
    changes = [name for name in ("token_change", "cls_change") if name in rows]
    if changes:
        many = changes[0] == "token_change"
        who, whose = ("the states at the end move", "their") if many else ("the CLS state at the end moves", "its")
        said.append(f"{who} by {figure(rows[changes[0]].after)} times {whose} length")
    return f"Without them {', '.join(said)}." if said else "No measure says anything of these inputs."


def interval_words(low: float, high: float) -> str:
    """``1.93 to 2.78``; empty for a single input."""
    return f"{figure(low)} to {figure(high)}" if np.isfinite(low) else ""


def figure(value: float) -> str:
    """Three digits, with a true minus."""
    return f"{'−' if value < 0 else ''}{weight_words(round(abs(float(value)), 4))}"


def _of_change(row: Any) -> str:
    between = interval_words(row.ci_low, row.ci_high)
    return f"{'+' if row.change >= 0 else ''}{figure(row.change)}" + (f"; 95 %: {between}" if between else "")


def layer_changes(summary: pd.DataFrame, cuts: Sequence[Mapping[str, Any]], measure: str) -> pd.DataFrame:
    """One measure of a cut that was made layer by layer: layer, before, after, change, low, high, n.

    Args:
        summary: Of all its layers.
        cuts: Cut and layer of each, as the facts tell them.
    """
    layer = {made["cut"]: made["layer"] for made in cuts}
    rows = summary[summary["measure"] == measure]
    rows = rows.assign(layer=rows["cut"].map(layer)).rename(columns={"ci_low": "low", "ci_high": "high"})
    return rows[["layer", "before", "after", "change", "low", "high", "n"]].sort_values("layer", ignore_index=True)


def make_changes(table: pd.DataFrame, measure: str, picked: int | None) -> alt.Chart:
    """The change by layer in which sinks were cut, with its interval; a click picks the layer.

    Args:
        table: Of `layer_changes`.
    """
    title = MEASURES[measure].title
    x = layer_axis(int(table["layer"].max()) + 1)
    y = alt.Y("change:Q", title=None, axis=alt.Axis(tickCount=4, format=".3~r", **GRID))
    tips = [alt.Tooltip("layer:Q", title="sinks cut in layer")]
    tips += [
        alt.Tooltip(f"{name}:Q", title=title, format=".3~r")
        for name, title in (("before", "before"), ("after", "after"), ("change", "change"), ("low", "95 %, from"),
                            ("high", "95 %, to"))
    ]  # fmt: skip
    base = alt.Chart(table).encode(x=x)
    said = "; ".join(f"layer {row.layer} {row.change:.3g}" for row in table.itertuples())
    return finish(
        [alt.Chart(pd.DataFrame({"change": [0.0]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y=y),
         base.transform_filter("isValid(datum.low)").mark_rule(color=OKABE_ITO[0], strokeWidth=2)
         .encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
         base.mark_circle(color=OKABE_ITO[0], size=70, opacity=1).encode(y=y)],
        alt.Chart(table).encode(tooltip=tips), x, picked, f"Change of {title} by layer: {said}.",
    )  # fmt: skip


def answer_table(examples: Sequence[Mapping[str, Any]], cut: str) -> pd.DataFrame:
    """The answers that changed most: input, position, context, truth, answer, before, after.

    Args:
        examples: Of the facts of a cut.
        cut: Only those of this cut.
    """
    rows = [
        (
            told["input_id"], told["position"], f"{told['context']} ▁ {told['context_after']}".strip(" ▁") or "–",
            "–" if told["truth"] is None else _shown(told["truth"]), _shown(answer["text"]),
            float(answer["before"]), float(answer["after"]),
        )
        for told in examples
        if told["cut"] == cut
        for answer in told["changes"]
    ]  # fmt: skip
    columns = ["input", "position", "context", "truth", "answer", "before", "after"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(position=table["position"].astype("Int64")) if len(table) else table


def _shown(text: str) -> str:
    """A token or the name of a class; blanks within a name stay."""
    plain = text.strip()
    return plain if plain and plain.isprintable() else visible_token(text)
