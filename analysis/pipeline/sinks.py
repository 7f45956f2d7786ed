"""The sinks of a run whose inputs are all captured, and how a run is asked for them later."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from analysis.progress import Progress, Report
from analysis.sinks import PUBLISHED, USUAL, SinkFindings, SinkRule, find_sinks, received_at, token_classes
from analysis.sinks.levels import LevelRule, Levels, find_levels
from analysis.sinks.summary import sum_up
from analysis.sinks.towers import Tower, read_tower

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from analysis.store import Run, RunWriter
    from analysis.store.reading import Reader

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
    writer.put_sinks(_find(writer.reader(), special, PUBLISHED, seed).by_head)


def _find(run: Reader, special: Mapping[str, str] | None, rule: SinkRule, seed: int) -> SinkFindings:
    """The sinks among the tokens of each sequence; positions count within it."""
    import pandas as pd

    from analysis.store.one_sequence import OneSequence, each_sequence

    parts = []
    for part in each_sequence(run):
        tokens = part.tokens()
        each_site = partial(received_at, run, rule, part.sites)
        found = find_sinks(each_site, tokens, token_classes(tokens, special), rule=rule, seed=seed)
        if isinstance(part, OneSequence):
            found = found._replace(overall=found.overall.assign(sequence=part.sequence))
        parts.append(found)
    tables = ([getattr(part, name) for part in parts] for name in SinkFindings._fields)
    return SinkFindings(*(pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0] for frames in tables))


def sinks_of(run: Run, rule: SinkRule = PUBLISHED) -> SinkFindings:
    """The sinks of a finished run under a rule of one's own.

    Args:
        run: An open run.
        rule: Threshold, fewest queries, and whether a token's own query counts.

    Returns:
        As `find_sinks`. Where an input is several sequences, positions count within that of the site's keys, and
        `overall` has a row for each ``sequence``.

    Raises:
        RunError: The run was made before sinks were measured.
    """
    seed = int(run.manifest.get("spec", {}).get("seed", 0))
    return _find(run, run.manifest.get("special_tokens"), rule, seed)


def classes_of(run: Run) -> np.ndarray:
    """The class of every token of a run, or of one sequence of it, in token-table order; see
    `analysis.sinks.token_classes`."""
    return token_classes(run.tokens(), run.manifest.get("special_tokens"))


def width_of(run: Run, stack: str) -> int:
    """Width of the residual state of a tower."""
    site = next(site for site in run.sites if site.stack_label == stack)
    return int(run.manifest.get("d_model") or site.n_heads * site.d_head)


def levels_of(run: Run, tower: Tower, rule: LevelRule | None = None) -> Levels | None:
    """The levels of a tower's sinks; None where the run has no figures of its states."""
    from analysis.store.one_sequence import of_stack

    figures = run.state_figures(tower.stack)
    return find_levels(tower, figures, of_stack(run, tower.stack).tokens(), rule) if figures else None


def sum_up_sinks(run: Run, stack: str | None = None, rule: SinkRule = USUAL) -> str:
    """What the sinks of a tower are, in a few sentences.

    Args:
        run: An open run.
        stack: Label of the tower; the first one where none is given.
        rule: What a sink is.

    Raises:
        RunError: The run was made before sinks were measured.
    """
    from analysis.store.one_sequence import of_stack

    part = of_stack(run, stack)
    tower = read_tower(part, stack, rule)
    return sum_up(tower, levels_of(run, tower), part.tokens(), classes_of(part))
