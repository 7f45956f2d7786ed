"""Folders and tables of sounds: what is decoded, what is refused, and at which rate it comes out."""

import io

import numpy as np
import pytest
from scipy.io import wavfile

from analysis.errors import InputError
from analysis.inputs import read_data
from analysis.inputs.records import Unreadable
from analysis.inputs.sound_files import MAX_SECONDS, at_rate, open_sound


def wav(samples, rate=16000) -> bytes:
    buffer = io.BytesIO()
    wavfile.write(buffer, rate, samples)
    return buffer.getvalue()


def tone(hertz=440, seconds=0.5, rate=16000):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "voices"
    (root / "high").mkdir(parents=True)
    (root / "low.wav").write_bytes(wav(tone(220)))
    (root / "high" / "a.wav").write_bytes(wav(tone(880)))
    return root


def test_a_folder_of_sounds_with_labels_and_bad_files(folder):
    (folder / "empty.wav").write_bytes(b"")
    (folder / "cut.wav").write_bytes(wav(tone())[:1000])
    (folder / "song.flac").write_bytes(b"fLaC....")
    (folder / "none.wav").write_bytes(wav(np.zeros(0, np.float32)))
    raw = read_data(folder)
    assert (raw.modality, raw.row_names, raw.user_columns) == (
        "audio", ["high/a.wav", "low.wav"], {"label": ["high", None]},
    )  # fmt: skip
    reasons = {skipped.name: skipped.reason for skipped in raw.skipped}
    assert set(reasons) == {"empty.wav", "cut.wav", "song.flac", "none.wav"}
    assert "FLAC" in reasons["song.flac"]
    assert "damaged" in reasons["cut.wav"]
    assert "empty" in reasons["empty.wav"]


def test_a_table_names_sounds_beside_it(folder):
    table = folder / "clips.csv"
    table.write_text("audio,speaker\nlow.wav,Ada\nhigh/a.wav,Bo\n../x.wav,Cy\nmissing.wav,Di\n")
    raw = read_data(table)
    assert (raw.modality, raw.user_columns) == ("audio", {"speaker": ["Ada", "Bo"]})
    assert [skipped.name for skipped in raw.skipped] == ["row 3 (../x.wav)", "row 4 (missing.wav)"]
    with pytest.raises(InputError, match="no column image"):
        read_data(table, modality="vision")


def test_nothing_that_can_be_read_is_refused_with_the_first_reason(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"not a sound")
    with pytest.raises(InputError, match="not WAV by its content"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        np.array([0, 64, 192], np.uint8), np.array([-32768, -16384, 16384], np.int16),
        np.array([-(2**31), -(2**30), 2**30], np.int32), np.array([-1, -0.5, 0.5], np.float32),
    ],
)  # fmt: skip
def test_every_width_is_scaled_to_one(values):
    assert open_sound(wav(values)).samples.tolist() == [-1.0, -0.5, 0.5]


def test_channels_are_averaged():
    both = np.stack([np.full(500, 0.5), np.full(500, -0.25)], axis=1).astype(np.float32)
    assert np.allclose(open_sound(wav(both)).samples, 0.125)


def test_another_rate_keeps_pitch_and_length():
    slow = at_rate(open_sound(wav(tone(440, 1.0, 44100), 44100)), 16000)
    assert len(slow) == 16000
    assert np.abs(np.fft.rfft(slow)).argmax() == 440
    assert np.abs(slow[2000:-2000] - tone(440, 1.0)[2000:-2000]).max() < 1e-3


def test_what_is_too_long_is_cut_and_too_short_refused():
    long = np.zeros(round((MAX_SECONDS + 5) * 8000), np.int16)
    assert len(at_rate(open_sound(wav(long, 8000)), 8000)) == MAX_SECONDS * 8000
    with pytest.raises(Unreadable, match="at least"):
        at_rate(open_sound(wav(np.zeros(10, np.int16))), 16000)
    with pytest.raises(Unreadable, match="numbers"):
        open_sound(wav(np.array([0, np.nan], np.float32)))
