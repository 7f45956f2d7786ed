"""Sounds to frames or to patches of their spectrogram, with when each begins and what is heard in it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from PIL import Image

from analysis.errors import InputError, ModelError
from analysis.inputs.media_files import read_bytes
from analysis.inputs.records import CATEGORICAL, SEQUENTIAL, ColumnInfo, RawData, Skipped, SoundSource, Unreadable
from analysis.inputs.sound_files import MAX_SECONDS, at_rate, open_sound, wav_of
from analysis.inputs.table import EncodedRows, nullable, position_columns

if TYPE_CHECKING:
    from analysis.models import LoadedModel
    from analysis.models.hearing import SoundLayout

SOUND_COLUMNS = [
    ColumnInfo("seconds", SEQUENTIAL, "s", "When the frame begins; frames follow each other without a gap."),
    ColumnInfo("duration", SEQUENTIAL, "s", "From the beginning of the frame to that of the next one."),
    ColumnInfo("loudness", SEQUENTIAL, "dB", "Root mean square of the samples in the frame; 0 is full scale."),
    ColumnInfo("crossings", SEQUENTIAL, "a second", "How often the wave crosses zero; high in hiss, low in hum."),
    ColumnInfo("centroid", SEQUENTIAL, "Hz", "Mean frequency of the frame's spectrum, by its magnitudes."),
    ColumnInfo("level", SEQUENTIAL, "", "Mean of the patch in the spectrogram as the model sees it."),
    ColumnInfo("hertz", SEQUENTIAL, "Hz", "Centre of the lowest band of the patch."),
    ColumnInfo("row", SEQUENTIAL, "patches", "Row in the spectrogram; row 0 holds the highest bands."),
    ColumnInfo("column", SEQUENTIAL, "patches", "Column in the spectrogram, in time."),
    ColumnInfo("is_padding", CATEGORICAL, "", "Behind the end of the sound: what the model's format fills it up with."),
]

SILENT_DB = -100.0
"""Loudness below which a frame is told to be this loud."""


def encode_sounds(raw: RawData, model: LoadedModel) -> EncodedRows:
    """Describe every sound as the model hears it; the samples are not kept but read again by `read_tensors`.

    Args:
        raw: Rows of sounds.
        model: Its feature extractor is used; it is run once for each size of input, to count its tokens.

    Raises:
        InputError: No sound can be heard by the model.
        ModelError: Of no sound the model makes frames or a grid of patches.
    """
    rate = int(model.extractor.sampling_rate)
    kept, skipped, inputs, tokens, n_cut = [], [], [], [], 0
    refusal, frame_seconds = None, 0.0
    for index, source in enumerate(raw.rows):
        try:
            samples, seconds, arrays = _hear(source, model)
            layout = model.sound_layout(arrays)
        except Unreadable as reason:
            skipped.append(Skipped(source.name, str(reason)))
            continue
        except ModelError as error:
            refusal = error
            skipped.append(Skipped(source.name, str(error)))
            continue
        kept.append(index)
        frame_seconds = layout.frame_seconds
        described = describe_sound(samples, rate, layout, arrays, getattr(model.extractor, "mel_filters", None))
        lost = max(round((seconds - MAX_SECONDS) / frame_seconds), 0) if seconds > MAX_SECONDS else 0
        n_cut += lost > 0
        described_input = {"name": source.name, "seconds": seconds, "n_cut": lost, "audio": wav_of(samples, rate)}
        inputs.append(described_input | _picture(arrays, layout))
        tokens.append(described)
    if not kept:
        if refusal is not None:
            raise refusal
        raise InputError(
            f"No sound of {raw.name} can be heard by {model.name}: {len(skipped):,} left out, the first "
            f"({skipped[0].name}) because {skipped[0].reason}."
        )
    starts = np.concatenate([[0], np.cumsum([len(part["text"]) for part in tokens])]).astype(np.int64)
    table = join_sounds(tokens, starts)
    return EncodedRows(
        kept=np.array(kept),
        starts=starts,
        inputs=pd.DataFrame(inputs),
        tokens=table,
        columns=[column for column in SOUND_COLUMNS if column.name in table and table[column.name].notna().any()],
        skipped=skipped,
        notes=sound_notes(table, frame_seconds, n_cut),
        read_tensors=tensor_reader([raw.rows[index] for index in kept], model),
    )


def _hear(source: SoundSource, model: LoadedModel) -> tuple[np.ndarray, float, dict[str, np.ndarray]]:
    """Samples at the model's rate, seconds of the whole file, and what the model's extractor makes of them."""
    sound = open_sound(read_bytes(source))
    samples = at_rate(sound, int(model.extractor.sampling_rate))
    try:
        return samples, sound.seconds, model.hear(samples)
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise Unreadable(f"the model's feature extractor fails on it ({str(error)[:120]})") from error


def describe_sound(
    samples: Float[np.ndarray, " sample"],
    rate: int,
    layout: SoundLayout,
    arrays: dict[str, np.ndarray],
    mel_filters: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The columns of one sound's tokens: those in front, then frames in time or patches row by row, low bands first.

    Args:
        samples: At the model's rate.
        rate: Samples a second.
        layout: Of the model.
        arrays: What the model reads; a spectrogram where tokens are patches.
        mel_filters: Weight of each frequency in each band, [frequency, band], where the extractor has them.
    """
    begin = np.arange(layout.columns) * layout.frame_seconds
    heard = _of_frames(samples, rate, begin, layout.frame_seconds)
    heard["is_padding"] = begin >= len(samples) / rate
    heard |= {"seconds": begin.astype(np.float32), "duration": np.full(len(begin), layout.frame_seconds, np.float32)}
    n_rows = max(layout.rows, 1)
    columns = {name: np.tile(values, n_rows) for name, values in heard.items()}
    text = [f"{second:.2f}s" for second in begin]
    if layout.rows:
        band, column = (places.ravel() for places in np.indices((layout.rows, layout.columns)))
        columns |= {"row": layout.rows - 1 - band, "column": column, "level": _levels(arrays, layout)}
        named = [""] * layout.rows
        if mel_filters is not None:
            peaks = mel_filters.argmax(axis=0) * (rate / 2) / (len(mel_filters) - 1)
            centre = peaks[np.arange(layout.rows) * layout.row_bands]
            columns["hertz"] = centre[band].astype(np.float32)
            named = [f"·{hertz:.0f}Hz" for hertz in centre]
        text = [
            f"{text[c]}{named[b]}" if named[b] else f"{text[c]}·r{layout.rows - 1 - b}" for b, c in zip(band, column)
        ]
    n_prefix = len(layout.prefix)
    return {
        "text": np.array([*layout.prefix, *text], dtype=object),
        "is_special": np.concatenate([np.ones(n_prefix, bool), columns["is_padding"]]),
        **{name: np.concatenate([_nothing(name, n_prefix), values]) for name, values in columns.items()},
    }


