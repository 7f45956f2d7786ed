"""Which settings make sense for a model, from its config.json alone. No streamlit in here."""

from __future__ import annotations

import json
from pathlib import Path

from analysis.models import BUNDLED_MODELS

PAIR, WRITES, OTHER, UNKNOWN = "encoder and decoder", "writes text", "other", "not known"

_WRITERS = ("ForCausalLM", "LMHeadModel")


def model_kind(model: str) -> str:
    """`PAIR` (an encoder with a decoder of texts), `WRITES` (a decoder that goes on with a text), `OTHER`, or `UNKNOWN`
    where the config is not on this machine.

    Args:
        model: Bundled name, folder or hub id.
    """
    path = Path(BUNDLED_MODELS.get(model, model or ".")) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return UNKNOWN
    if not isinstance(config, dict):
        return UNKNOWN
    if config.get("is_encoder_decoder"):
        return PAIR
    named = config.get("architectures") or []
    return WRITES if any(str(name).endswith(_WRITERS) for name in named) else OTHER
