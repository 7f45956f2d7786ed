"""Open sounds that strangers made: WAV of any rate, width and number of channels to one channel between -1 and 1."""

from __future__ import annotations

import io
import warnings
from math import gcd
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from analysis.inputs.records import Unreadable

MAX_SECONDS = 30.0
"""What lies behind is cut off: attention grows with the square of the length."""

MIN_SAMPLES, MAX_RATE, MAX_CHANNELS = 400, 768_000, 64
"""A frame of most models of speech sees 400 samples at 16 kHz; less is no sound that they take."""


class Sound(NamedTuple):
    """One decoded sound.

    Attributes:
        samples: Mean of the channels, -1 to 1, as long as the file.
        rate: Samples a second.
    """

    samples: Float[np.ndarray, " sample"]
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def open_sound(content: bytes) -> Sound:
    """Decode a WAV file: whole numbers scaled to -1 to 1, channels averaged.

    Raises:
        Unreadable: Of another kind by its content, compressed, damaged, silent by having no samples, or not finite.
    """
    from scipy.io import wavfile

    if content[:4] not in (b"RIFF", b"RIFX", b"RF64"):
        kind = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3\x03": "MP3", b"ID3\x04": "MP3", b"FORM": "AIFF"}
        what = kind.get(content[:4])
        found = f"{what}, and only WAV is read" if what else "not WAV by its content, which alone is read"
        raise Unreadable(f"{found}; make a WAV of it, as with ffmpeg -i IN OUT.wav")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Reached EOF prematurely")
            warnings.filterwarnings("ignore", category=wavfile.WavFileWarning)
            rate, values = wavfile.read(io.BytesIO(content))
    except Exception as error:  # a damaged file makes the reader raise almost anything
        raise Unreadable(f"the sound is damaged or compressed ({str(error)[:100] or type(error).__name__})") from error
    if not 0 < rate <= MAX_RATE or (values.ndim == 2 and values.shape[1] > MAX_CHANNELS):
        raise Unreadable(f"{rate:,} samples a second on {values.shape[-1] if values.ndim == 2 else 1} channels")
    samples = _unit(values)
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    if not len(samples):
        raise Unreadable("it has no samples")
    if not np.isfinite(samples).all():
        raise Unreadable("it holds samples that are no numbers")
    return Sound(samples.astype(np.float32), int(rate))


def _unit(values: np.ndarray) -> np.ndarray:
    """Samples as fractions of the largest that their kind can hold; 24 bits come in the upper part of 32."""
    if values.dtype == np.uint8:
        return (values.astype(np.float64) - 128) / 128
    if np.issubdtype(values.dtype, np.integer):
        return values / float(-np.iinfo(values.dtype).min)
    return values.astype(np.float64)


def at_rate(sound: Sound, rate: int) -> Float[np.ndarray, " sample"]:
    """The first `MAX_SECONDS` of a sound at another rate, by polyphase filtering (`scipy.signal.resample_poly`).

    Raises:
        Unreadable: Shorter than `MIN_SAMPLES`.
    """
    samples = sound.samples[: round(MAX_SECONDS * sound.rate)]
    if sound.rate != rate:
        from scipy.signal import resample_poly

        common = gcd(sound.rate, rate)
        samples = resample_poly(samples.astype(np.float64), rate // common, sound.rate // common).astype(np.float32)
    if len(samples) < MIN_SAMPLES:
        raise Unreadable(f"{len(samples)} samples at {rate:,} a second; a sound of at least {MIN_SAMPLES} is needed")
    return samples


def wav_of(samples: Float[np.ndarray, " sample"], rate: int) -> bytes:
    """A WAV of 16 bits, one channel, for whoever wants to hear what the model heard."""
    from scipy.io import wavfile

    buffer = io.BytesIO()
    wavfile.write(buffer, rate, np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16))
    return buffer.getvalue()
