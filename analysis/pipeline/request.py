"""What the user asked for, checked before anything slow starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.errors import UserError

ENGINES = ("local", "ray")
"""Where an extraction can run."""

MOST_GENERATED = 512
"""Tokens that a model may be asked to write behind each text."""


@dataclass(frozen=True)
class Request:
    """A checked request for an extraction; see `analysis.pipeline.extract` for the fields."""

    model: str
    data: str
    limit: int | None
    layers: frozenset[int] | None
    attention: str
    projection: tuple[str, ...]
    seed: int
    run_id: str | None
    states: str = "auto"
    part: str = "whole"
    target: str = "auto"
    generate: int = 0
    dtype: str = "float32"
    load_in: str | None = None
    device_map: Any = None
    chat: str = "off"
    engine: str = "local"
    workers: int | None = None
    shards: str | None = None

    @property
    def loading(self) -> dict[str, Any]:
        """How the model is loaded, as `analysis.models.load_model` takes it."""
        return {"dtype": self.dtype, "load_in": self.load_in, "device_map": self.device_map}


def checked(
    model: str | Path,
    data: str | Path,
    limit: int | None = None,
    layers: str | None = None,
    attention: str = "auto",
    projection: Sequence[str] = ("atlas",),
    seed: int = 0,
    engine: str = "local",
    run_id: str | None = None,
    states: str = "auto",
    part: str = "whole",
    target: str = "auto",
    generate: int = 0,
    dtype: str = "float32",
    load_in: str | None = None,
    device_map: Any = None,
    chat: str = "off",
    workers: int | None = None,
    shards: str | None = None,
) -> Request:
    """The request, when everything about it that can be known at once is right.

    Raises:
        UserError: An unknown map, layers that cannot be read, an engine that is not there.
    """
    from analysis.projection.naming import MapKind

    _check_engine(engine, workers, shards)
    if attention not in ("auto", "store", "recompute"):
        raise UserError(f"Attention can be kept as auto, store or recompute; got {attention!r}.")
    if states not in ("auto", "on", "off"):
        raise UserError(f"Residual states can be measured as auto, on or off; got {states!r}.")
    if part not in ("whole", "encoder"):
        raise UserError(f"Of an encoder-decoder the whole or the encoder can be looked at; got {part!r}.")
    if target not in ("auto", "generate", "same"):
        raise UserError(f"The decoder can read auto, generate or same; got {target!r}.")
    if chat not in ("auto", "off"):
        raise UserError(f"Texts can be turns of a chat (auto) or plain (off); got --chat {chat!r}.")
    if not 0 <= generate <= MOST_GENERATED:
        raise UserError(f"A model can write 1 to {MOST_GENERATED:,} tokens behind each text; got {generate:,}.")
    names = tuple(dict.fromkeys(name for name in projection if name != "none"))
    for name in names:
        MapKind.parse(name)
    return Request(
        str(model), str(data), limit, parse_layers(layers), attention, names, seed, run_id, states, part, target,
        generate, dtype, load_in, device_map, chat, engine, workers, shards,
    )  # fmt: skip


def _check_engine(engine: str, workers: int | None, shards: str | None) -> None:
    if engine not in ENGINES:
        raise UserError(f"There is no engine {str(engine)[:100]!r}; known: {', '.join(ENGINES)}.")
    if engine == "local" and (workers is not None or shards is not None):
        raise UserError("Workers and a folder for shards are of --engine ray; the engine local has neither.")
    if engine == "ray":
        from analysis.engines.ray_cluster import check_ray

        check_ray()
    if workers is not None and workers < 1:
        raise UserError(f"There can be 1 worker or more; got {workers}.")


def parse_layers(text: str | None) -> frozenset[int] | None:
    """``"0-3,11"`` to the set {0, 1, 2, 3, 11}; None stays None (all layers)."""
    return None if text is None else parse_numbers(text, "--layers")


def parse_numbers(text: str, option: str) -> frozenset[int]:
    """``"0-3,11"`` to the set {0, 1, 2, 3, 11}.

    Raises:
        UserError: It is written otherwise, or a number has more than seven digits; the message names the option.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,7})(?:\s*-\s*(\d{1,7}))?\s*", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise UserError(f"{option} expects numbers and ranges such as 0-3,11; got {text[:80]!r}.")
        numbers |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(numbers)
