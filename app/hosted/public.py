"""What visitors of a public page may do: settings of the environment, and the answer to every question about them.

``QK_ATLAS_PUBLIC=1`` alone shows the runs there are and nothing can be started, deleted or written. With
``QK_ATLAS_PUBLIC_MODELS`` a visitor may run those models, within limits. `app/docs/public.md` lists the settings.
No streamlit in here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from analysis.errors import UserError

if TYPE_CHECKING:
    from app.jobs.requests.extraction import JobRequest

PUBLIC, PREFIX = "QK_ATLAS_PUBLIC", "QK_ATLAS_PUBLIC_"
_OFF = ("", "0", "false", "no", "off")
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
MB = 1_000_000


class NotHere(UserError):
    """A public page does not do this for its visitors."""


@dataclass(frozen=True)
class Limits:
    """Of a public page; each but `models` is ``QK_ATLAS_PUBLIC_`` and its name in capitals.

    Attributes:
        models: Names of bundled models and ids of the hub that visitors may run; none: they run nothing.
        max_inputs, max_tokens: Of a run; of more inputs the first so many are taken, more tokens are refused.
        max_seconds: A job takes at most, its dry run counted.
        max_memory_mb: A job holds at most, without what it only maps from files.
        max_upload_mb: All files of a run together.
        disk_mb: All runs and uploads of visitors together; the oldest runs go first.
        jobs_at_once: Work at a time, over all visitors.
        jobs_per_hour: Of one visitor.
        max_waiting: In line, over all visitors.
    """

    models: tuple[str, ...] = ()
    max_inputs: int = 200
    max_tokens: int = 20_000
    max_seconds: int = 600
    max_memory_mb: int = 4_000
    max_upload_mb: int = 5
    disk_mb: int = 2_000
    jobs_at_once: int = 1
    jobs_per_hour: int = 6
    max_waiting: int = 20


def limits(environment: Mapping[str, str] = os.environ) -> Limits | None:
    """The limits of this page; None where it is not public and everything may be done.

    Raises:
        UserError: A setting that cannot be read; the sentence names it.
    """
    if environment.get(PUBLIC, "").strip().lower() in _OFF:
        return None
    numbers = [each.name for each in fields(Limits) if each.name != "models"]
    given = {name: environment.get(f"{PREFIX}{name.upper()}", "").strip() for name in numbers}
    models = [name.strip() for name in environment.get(f"{PREFIX}MODELS", "").split(",") if name.strip()]
    for name in models:
        if not _MODEL.fullmatch(name):
            raise UserError(f"{PREFIX}MODELS names “{name[:80]}”: only bundled models and hub ids (owner/name) can be.")
    return Limits(tuple(models), **{name: _number(name, said) for name, said in given.items() if said})


def _number(name: str, said: str) -> int:
    if not re.fullmatch(r"\d{1,9}", said) or int(said) < 1:
        raise UserError(f"{PREFIX}{name.upper()} is “{said[:40]}”: give a whole number from 1.")
    return int(said)


def runs_models() -> bool:
    """Whether a text or image typed into the page goes through a model at once, and runs can be added to."""
    return limits() is None


def takes_jobs() -> bool:
    """Whether the page starts runs, of anybody or of visitors within limits."""
    known = limits()
    return known is None or bool(known.models)


def owner_only(what: str) -> None:
    """For what no visitor of a public page may do.

    Args:
        what: As in ``makes no exports``.

    Raises:
        NotHere: The page is public.
    """
    if limits() is not None:
        raise NotHere(f"This public page {what}: install QK Atlas to do that with your own copy.")


def allowed_run(request: JobRequest, known: Limits, bundled: Sequence[str], has_uploads: bool) -> JobRequest:
    """What a visitor asks for, cut to what a public page does.

    Args:
        bundled: Names of the data that comes with the project.
        has_uploads: The data comes with the request; its `data` is then not looked at.

    Raises:
        NotHere: Another model, or data that is neither bundled nor uploaded.
    """
    if request.model not in known.models:
        listed = ", ".join(known.models) or "none"
        raise NotHere(f"This public page does not run “{request.model[:80]}”. It runs: {listed}.")
    if not has_uploads and request.data not in bundled:
        raise NotHere("This public page reads bundled data, uploads and pasted texts, and no path of its machine.")
    limit = min(request.limit or known.max_inputs, known.max_inputs)
    return replace(request, limit=limit, run_id=None, attention="auto", load_in=None, device_map=None)


def check_size(n_bytes: int, known: Limits) -> None:
    """Of all files that a visitor sends for a run.

    Raises:
        NotHere: They are too large.
    """
    if n_bytes > known.max_upload_mb * MB:
        raise NotHere(
            f"The upload has {n_bytes / MB:,.1f} MB; this public page takes {known.max_upload_mb} MB at most."
        )


def too_much(plan: Mapping[str, float], known: Limits) -> str:
    """Why a planned run is not made, in one sentence; empty where it is.

    Args:
        plan: Of the dry run: n_inputs, n_tokens, memory_bytes, disk_bytes.
    """
    for name, unit, most in (("n_inputs", "inputs", known.max_inputs), ("n_tokens", "tokens", known.max_tokens)):
        if plan[name] > most:
            return f"It has {plan[name]:,} {unit}; this public page takes {most:,}: take fewer or shorter inputs."
    for name, what, most in (
        ("memory_bytes", "memory", known.max_memory_mb), ("disk_bytes", "disk", known.disk_mb)
    ):  # fmt: skip
        if plan[name] > most * MB:
            return (
                f"It needs about {plan[name] / MB:,.0f} MB of {what}; this public page gives {most:,} MB: take fewer "
                "or shorter inputs, or fewer layers."
            )
    return ""


def in_words(known: Limits) -> str:
    """What a visitor should know before asking."""
    minutes, memory = known.max_seconds / 60, known.max_memory_mb / 1000
    time = f"{minutes:.3g} minutes" if minutes >= 2 else f"{known.max_seconds} seconds"
    return (
        f"A run may have {known.max_inputs:,} inputs, {known.max_tokens:,} tokens, {time} and {memory:.3g} GB of "
        f"memory; {known.jobs_per_hour} runs an hour. Only you see it, and whoever has its link. When room runs out, "
        "the oldest of these runs are deleted."
    )
