"""A sound in place of the sentence: its loudness in time, shaded for the picked token, and the player."""

from __future__ import annotations

import streamlit as st

from analysis.types import KEY
from app.charts.sound_strip import frame_table, make_strip
from app.views.input_parts.clicks import clickable
from app.views.input_parts.one_input import OneInput
from app.views.input_parts.tables import save_csv, show_table

GROWS = """
<style>
.st-key-input_sound div:has(svg.marks) { width: 100% !important; max-width: none; }
.st-key-input_sound svg.marks { width: 100%; height: auto; }
</style>
"""
"""The drawing takes the width of the page. No data goes in here."""


def sound_strip(one: OneInput) -> None:
    """The frames in time; below them what is drawn, in words, and the sound itself where the run holds it."""
    table = frame_table(one.tokens, one.by_token(one.weights()), one.marked_tokens)
    st.html(GROWS)
    with st.container(key="input_sound"):
        clickable(
            make_strip(table, one.token, one.selection.kind, one.title),
            {"pick": lambda point: one.pick(int(point["position"]))}, "input_sound_strip",
        )  # fmt: skip
        says, numbers, player = st.columns([1.9, 0.4, 1], vertical_alignment="center")
    says.caption(_says(one))
    with numbers.popover("Table", icon=":material/table:"), st.container(width=560):
        frames = table[["position", "begin", "end", "loud", "weight"]]
        frames = frames.rename(columns={"begin": "from, s", "end": "to, s", "loud": "loudness"})
        show_table(frames, 320)
        save_csv(f"{len(frames):,} frames", lambda: frames.to_csv(index=False), one, "frames")
    sound = one.source.sound()
    if sound:
        player.audio(sound, format="audio/wav")


def _says(one: OneInput) -> str:
    grey = "Grey: how loud each frame is, 0 to −60 dB."
    if one.token is None:
        return f"{grey} Shade: mean weight over all queries. Click a frame to see its own."
    name = str(one.tokens["text"].iloc[one.token])
    if one.selection.kind == KEY:
        return f"{grey} Shade: how much each frame looks at “{name}”; these weights need not add up to 1."
    return f"{grey} Shade: where “{name}” looks."
