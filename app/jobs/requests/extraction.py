"""What an extraction is asked to do, and the command line that does it. No streamlit in here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.errors import UserError
from analysis.inputs import BUNDLED_DATA
from analysis.models import BUNDLED_MODELS

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
"""A name on the hub, or of a bundled model; never a path that leaves its folder."""

_LAYERS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


@dataclass(frozen=True)
class JobRequest:
    """What one extraction is asked to do; `arguments` is the command line that does it.

    Attributes:
        model: Bundled name, hub id or a folder of this machine.
        data: Bundled name or a file or folder of this machine.
        limit: Most inputs to read, None for all.
        layers: As in ``0-3,11``, None for all.
        projections: Maps to make; none named = the command's default.
        run_id: Continue or name this run; None lets the command choose.
        attention: Whether attention is kept on disk: ``auto``, ``store`` or ``recompute``.
        part: ``whole``, or ``encoder`` for that of an encoder-decoder alone.
        target: What the decoder of an encoder-decoder reads: ``auto``, ``generate`` or ``same``.
        generate: Tokens that a decoder writes behind each text, at most.
        dtype: Numbers the model runs in.
        load_in: ``8bit`` for weights in 8 bits.
        device_map: ``auto`` to spread a model over devices.
        chat: ``auto`` for texts as turns of a chat, by the model's template.
    """

    model: str
    data: str
    limit: int | None = None
    layers: str | None = None
    projections: tuple[str, ...] = ()
    seed: int = 0
    run_id: str | None = None
    attention: str = "auto"
    part: str = "whole"
    target: str = "auto"
    generate: int = 0
    dtype: str = "float32"
    load_in: str | None = None
    device_map: str | None = None
    chat: str = "off"

    makes_run = True
    busy = "Run"
    doing = None
    stopping = "Stopping: the batch in hand is finished, so that the run can be resumed."
    kept = "What was captured is kept, and the run can be resumed."

    def __post_init__(self) -> None:
        object.__setattr__(self, "projections", tuple(self.projections))

    @property
    def title(self) -> str:
        """Of its card: model on data."""
        return f"{_last(self.model)} on {_last(self.data)}"

    def arguments(self) -> list[str]:
        """The command's arguments, each value bound to its option so that none can pass for one.

        Raises:
            UserError: A value no command could use, said in one sentence.
        """
        self._check()
        return ["extract", f"--model={self.model}", f"--data={self.data}", *self.settings()]

    def settings(self) -> list[str]:
        """The arguments besides model and data."""
        said = [f"--seed={self.seed}"]
        said += [f"--limit={self.limit}"] if self.limit is not None else []
        said += [f"--layers={self.layers}"] if self.layers else []
        said += [f"--attention={self.attention}"] if self.attention != "auto" else []
        said += [f"--part={self.part}"] if self.part != "whole" else []
        said += [f"--target={self.target}"] if self.target != "auto" else []
        said += [f"--generate={self.generate}"] if self.generate else []
        said += [f"--chat={self.chat}"] if self.chat != "off" else []
        said += [f"--dtype={self.dtype}"] if self.dtype != "float32" else []
        said += [f"--load-in={self.load_in}"] if self.load_in else []
        said += [f"--device-map={self.device_map}"] if self.device_map else []
        said += [f"--run-id={self.run_id}"] if self.run_id else []
        return said + (["--projection", *self.projections] if self.projections else [])

    def command(self) -> str:
        """The whole command, to paste into a shell.

        Raises:
            UserError: As `arguments`.
        """
        return shlex.join(["python", "-m", "analysis", *self.arguments()])

    def _check(self) -> None:
        for what, value in (("model", self.model), ("data", self.data)):
            if not value.strip() or any(ord(character) < 32 for character in value):
                raise UserError(f"No {what} was given: choose a bundled one, or name a hub id, file or folder.")
        if not HUB_ID.fullmatch(self.model) and not Path(self.model).is_dir():
            raise UserError(
                f"“{self.model}” is neither a hub id (owner/name) nor a folder here: check the spelling, or give the "
                "full path of a folder with config.json and model.safetensors."
            )
        if self.limit is not None and self.limit < 1:
            raise UserError(f"The limit is {self.limit} inputs; give 1 or more, or none for all.")
        if self.layers and not _LAYERS.fullmatch(self.layers):
            raise UserError(f"Layers “{self.layers}” are not a list like 0-3,11; leave it empty for all layers.")
        for name in (*self.projections, *([self.run_id] if self.run_id else [])):
            if not _NAME.fullmatch(name):
                raise UserError(f"“{name}” is not a plain name: use letters, digits, dots, dashes and underscores.")


def _last(name: str) -> str:
    """A path's last part; other names as they are."""
    return name.rstrip("/\\").replace("\\", "/").rpartition("/")[2] if name.startswith(("/", ".", "~")) else name


def request_of(spec: Mapping[str, Any], run_id: str) -> JobRequest:
    """The request that makes a run, from the settings the run has written down.

    Args:
        spec: Of the run; a key it lacks has its default. Model and data stand there by name, without a folder, so
            the request can be made again only when `is_repeatable`.
    """
    layers, maps = spec.get("layers"), spec.get("projection")
    return JobRequest(
        model=str(spec.get("model") or ""),
        data=str(spec.get("data") or ""),
        limit=spec.get("limit"),
        layers=",".join(str(layer) for layer in layers) if layers else None,
        projections=() if maps is None else tuple(maps) or ("none",),
        seed=int(spec.get("seed") or 0),
        run_id=run_id,
        attention=str(spec.get("attention") or "auto"),
        part=str(spec.get("part") or "whole"),
        target=str(spec.get("target") or "auto"),
        generate=int(spec.get("generate") or 0),
        dtype=str(spec.get("dtype") or "float32"),
        load_in=spec.get("load_in"),
        device_map="auto" if spec.get("device_map") == "auto" else None,
        chat=str(spec.get("chat") or "off"),
    )


def is_repeatable(spec: Mapping[str, Any]) -> bool:
    """Whether model and data are found by their names alone: bundled data, and a bundled model or one of the hub; and
    no device map of a file is needed.

    A folder's model is told by its revision, a fingerprint of the files instead of a commit.
    """
    model, revision = spec.get("model"), str(spec.get("model_revision") or "sha256:")
    is_named = model in BUNDLED_MODELS or (isinstance(model, str) and not revision.startswith("sha256:"))
    return is_named and spec.get("data") in BUNDLED_DATA and not isinstance(spec.get("device_map"), Mapping)
