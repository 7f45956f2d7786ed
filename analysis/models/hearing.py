"""Which token of a sound is what: frames one after another, or patches of a spectrogram, and when each begins."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from analysis.errors import ModelError, first_line
from analysis.models.forward import forward_module
from analysis.models.layout import prefix_names
from analysis.models.placing import input_device

SOUND_ARRAYS = ("input_values", "input_features")
"""What processors of sounds call what a model reads: a wave, or a spectrogram [time, band] or [band, time]."""

PROBE_SECONDS, CLICKS = (0.6, 1.0), (0.1, 0.5)
"""Sounds by whose length frames are counted, and when the two clicks are that find the step of a spectrogram."""


@dataclass(frozen=True)
class SoundLayout:
    """Which token of one sound is what.

    Attributes:
        prefix: Names of the tokens in front, as in ``("CLS", "DIST")``.
        rows: Rows of patches, the lowest band first; 0 where tokens are frames.
        columns: Frames, or columns of patches: they follow each other in time.
        frame_seconds: From the beginning of one to that of the next.
        row_bands: Bands of the spectrogram from the beginning of one row to that of the next; 0 without rows.
    """

    prefix: tuple[str, ...]
    rows: int
    columns: int
    frame_seconds: float
    row_bands: int = 0


def hear(processor: Any, samples: Float[np.ndarray, " sample"]) -> dict[str, np.ndarray]:
    """What a feature extractor makes of a sound at its own rate, without the batch axis.

    Raises:
        ValueError: The extractor fails on it, or makes no one wave or spectrogram of it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty mel bands, every time
        found = processor(samples, sampling_rate=processor.sampling_rate, return_tensors="np")
    arrays = {name: np.asarray(value)[0] for name, value in found.items()}
    if sum(name in arrays for name in SOUND_ARRAYS) != 1 or _array(arrays).ndim > 2:
        raise ValueError("it does not make one wave or one spectrogram of a sound")
    mask = arrays.get("attention_mask")
    if mask is not None and mask.all():
        del arrays["attention_mask"]
    return arrays


def _array(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return next(arrays[name] for name in SOUND_ARRAYS if name in arrays)


def load_feature_extractor(folder: Path, name: str) -> Any:
    """What reads sounds for a model.

    Raises:
        ModelError: Its folder holds none, or one that reads no sounds.
    """
    from transformers import AutoFeatureExtractor

    try:
        extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError, ImportError, AttributeError) as error:
        raise ModelError(
            f"{name} has no feature extractor of sounds that loads (preprocessor_config.json): {first_line(error)}"
        ) from error
    if not isinstance(getattr(extractor, "sampling_rate", None), int):
        raise ModelError(f"{name} has a feature extractor without a sampling_rate: it reads no sounds.")
    return extractor


