"""The strip of a sound: how loud each frame is, how strongly it is attended to; and frames spelled as a text."""

import numpy as np
import pandas as pd

from app.cache.spelled import as_text, has_frames
from app.charts.sound_strip import frame_table, make_strip
from app.palette import KEY, QUERY


def tokens() -> pd.DataFrame:
    """Two sounds of three and two frames, the last of each padding."""
    return pd.DataFrame(
        {
            "input_id": [0, 0, 0, 1, 1], "position": [0, 1, 2, 0, 1],
            "text": ["0.00s", "0.02s", "0.04s", "0.00s", "0.02s"],
            "seconds": [0, 0.02, 0.04, 0, 0.02], "duration": 0.02, "loudness": [-6.0, -30.0, -100.0, -60.0, -100.0],
            "is_padding": [False, False, True, False, True],
            **{name: pd.array([None] * 5, dtype="Int32") for name in ("row", "column", "char_start", "char_end")},
        }
    )  # fmt: skip


def test_frames_have_heights_by_loudness_and_shades_by_weight():
    table = frame_table(tokens()[:3], np.array([0.2, np.nan, 0.4]))
    assert np.allclose(table["height"], [0.9, 0.5, 0.01])
    assert np.allclose(table["share"], [0.5, 0, 1])
    assert np.allclose(table["end"], [0.02, 0.04, 0.06])
    assert table["told"].tolist() == ["0.2000", "no weight", "0.4000"]
    assert table["loud"].tolist() == ["-6 dB", "-30 dB", "padding"]


def test_a_decoders_tokens_are_no_frames():
    mixed = pd.concat([tokens()[:2], tokens()[:1].assign(seconds=np.nan, loudness=np.nan)], ignore_index=True)
    assert frame_table(mixed, np.array([0.1, 0.2, 0.7]))["position"].tolist() == [0, 1]


def test_the_chart_shades_keys_or_queries_and_frames_the_picked_one():
    table = frame_table(tokens()[:3], np.array([0.2, 0.1, 0.4]))
    drawn = make_strip(table, picked=1, kind="query").to_dict()
    assert [layer["mark"].get("color") for layer in drawn["layer"]] == [KEY, "#8A9099", None]
    assert len(make_strip(table, picked=7, kind="key").to_dict()["layer"]) == 2
    assert make_strip(table, None, "key").to_dict()["layer"][0]["mark"]["color"] == QUERY
    assert drawn["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0, 0.06]
    assert "0.04 s 0.4" in drawn["description"]


def test_frames_are_spelled_in_their_order():
    assert has_frames(tokens(), "audio")
    assert not has_frames(tokens().assign(row=0), "audio")
    spelled, inputs = as_text(tokens(), pd.DataFrame({"input_id": [0, 1]}))
    assert inputs["text"].tolist() == ["0.00s 0.02s 0.04s", "0.00s 0.02s"]
    for row in spelled.itertuples():
        assert inputs["text"][row.input_id][row.char_start : row.char_end] == row.text


def test_only_the_encoders_frames_are_spelled():
    mixed = tokens().assign(sequence=["encoder", "encoder", "decoder", "encoder", "decoder"])
    spelled, inputs = as_text(mixed, pd.DataFrame({"input_id": [0, 1], "target": ["a", "b"]}))
    assert inputs["text"].tolist() == ["0.00s 0.02s", "0.00s"]
    assert spelled["char_start"].isna().tolist() == [False, False, True, False, True]
