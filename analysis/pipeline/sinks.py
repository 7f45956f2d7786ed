"""The sinks of a run whose inputs are all captured, and how a run is asked for them later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.progress import Progress, Report
from analysis.sinks import PUBLISHED, SinkFindings, SinkRule, find_sinks, received_at, token_classes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.store import Run, RunWriter

PURPOSES = ("cls", "bos", "sep", "eos")


def special_tokens(processor: Any) -> dict[str, str]:
    """What a tokenizer writes for each purpose; empty for image processors."""
    found = {name: getattr(processor, f"{name}_token", None) for name in PURPOSES}
    return {name: str(token) for name, token in found.items() if token is not None}


def measure_sinks(writer: RunWriter, special: Mapping[str, str], *, seed: int, report: Report) -> None:
    """Find the sinks of a run that is being made, at the default threshold, and store the table.

    Args:
        writer: The run; it holds the attention received on every input.
        special: As `special_tokens`.
        seed: Of the intervals.
        report: Told when it begins.
    """
    report(Progress("scores", message="Finding sinks", run_id=writer.run_id))
    reader = writer.reader()
    tokens = reader.tokens()
    found = find_sinks(lambda: received_at(reader, PUBLISHED), tokens, token_classes(tokens, special), seed=seed)
    writer.put_sinks(found.by_head)


def sinks_of(run: Run, rule: SinkRule = PUBLISHED) -> SinkFindings:
    """The sinks of a finished run under a rule of one's own.

    Args:
        run: An open run.
        rule: Threshold, fewest queries, and whether a token's own query counts.

    Raises:
        RunError: The run was made before sinks were measured.
    """
    tokens = run.tokens()
    classes = token_classes(tokens, run.manifest.get("special_tokens"))
    seed = int(run.manifest.get("spec", {}).get("seed", 0))
    return find_sinks(lambda: received_at(run, rule), tokens, classes, rule=rule, seed=seed)