def _nothing(name: str, n: int) -> np.ndarray:
    if name in ("row", "column"):
        return np.full(n, -1)
    return np.zeros(n, bool) if name == "is_padding" else np.full(n, np.nan, np.float32)


def _of_frames(
    samples: Float[np.ndarray, " sample"], rate: int, begin: Float[np.ndarray, " frame"], seconds: float
) -> dict[str, np.ndarray]:
    """Loudness, zero crossings and spectral centroid of the samples of each frame, padded with silence."""
    size = max(round(seconds * rate), 2)
    first = np.rint(begin * rate).astype(np.int64)
    padded = np.concatenate([samples, np.zeros(max(int(first[-1]) + size - len(samples), 0), np.float32)])
    frames = padded[first[:, None] + np.arange(size)].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        loudness = 20 * np.log10(np.sqrt((frames**2).mean(axis=1)))
        spectrum = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1))
        centroid = (spectrum * np.fft.rfftfreq(size, 1 / rate)).sum(axis=1) / spectrum.sum(axis=1)
    signs = frames > 0
    crossings = (signs[:, 1:] != signs[:, :-1]).sum(axis=1) / ((size - 1) / rate)
    is_silent = ~(loudness > SILENT_DB)
    return {
        "loudness": np.where(is_silent, SILENT_DB, loudness).astype(np.float32),
        "crossings": np.where(is_silent, np.nan, crossings).astype(np.float32),
        "centroid": np.where(is_silent, np.nan, centroid).astype(np.float32),
    }


def _spectrogram(arrays: dict[str, np.ndarray]) -> Float[np.ndarray, "time band"]:
    return next(array for name, array in arrays.items() if name.startswith("input_") and array.ndim == 2)


def _levels(arrays: dict[str, np.ndarray], layout: SoundLayout) -> Float[np.ndarray, " patch"]:
    """Mean of each patch, taken as the bands and columns up to the next one, low bands first."""
    seen = _spectrogram(arrays)
    step = seen.shape[0] // layout.columns
    parts = [
        seen[c * step : (c + 1) * step, b * layout.row_bands : (b + 1) * layout.row_bands].mean()
        for b in range(layout.rows)
        for c in range(layout.columns)
    ]
    return np.array(parts, dtype=np.float32)


def _picture(arrays: dict[str, np.ndarray], layout: SoundLayout) -> dict[str, Any]:
    """The spectrogram as a picture, high bands on top, where tokens are patches of it."""
    if not layout.rows:
        return {}
    seen = _spectrogram(arrays).T[::-1]
    low, high = float(seen.min()), float(seen.max())
    grey = np.rint((seen - low) / max(high - low, 1e-9) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG")
    return {"image": buffer.getvalue(), "width": grey.shape[1], "height": grey.shape[0]}


def join_sounds(tokens: list[dict[str, np.ndarray]], starts: np.ndarray) -> pd.DataFrame:
    """The tokens of all sounds as one table."""
    columns = {name: np.concatenate([part[name] for part in tokens]) for name in tokens[0]}
    for name in ("row", "column"):
        if name in columns:
            columns[name] = nullable(columns[name], columns[name] < 0)
    columns["text"] = pd.array(columns["text"], dtype="str")
    places = position_columns(starts)
    if "row" in columns:
        del places["position_from_end"]
    return pd.DataFrame({**columns, **places})


def sound_notes(tokens: pd.DataFrame, frame_seconds: float, n_cut: int) -> list[str]:
    """What the user should know of frames, padding and length."""
    is_grid = "row" in tokens
    what, counted = ("column of patches", "patches") if is_grid else ("frame", "frames")
    notes = [f"A {what} begins every {frame_seconds:g} s; distances between tokens are counted in {counted}."]
    if tokens["is_padding"].any():
        n = int(tokens["is_padding"].sum())
        notes.append(
            f"{n:,} tokens lie behind the end of their sound: padding (is_padding), special as the model's own."
        )
    if n_cut:
        notes.append(f"{n_cut:,} sounds were longer than {MAX_SECONDS:g} s, which are looked at of each.")
    return notes


def tensor_reader(sources: list[SoundSource], model: LoadedModel) -> Callable[[int], dict[str, np.ndarray]]:
    """Reads the tensors of one sound anew."""

    def read(input_id: int) -> dict[str, np.ndarray]:
        source = sources[input_id]
        try:
            return _hear(source, model)[2]
        except Unreadable as reason:
            raise InputError(f"The sound {source.name} could be read before and cannot now: {reason}.") from reason

    return read
