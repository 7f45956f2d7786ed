"""``python -m analysis doctor``: what can be captured from a model, by which route, with which differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.capture.batch import Encoded
from analysis.capture.plan import CapturePlan, make_plan
from analysis.errors import CaptureRefused
from analysis.models import LoadedModel, load_model
from analysis.types import Band, Site

SENTENCE = "When Mary and John went to the store, John gave a drink to Mary, and Mary gave the drink back to John. "
USUAL_TOKENS, MOST_TOKENS = 128, 1024


@dataclass(frozen=True)
class DoctorReport:
    """The plan and certificate of one model, or why it is refused.

    Attributes:
        model: What was loaded.
        plan: None when refused.
        refusal: The reason and what was tried; empty when there is a plan.
    """

    model: LoadedModel
    plan: CapturePlan | None
    refusal: str = ""

    @property
    def is_healthy(self) -> bool:
        """True when every attention call of the model can be captured."""
        return self.plan is not None and not self.plan.certificate["left_out"]

    def as_dict(self) -> dict[str, Any]:
        """Plain values only, for JSON."""
        return {
            "model": self.model.name,
            "revision": self.model.revision,
            "model_type": self.model.model_type,
            "modality": self.model.modality,
            "n_parameters": self.model.n_parameters,
            "max_tokens": self.model.max_tokens,
            "device": self.model.device,
            "dtype": self.model.dtype,
            "load_in": self.model.load_in,
            "devices": list(self.model.devices),
            "refusal": self.refusal,
            "sites": [site.as_dict() for site in self.plan.sites] if self.plan else [],
            "certificate": self.plan.certificate if self.plan else {},
        }

    def as_text(self) -> str:
        """The report for a terminal."""
        model = self.model
        lines = [
            f"{model.name}  {model.revision[:19]}",
            f"{model.model_type}, {model.modality}, {model.n_parameters / 1e6:.1f} M parameters, "
            f"{model.ran_as}, at most {model.max_tokens or 'any number of'} tokens",
            "",
        ]
        if self.plan is None:
            return "\n".join([*lines, f"refused: {self.refusal}"])
        certificate = self.plan.certificate
        lines += [
            f"dry run on {certificate['n_tokens']} tokens, {certificate['implementation']} attention",
            f"  outputs with and without capture     {_difference(certificate['outputs_max_abs_diff'])}",
            f"  attention, against the model's own   {_difference(certificate['attention_max_abs_diff'])}"
            f"{'' if certificate['eager'] == 'compared' else '  (' + certificate['eager'] + ')'}",
            f"  attention times values, of its size  {_difference(certificate['values_max_abs_diff'])}",
            f"  attention from stored fp16 q and k   {_difference(certificate['recomputed_max_abs_diff'])}",
            "",
            f"{len(self.plan.sites)} sites, {sum(site.n_heads for site in self.plan.sites)} heads",
            *(_site_line(site) for site in self.plan.sites),
        ]
        left_out = certificate["left_out"]
        if left_out:
            lines += ["", f"{len(left_out)} left out", *(f"  {key}: {reason}" for key, reason in left_out.items())]
        return "\n".join(lines)


def doctor(name: str, *, modality: str | None = None, **loading: Any) -> DoctorReport:
    """Load a model, run it dry on a made-up input and report what can be captured.

    Args:
        loading: How to load it, as `load_model` takes it: device, dtype, load_in, device_map.

    Raises:
        ModelError: The model cannot be loaded.
    """
    loaded = load_model(name, modality=modality, **loading)
    try:
        return DoctorReport(loaded, make_plan(loaded, dry_input(loaded)))
    except CaptureRefused as refusal:
        return DoctorReport(loaded, None, str(refusal))


def examine(name: str, modality: str | None = None, **loading: Any) -> list[DoctorReport]:
    """A report for the tower of this modality; without one, for every tower of the model, as CLIP has two.

    Args:
        loading: As `doctor` takes it.

    Raises:
        ModelError: The model cannot be loaded.
    """
    first = doctor(name, modality=modality, **loading)
    others = [] if modality else [other for other in first.model.reads if other != first.model.modality]
    reports = [first, *(doctor(name, modality=other, **loading) for other in others if other in ("text", "vision"))]
    return sorted(reports, key=lambda report: report.model.modality)


def dry_input(loaded: LoadedModel) -> Encoded:
    """A made-up input: a sentence long enough to show sliding windows, or a seeded random image."""
    if loaded.modality == "text":
        return _sentence(loaded)
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    encoded = loaded.processor(images=Image.fromarray(pixels), return_tensors="np")
    return loaded.with_noise({key: np.asarray(value[0]) for key, value in encoded.items()})


def _sentence(loaded: LoadedModel) -> Encoded:
    window = getattr(loaded.module.config, "sliding_window", None) or 0
    n_tokens = min(loaded.max_tokens or MOST_TOKENS, max(USUAL_TOKENS, int(window) + 16), MOST_TOKENS)
    text = SENTENCE * (n_tokens // 8)
    encoded = {k: np.asarray(v) for k, v in loaded.processor(text, truncation=True, max_length=n_tokens).items()}
    if loaded.sequences:
        # Another length than the encoder's, so that the two cannot be taken for each other.
        encoded["decoder_input_ids"] = np.asarray(
            loaded.decoder_reads(encoded["input_ids"][: -(n_tokens // 4)].tolist())
        )
    return encoded


def _site_line(site: Site) -> str:
    keys = "" if site.n_kv_heads == site.n_heads else f" ({site.n_kv_heads} key heads)"
    extras = [
        _band_words(site.band),
        f"soft-cap {site.softcap:g}" if site.softcap else "",
        "learned sinks" if site.has_sink_logits else "",
        "position bias" if site.has_position_bias else "",
        "" if site.recomputable else "attention is stored",
    ]
    words = ", ".join(extra for extra in extras if extra)
    width = f" x {site.d_head}" if site.has_vectors else ", no queries and keys"
    return f"  {site.label:<22} {site.route:<10} {site.n_heads} heads{keys}{width}  {words}"


def _band_words(band: Band | None) -> str:
    if band is None:
        return "irregular mask"
    if band.right == 0:
        return "causal" if band.left is None else f"causal, window {band.left + 1}"
    if band.left is None and band.right is None:
        return "full"
    return f"{'any' if band.left is None else band.left} back, {'any' if band.right is None else band.right} ahead"


def _difference(value: float | None) -> str:
    if value is None:
        return "not compared"
    return "identical" if value == 0 else f"{value:.1e}"
