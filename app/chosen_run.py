"""Which run the page shows, and what it has to offer."""

from __future__ import annotations

import pandas as pd

from analysis.errors import RunError, UserError
from analysis.models import BUNDLED_MODELS
from app import cache
from app.state import RunFacts, Selection

FIRST_MODEL = "demo-language"
"""The bundled model of the first look: it has the heads that the tour goes to."""

_LISTED = 6
_SHOWN_LETTERS = 60


def open_chosen(selection: Selection) -> tuple[RunFacts | None, str]:
    """What the run to show offers, or None and the sentence that says why there is nothing; empty without any run."""
    try:
        return open_facts(chosen_run(selection)), ""
    except UserError as error:
        return None, str(error)


def chosen_run(selection: Selection) -> str | None:
    """The run to show: the one asked for, else the first look; None when there is none at all.

    Raises:
        RunError: The run asked for does not exist, with the ones that do; or its name is the beginning of several.
    """
    runs = cache.runs(selection.run)
    return first_look(runs) if selection.run is None else _named(selection.run, list(runs["run_id"]))


def first_look(runs: pd.DataFrame) -> str | None:
    """The newest complete run; where all of them are bundled demos, the newest of the language model.

    Args:
        runs: As `analysis.list_runs` gives them.
    """
    complete = runs[runs["status"] == "complete"].sort_values("created", ascending=False)
    if complete["model"].isin(list(BUNDLED_MODELS)).all() and (complete["model"] == FIRST_MODEL).any():
        complete = complete[complete["model"] == FIRST_MODEL]
    return None if complete.empty else str(complete["run_id"].iloc[0])


def open_facts(run_id: str | None) -> RunFacts | None:
    """What the run offers; None without a run.

    Raises:
        RunError: It is damaged, with what to do.
    """
    if run_id is None:
        return None
    try:
        return cache.facts(run_id)
    except RunError as error:
        runs = cache.runs(run_id)
        if "partial" in set(runs.loc[runs["run_id"] == run_id, "status"]):
            raise RunError(
                f"Run {run_id!r} is unfinished: go on with it on the page Runs, or pick another run in the left column."
            ) from error
        cure = "extract it again, or pick another run in the left column"
        raise RunError(f"{str(error).rstrip('.')}; {cure}.") from error


def _named(asked: str, known: list[str]) -> str:
    """The run of that name, or the only one whose name begins so."""
    if asked in known:
        return asked
    begin_so = [run for run in known if asked and run.startswith(asked)]
    if len(begin_so) == 1:
        return begin_so[0]
    shown = asked if len(asked) <= _SHOWN_LETTERS else asked[: _SHOWN_LETTERS - 1] + "…"
    if begin_so:
        raise RunError(
            f"{shown!r} is the beginning of several runs ({', '.join(begin_so[:_LISTED])}): give more of the name, or "
            "pick one in the left column."
        )
    listed = ", ".join(known[:_LISTED]) or "no runs yet"
    raise RunError(f"There is no run {shown!r} here (there are: {listed}); pick one in the left column.")
