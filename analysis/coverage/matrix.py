"""Every model type of transformers tried in turn, each in a process that may run late or fall over."""

from __future__ import annotations

import json
import os
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from analysis.coverage.report import TypeReport, not_tested
from analysis.errors import InputError

SECONDS_A_TYPE = 120
TYPES_A_PROCESS = 40
"""Then a fresh one takes over: tiny models leave memory behind."""

SAMPLE = (
    "albert", "audio-spectrogram-transformer", "bart", "beit", "bert", "bigbird_pegasus", "blip", "bloom", "clip",
    "codegen", "convbert", "data2vec-vision", "deberta", "deberta-v2", "deit", "dinov2", "dinov2_with_registers",
    "distilbert", "electra", "falcon", "flaubert", "fnet", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "gpt_oss",
    "hubert", "llama", "longformer", "luke", "mamba", "mistral", "modernbert", "mpt", "resnet", "swin", "t5",
    "wav2vec2", "whisper", "xlnet",
)  # fmt: skip
"""Types of every kind that the tests try each time."""


def model_types() -> list[str]:
    """Every model type that transformers builds with ``AutoModel``."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return list(MODEL_MAPPING_NAMES)


def try_type(model_type: str) -> TypeReport:
    """Build a tiny model of a type, run it on a made-up input and judge what is captured."""
    from analysis.coverage.first import tiny_model_and_input
    from analysis.coverage.judge import judge_model

    _be_quiet()
    previous = signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(SECONDS_A_TYPE)
    try:
        return judge_model(model_type, *tiny_model_and_input(model_type))
    except Exception as error:
        return not_tested(model_type, error)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def measure(
    types: list[str],
    n_processes: int,
    tell: Callable[[TypeReport], None],
    attempt: Callable[[str], TypeReport] = try_type,
) -> list[TypeReport]:
    """Reports on these types in their order; one that takes its process with it is reported as not tested.

    Args:
        tell: Given each report as it comes.
        attempt: What is done for each type, in another process.
    """
    found: dict[str, TypeReport] = {}
    for begin in range(0, len(types), n_processes * TYPES_A_PROCESS):
        left = types[begin : begin + n_processes * TYPES_A_PROCESS]
        while left:
            n_before = len(found)
            for report in _together(left, n_processes, attempt):
                found[report.model_type] = report
                tell(report)
            left = [name for name in left if name not in found]
            if left and len(found) == n_before:  # the first that is left took its process with it
                name = left.pop(0)
                found[name] = not_tested(name, RuntimeError("its process ended without a word"))
                tell(found[name])
    return [found[name] for name in types]


def _together(types: list[str], n_processes: int, attempt: Callable[[str], TypeReport]) -> Iterator[TypeReport]:
    """Reports on these types in their order, up to the first that ends its process."""
    with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
        try:
            for future in [pool.submit(attempt, name) for name in types]:
                yield future.result()
        except BrokenProcessPool:
            return


def write_table(reports: list[TypeReport], path: Path) -> None:
    """The table as JSON, a type a line, with the versions it was measured with."""
    head = {"transformers": version("transformers"), "torch": version("torch").split("+")[0]}
    rows = ",\n".join(json.dumps(as_row(report)) for report in sorted(reports, key=lambda each: each.model_type))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{"versions": {json.dumps(head)}, "types": [\n{rows}\n]}}\n', encoding="utf-8")


def as_row(report: TypeReport) -> dict[str, Any]:
    """Plain values only, for JSON."""
    return {**asdict(report), "exact": report.is_exact}


def summary(reports: list[TypeReport]) -> str:
    """The counts in a sentence each."""
    routes = Counter(report.route for report in reports)
    tested = [report for report in reports if report.is_tested]
    with_attention = [report for report in tested if report.has_attention]
    return "\n".join(
        [
            f"{len(reports)} model types, {len(tested)} tested, {len(with_attention)} of them with attention",
            *(f"  {route:<20} {count}" for route, count in routes.most_common()),
            f"exact, with queries and keys   {sum(report.is_exact for report in reports)}",
            f"usable in some way             {sum(report.is_usable for report in reports)}",
        ]
    )


def choose(names: list[str]) -> list[str]:
    """All types, or these.

    Raises:
        InputError: transformers has none of that name.
    """
    known = model_types()
    if unknown := [name for name in names if name not in known]:
        near = [name for name in known if unknown[0].replace("_", "-") in name.replace("_", "-")][:5]
        raise InputError(
            f"transformers {version('transformers')} has no model type {unknown[0]!r}"
            f"{'; near it: ' + ', '.join(near) if near else ''}. A type is the model_type of a config.json."
        )
    return names or known


def _be_quiet() -> None:
    import torch
    from transformers.utils import logging

    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    torch.set_num_threads(1)


def _too_late(*_: object) -> None:
    raise TimeoutError(f"it took longer than {SECONDS_A_TYPE} s")