class Hearing:
    """How a model makes tokens of sounds, found by letting it hear some.

    Args:
        module: The model, or the whole of which its encoder hears.
        processor: Its feature extractor.
        name: Of the model.
    """

    def __init__(self, module: Any, processor: Any, name: str) -> None:
        is_pair = getattr(module.config, "is_encoder_decoder", False)
        self.encoder = module.get_encoder() if is_pair else module
        self.processor, self.name = processor, name
        self._known: dict[tuple[int, ...], SoundLayout] = {}
        self._seconds: float | None = None

    def layout(self, arrays: dict[str, np.ndarray]) -> SoundLayout:
        """The tokens of a processed sound, counted on the model's own output for one of this size.

        Raises:
            ModelError: The model does not take it, or gives no sequence of frames or grid of patches.
        """
        shape = _array(arrays).shape
        if shape not in self._known:
            self._known[shape] = self._look(arrays)
        return self._known[shape]

    def _look(self, arrays: dict[str, np.ndarray]) -> SoundLayout:
        n_tokens, patches = self._run(arrays)
        if patches is None:
            return SoundLayout((), 0, n_tokens, self._frame_seconds())
        (rows, columns), (row_bands, step) = patches
        prefix = prefix_names(self.encoder, n_tokens - rows * columns)
        return SoundLayout(prefix, rows, columns, step * self._feature_seconds(), row_bands)

    def _run(self, arrays: dict[str, np.ndarray]) -> tuple[int, tuple[tuple[int, int], tuple[int, int]] | None]:
        """Tokens that come out, and where they are patches the grid and the steps of it, bands and then time."""
        import torch

        shape, seen = _array(arrays).shape, []

        def watch(conv: Any, given: tuple, made: Any) -> None:
            seen.append((tuple(given[0].shape[-2:]), tuple(made.shape[-2:]), tuple(conv.stride)))

        hooks = [
            part.register_forward_hook(watch)
            for part in self.encoder.modules()
            if isinstance(part, torch.nn.Conv2d) and part.kernel_size[0] > 1
        ]
        device, dtype = input_device(self.encoder), self.encoder.dtype
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array))[None] for name, array in arrays.items()}
        tensors = {k: v.to(device, dtype if v.is_floating_point() else None) for k, v in tensors.items()}
        try:
            output = forward_module(self.encoder, tensors)
        except (ValueError, TypeError, RuntimeError, IndexError) as error:
            raise ModelError(
                f"{self.name} does not take what its feature extractor makes of a sound {list(shape)} "
                f"({first_line(error, 200)}); correct preprocessor_config.json in its folder."
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        states = getattr(output, "last_hidden_state", None)
        if states is None or states.ndim != 3:
            raise ModelError(f"{self.name} gives no sequence of frames: choose a transformer of sounds.")
        n_tokens = states.shape[1]
        if len(seen) == 1 and len(shape) == 2 and seen[0][1][0] > 1:
            given, made, stride = seen[0]
            if given == shape[::-1] and made[0] * made[1] <= n_tokens:
                return n_tokens, (made, stride)
        return n_tokens, None

    def _frame_seconds(self) -> float:
        """From the beginning of one frame to that of the next: sounds of two lengths, the frames of both, and the
        difference; of a model that pads every sound to one length, that length by its frames."""
        if self._seconds is None:
            rate = self.processor.sampling_rate
            heard = [hear(self.processor, _noise(round(seconds * rate))) for seconds in PROBE_SECONDS]
            frames = [self._run(arrays)[0] for arrays in heard]
            steps = [max(_array(arrays).shape) for arrays in heard]
            if frames[1] > frames[0]:
                self._seconds = (PROBE_SECONDS[1] - PROBE_SECONDS[0]) / (frames[1] - frames[0])
            elif steps[1] == steps[0]:
                self._seconds = self._time_steps(heard[1]) * self._feature_seconds() / frames[1]
            else:
                raise ModelError(f"{self.name} makes no more frames of a longer sound: when they are is not known.")
        return self._seconds

    def _time_steps(self, arrays: dict[str, np.ndarray]) -> int:
        shape = _array(arrays).shape
        return shape[0] if len(shape) == 1 else shape[self._time_axis()]

    def _time_axis(self) -> int:
        """Which axis of a spectrogram is time: the one along which a click moves."""
        return self._clicks()[0]

    def _feature_seconds(self) -> float:
        """From one sample, or one column of the spectrogram, to the next."""
        return self._clicks()[1]

    def _clicks(self) -> tuple[int, float]:
        """Time axis and step of what the extractor makes, by where two clicks in silence come to lie."""
        rate = self.processor.sampling_rate
        quiet, *arrays = (_array(hear(self.processor, _click(rate, at))).astype(np.float64) for at in (None, *CLICKS))
        if quiet.ndim == 1:
            return 0, 1 / rate
        for axis in (0, 1):
            first, second = (np.abs(array - quiet).sum(axis=1 - axis).argmax() for array in arrays)
            if second > first:
                return axis, (CLICKS[1] - CLICKS[0]) / int(second - first)
        raise ModelError(f"{self.name} has a feature extractor whose time cannot be told: two clicks lie alike.")


def _noise(n_samples: int) -> Float[np.ndarray, " sample"]:
    return np.random.default_rng(0).normal(0, 0.1, n_samples).astype(np.float32)


def _click(rate: int, at: float | None) -> Float[np.ndarray, " sample"]:
    """A second of silence, with a click somewhere."""
    samples = np.zeros(rate, dtype=np.float32)
    if at is not None:
        samples[round(at * rate)] = 1
    return samples
