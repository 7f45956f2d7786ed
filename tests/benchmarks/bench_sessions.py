"""Twenty visitors at once while a job extracts: every answer against the answer given alone, and how long each took.

Twice: twenty websocket sessions that open pages of a served app, and twenty threads that ask the reader of a run, from
which the pages read, with nothing kept in between. Each waits half a second to a second and a half between two looks.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.store import open_run
from analysis.store.run import Run
from app import jobs
from app.jobs.requests.extraction import JobRequest
from tests.e2e.serving import served
from tests.faults.sessions import Answer, Visitor
from tests.store.synthetic import make_synthetic_run

N_VISITORS, N_LAYERS, N_HEADS, N_INPUTS = 20, 6, 12, 50
_NUMBERS = itertools.count()
"""A run that is there already would not be made again."""

PAGES = ("", "head", "input", "heads", "sinks")


def run(quick: bool = False) -> str:
    """Measure and return a markdown table; raises where an answer is wrong."""
    n_looks = 5 if quick else 15
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        size = {"n_layers": N_LAYERS, "n_heads": N_HEADS, "n_inputs": N_INPUTS, "n_tokens": 118, "d_head": 32}
        make_synthetic_run(runs, "read", **size)
        rows = []
        for title, measure in (("a page, over its websocket", _pages), ("a query to the reader", _queries)):
            for is_busy in (False, True):
                with _extracting(runs) if is_busy else _nothing():
                    times, n_wrong = measure(runs, folder, n_looks)
                    job = "a job extracting" if is_busy else "no job"
                    rows.append((f"{title}, {job}", len(times), n_wrong, *_figures(times), f"{os.getloadavg()[0]:.1f}"))
    lines = ["| what | answers | errors or wrong | median | p95 | slowest | load |", "|---|---|---|---|---|---|---|"]
    assert not any(row[2] for row in rows)
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _figures(times: list[float]) -> list[str]:
    ordered = sorted(times)
    three = statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))], ordered[-1]
    return [f"{1000 * each:.0f} ms" for each in three]


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _extracting(runs: Path) -> Iterator[None]:
    """A job that the page would start, until it ends or is no longer wanted; under way when this begins."""
    request = JobRequest(
        model="demo-language", data="demo-sentences", projections=("atlas",), run_id=f"meanwhile-{next(_NUMBERS)}"
    )
    job = jobs.start_job(runs, request)
    while jobs.read_job(runs, job.job_id).progress.get("stage") != "capture":
        assert jobs.read_job(runs, job.job_id).state == jobs.RUNNING
        time.sleep(0.2)
    try:
        yield
        ended = jobs.read_job(runs, job.job_id)
        assert ended.state in (jobs.RUNNING, jobs.DONE), ended.error
    finally:
        jobs.cancel_job(runs, job.job_id)
        while jobs.read_job(runs, job.job_id).state == jobs.RUNNING:
            time.sleep(0.2)


def _at_once(work: Callable[[int], list[Any]]) -> list[Any]:
    with ThreadPoolExecutor(N_VISITORS) as pool:
        return [found for part in pool.map(work, range(N_VISITORS)) for found in part]


def _pages(runs: Path, folder: str, n_looks: int) -> tuple[list[float], int]:
    chosen = random.Random(0)
    site, head, of_input = (chosen.choices(range(n), k=12) for n in (N_LAYERS, N_HEADS, N_INPUTS))
    asked = [
        (page, f"run=read&site=text.enc.self.{site[k]}&head={head[k]}&input={of_input[k]}")
        for page in PAGES
        for k in range(12)
    ]
    with served(runs, Path(folder) / "log.txt") as address:
        with Visitor(address) as first:
            for page in PAGES:
                first.look(page, "run=read")
        alone = {each: _fresh(address, *each) for each in asked}

        def visit(number: int) -> list[tuple]:
            own, found = random.Random(number), []
            for _ in range(n_looks):
                time.sleep(own.uniform(0.5, 1.5))
                each = own.choice(asked)
                found.append((each, _fresh(address, *each)))
            return found

        answers = _at_once(visit)
    wrong = sum(bool(answer.errors) or answer.parts != alone[each].parts for each, answer in answers)
    return [answer.seconds for _, answer in answers], wrong


def _fresh(address: str, page: str, query: str) -> Answer:
    """As of one who opens a link: a session numbers its fields anew when it goes to another selection."""
    with Visitor(address) as visitor:
        return visitor.look(page, query)


def _queries(runs: Path, folder: str, n_looks: int) -> tuple[list[float], int]:
    with open_run("read", runs) as run:
        asked = [(kind, *place) for kind in range(6) for place in _places(random.Random(kind))]
        alone = {each: _ask(run, each) for each in asked}

        def visit(number: int) -> list[tuple]:
            own, found = random.Random(number), []
            for _ in range(4 * n_looks):
                time.sleep(own.uniform(0.5, 1.5) / 4)
                each = own.choice(asked)
                began = time.perf_counter()
                answer = _ask(run, each)
                found.append((time.perf_counter() - began, _same(answer, alone[each])))
            return found

        answers = _at_once(visit)
    return [seconds for seconds, _ in answers], sum(not same for _, same in answers)


def _places(chosen: random.Random) -> list[tuple[int, int, int]]:
    return [tuple(chosen.randrange(n) for n in (N_LAYERS, N_HEADS, N_INPUTS)) for _ in range(20)]


def _ask(run: Run, asked: tuple[int, int, int, int]) -> Any:
    kind, layer, head, input_id = asked
    site = run.sites[layer]
    return (
        lambda: run.attention(site, head, input_id),
        lambda: run.queries(site, head),
        lambda: run.keys(site, head),
        lambda: run.coordinates(projection="atlas-2d", site=site, head=head),
        lambda: run.sql("SELECT text, count(*) FROM tokens WHERE input_id = ? GROUP BY text ORDER BY ALL", [input_id]),
        lambda: run.head_scores(),
    )[kind]()  # fmt: skip


def _same(one: Any, other: Any) -> bool:
    return one.equals(other) if isinstance(one, pd.DataFrame) else bool(np.array_equal(one, other))


if __name__ == "__main__":
    print(run())
