"""Kills in mid-work, and what must hold after each of them: shared by the tests and by ``bench_faults``."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.errors import RunError
from analysis.store import list_runs, open_run, verify
from analysis.store.run import Run
from analysis.store.schema import RESULT_TABLES, RUN_TABLES
from tests.faults.nursery import KILLED, Nursery, read_notes
from tests.faults.publishing import MAP, RUN
from tests.store.synthetic import make_synthetic_run


@dataclass
class Kills:
    """What a series of kills came to.

    Attributes:
        n_kills: Processes that died by the kill.
        lost: Inputs, or heads of a map, that were acknowledged and had to be done again.
        redone: Of every kill, batches that the model had run and that were not stored yet.
        stages: Where the kills struck, by what had happened last.
    """

    n_kills: int = 0
    lost: int = 0
    redone: list[int] = field(default_factory=list)
    stages: dict[str, int] = field(default_factory=dict)

    def strike(self, stage: str) -> None:
        """Count a kill."""
        self.n_kills += 1
        self.stages[stage] = self.stages.get(stage, 0) + 1


class Workshop:
    """A run never killed, and the same commands to be killed.

    Args:
        nursery: Starts them.
        folder: For everything.
        n_texts: Inputs of the run.
        layers: Of the bundled language model.
        with_map: Also the map, for kills while it is made.
    """

    def __init__(self, nursery: Nursery, folder: Path, n_texts: int, layers: str, with_map: bool = True) -> None:
        self._begin(nursery, folder)
        self.data = folder / "texts.txt"
        words = "the boat and the net and the lamp were old".split()
        picked = random.Random(7)
        texts = [f"Story {n}: {' '.join(picked.choices(words, k=10 + n % 30))}." for n in range(n_texts)]
        self.data.write_text("\n".join(texts) + "\n")
        self._layers = layers
        self._make_reference(with_map)

    def extract_arguments(self, runs: Path) -> list[str]:
        """Of the command that makes the run."""
        return [
            "extract", "--model=demo-language", f"--data={self.data}", f"--out={runs}", f"--run-id={RUN}",
            f"--layers={self._layers}", "--projection", "pca",
        ]  # fmt: skip

    def project_arguments(self, runs: Path) -> list[str]:
        """Of the command that adds the map."""
        return ["project", RUN, "--method=linear", f"--out={runs}"]

    def copy_of_run(self) -> None:
        """The finished run without its addition, to be added to."""
        self.put(self.reference, shutil.ignore_patterns("add-*", ".add-*"))

    def put(self, source: Path, ignore: Any = None) -> None:
        """A copy of a folder of runs as `runs`, in one step, for a watcher looks at it."""
        shutil.copytree(source, self.folder / "copy", ignore=ignore)
        self.put_away()
        (self.folder / "copy").rename(self.runs)

    def put_away(self) -> None:
        """No `runs` any more, in one step."""
        self.swaps += 1
        if self.runs.exists():
            self.runs.rename(self.folder / "away")
            shutil.rmtree(self.folder / "away")

    def said(self) -> str:
        """What the last command printed."""
        return Path(f"{self.notes}.err").read_text()

    def check_finished(self) -> None:
        """The run in `runs` is the one never killed, to the last value."""
        assert verify(self.runs / RUN).ok
        with open_run(RUN, self.runs) as run, open_run(RUN, self.reference) as reference:
            assert not run.problems
            assert_same(run, reference)

    def _begin(self, nursery: Nursery, folder: Path) -> None:
        self.nursery, self.folder, self.notes = nursery, folder, folder / "notes.jsonl"
        self.runs, self.reference = folder / "runs", folder / "reference"
        self.swaps = 0

    def _make_reference(self, with_map: bool = True) -> None:
        self._finish(self.extract_arguments(self.reference))
        self.extract_s = self._seconds()
        if with_map:
            self._finish(self.project_arguments(self.reference))
            self.project_s = self._seconds()

    def _finish(self, arguments: list[str]) -> None:
        assert self.nursery.run(arguments, self.notes) == 0, self.said()

    def _seconds(self) -> float:
        times = [each["at"] for each in read_notes(self.notes)]
        return max(times) - min(times)


class MapShop(Workshop):
    """Of a run made without a model, to which the real command adds a map: for a light nursery."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self._begin(nursery, folder)
        size = {"n_inputs": 12, "n_tokens": 20, "n_layers": 3, "n_heads": 4}
        make_synthetic_run(self.reference, RUN, with_projection=False, **size)
        self._finish(self.project_arguments(self.reference))
        self.project_s = self._seconds()


class PublishShop(Workshop):
    """The same with the commands of `publishing`."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self._begin(nursery, folder)
        self._make_reference()

    def extract_arguments(self, runs: Path) -> list[str]:
        """Of the command that makes the run."""
        return ["publish-run", str(runs)]

    def project_arguments(self, runs: Path) -> list[str]:
        """Of the command that adds the map."""
        return ["publish-map", str(runs)]


def assert_same(run: Run, reference: Run) -> None:
    """Every table of two runs, and of an addition that both have, holds the same rows; when a map was made aside."""
    has_map = (run.path / f"add-{MAP}.json").exists()
    tables = [f"run.main.{table}" for table in dict.fromkeys([*RUN_TABLES, *RESULT_TABLES])]
    for table in [*tables, *(f"addon_1.main.{table}" for table in RESULT_TABLES if has_map)]:
        first, second = (each.sql(f"SELECT * FROM {table} ORDER BY ALL") for each in (run, reference))
        if table.endswith(".projections"):
            first, second = (frame.drop(columns="created") for frame in (first, second))
        assert first.equals(second), f"{table} differs"


def kill_extraction(shop: Workshop, n_kills: int, seed: int) -> Kills:
    """Kill it, start it again, and again; a run that gets through is compared, and the next begun."""
    found, chosen = Kills(), random.Random(seed)
    acknowledged: set[int] = set()
    waiting: list[tuple[int, ...]] = []
    while found.n_kills < n_kills:
        pid = shop.nursery.start(shop.extract_arguments(shop.runs), shop.notes)
        status = shop.nursery.kill_when(pid, _after(shop, chosen.uniform(0, 1.2 * shop.extract_s), ("captured",)))
        captured, stored, last = _batches(shop)
        found.lost += len(acknowledged & {i for batch in captured for i in batch})
        if waiting:
            found.redone[-1] = len(set(waiting) & set(captured))
        acknowledged |= {i for batch in stored for i in batch}
        waiting = [batch for batch in captured if batch not in stored]
        if status == KILLED:
            found.strike(last)
            found.redone.append(0)
            continue
        assert status == 0, shop.said()
        shop.check_finished()
        shop.put_away()
        acknowledged, waiting = set(), []
    assert shop.nursery.run(shop.extract_arguments(shop.runs), shop.notes) == 0, shop.said()
    shop.check_finished()
    shop.put_away()
    return found


def kill_projection(shop: Workshop, n_kills: int, seed: int) -> Kills:
    """The same for a map that is added to a finished run."""
    found, chosen = Kills(), random.Random(seed)
    stored: set[tuple[str, int]] = set()
    shop.copy_of_run()
    while True:
        pid = shop.nursery.start(shop.project_arguments(shop.runs), shop.notes)
        more = found.n_kills < n_kills
        due = _after(shop, chosen.uniform(0, shop.project_s), ("head",)) if more else (lambda: False)
        status = shop.nursery.kill_when(pid, due)
        heads = {tuple(each["head"]) for each in read_notes(shop.notes) if "head" in each}
        found.lost += len(stored & heads)
        stored |= heads
        if status == KILLED:
            found.strike("head" if heads else "start")
            continue
        assert status == 0, shop.said()
        shop.check_finished()
        if not more:
            shop.put_away()
            return found
        shop.copy_of_run()
        stored = set()


def kill_publish(shop: Workshop, n_kills: int, seed: int, of_map: bool) -> Kills:
    """Kills while the run, or the map, is published: every other one at a line of Python, the others at a moment."""
    found, chosen = Kills(), random.Random(seed)
    runs, arguments = shop.runs, (shop.project_arguments if of_map else shop.extract_arguments)(shop.runs)
    shop.copy_of_run() if of_map else shop.put_away()
    assert shop.nursery.run(arguments, shop.notes, at_line=1) == KILLED
    ready = shop.folder / "ready"
    shutil.copytree(runs, ready)
    assert shop.nursery.run(arguments, shop.notes, at_line=10**9) == 0, shop.said()
    _, ends = [each for each in read_notes(shop.notes) if "publish" in each]
    shop.put(ready)
    assert shop.nursery.run(arguments, shop.notes) == 0, shop.said()
    quick = [each["at"] for each in read_notes(shop.notes) if "publish" in each]
    while found.n_kills < n_kills:
        if _is_published(shop, of_map):
            shop.check_finished()
            shop.put(ready)
        if found.n_kills % 2:
            line = chosen.randint(1, ends["n_lines"])
            status = shop.nursery.run(arguments, shop.notes, at_line=line)
        else:
            pid = shop.nursery.start(arguments, shop.notes)
            status = shop.nursery.kill_when(pid, _after(shop, chosen.uniform(0, quick[1] - quick[0]), ("publish",)))
        found.lost += sum(not {"head", "captured", "acknowledged"}.isdisjoint(each) for each in read_notes(shop.notes))
        assert status in (0, KILLED), shop.said()
        if status == KILLED:
            found.strike("with its name" if _is_published(shop, of_map) else "without its name")
    if not _is_published(shop, of_map):
        assert shop.nursery.run(arguments, shop.notes) == 0, shop.said()
    shop.check_finished()
    shutil.rmtree(ready)
    shop.put_away()
    return found


@contextmanager
def watched(shop: Workshop) -> Iterator[dict[str, int]]:
    """Lists and opens what is in the runs folder again and again, as pages do while a job writes and dies.

    Yields:
        Counts, filled until the end: ``looks``, ``complete`` (runs seen so), ``halves`` (of anything).
    """
    counts: dict[str, int] = {"looks": 0, "complete": 0, "halves": 0}
    over = threading.Event()
    whole = _rows(shop.reference)

    def look() -> tuple[int, int]:
        complete = halves = 0
        for row in list_runs(shop.runs).itertuples():
            if row.status == "complete":
                found = _rows(shop.runs)
                complete += 1
                halves += found not in (whole, (*whole[:2], whole[2][:-1]))
            else:
                halves += row.status != "partial"
        return complete, halves

    def watch() -> None:
        while not over.wait(0.1):
            swaps = shop.swaps
            try:
                complete, halves = look()
            except (RunError, OSError):
                complete, halves = 0, 1
            if shop.swaps == swaps:  # else it was the test itself that moved things
                counts["looks"] += 1
                counts["complete"] += complete
                counts["halves"] += halves

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield counts
    finally:
        over.set()
        watcher.join()


def _rows(runs: Path) -> tuple:
    """Problems, rows of vectors, and coordinates of every map, that of the addition last."""
    with open_run(RUN, runs) as run:
        vectors = run.sql("SELECT count(*) AS n FROM vectors")["n"][0]
        maps = run.sql("SELECT count(*) AS n FROM coordinates GROUP BY projection ORDER BY projection")["n"]
        return run.problems, vectors, tuple(maps)


def _after(shop: Workshop, seconds: float, what: tuple[str, ...]):
    """Due so long after the command first noted one of these."""
    began: list[float] = []

    def due() -> bool:
        if not began and any(what[0] in each for each in read_notes(shop.notes)):
            began.append(time.monotonic())
        return bool(began) and time.monotonic() - began[0] >= seconds

    return due


def _batches(shop: Workshop) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]], str]:
    captured, stored, last = [], [], "start"
    for each in read_notes(shop.notes):
        last = next(iter(each))
        if "captured" in each:
            captured.append(tuple(each["captured"]))
        if "acknowledged" in each:
            stored.append(tuple(each["acknowledged"]))
    return captured, stored, last


def _is_published(shop: Workshop, of_map: bool) -> bool:
    folder = shop.runs / RUN
    return (folder / f"add-{MAP}.json").exists() if of_map else folder.exists()
