"""What becomes of runs when jobs are killed, disks are full and bits flip; the whole of what ``tests/faults`` samples.

A disk is filled as a small tmpfs, where this user may mount one; elsewhere files may not grow beyond a length.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from analysis.errors import UserError
from analysis.store import export_run, list_runs, open_run, verify
from app import jobs
from app.jobs.requests.extraction import JobRequest
from app.run_folder import delete_run
from tests.e2e.serving import served
from tests.faults.fullness import Fullness, tree
from tests.faults.killing import Workshop, assert_same, kill_extraction, kill_projection, kill_publish, watched
from tests.faults.nursery import Nursery, fill
from tests.faults.publishing import RUN
from tests.faults.sessions import Visitor


def run(quick: bool = False) -> str:
    """Do it and print a markdown table; raises where anything is not as it must be."""
    n_kills = 5 if quick else 25
    with tempfile.TemporaryDirectory() as folder, Nursery() as nursery:
        shop = Workshop(nursery, Path(folder), n_texts=48, layers="0")
        print("| what was done | how often | what came out |\n|---|---|---|", flush=True)
        for part in (_kills(shop, n_kills), _full(shop, Path(folder) / "small"), [_flips(shop, 50)]):
            for row in part:  # they take a while: told one by one
                print("| " + " | ".join(map(str, row)) + " |", flush=True)
    return ""


def _kills(shop: Workshop, n_kills: int) -> Iterator[tuple[str, int, str]]:
    with watched(shop) as seen:
        for what, kill in (
            ("extraction", lambda: kill_extraction(shop, n_kills, seed=1)),
            ("making a map", lambda: kill_projection(shop, n_kills, seed=2)),
            ("publishing a run", lambda: kill_publish(shop, n_kills, seed=3, of_map=False)),
            ("publishing a map", lambda: kill_publish(shop, n_kills, seed=4, of_map=True)),
        ):
            kills = kill()
            assert not kills.lost
            struck = ", ".join(f"{n} x {stage}" for stage, n in sorted(kills.stages.items()))
            text = f"{kills.lost} lost; after {struck}; all ended as if never killed"
            if kills.redone:
                text += f"; {max(kills.redone)} batches captured again at most (mean {_mean(kills.redone)})"
            yield f"{what} killed (SIGKILL)", kills.n_kills, text
    assert not seen["halves"]
    said = f"{seen['halves']} halves seen, {seen['complete']} times a whole run"
    yield "meanwhile the folder listed and its runs opened", seen["looks"], said


def _mean(numbers: list[int]) -> str:
    return f"{sum(numbers) / len(numbers):.1f}"


def _full(shop: Workshop, small: Path) -> Iterator[tuple[str, int, str]]:
    if not _may_mount(small):
        yield (
            "a full disk",
            0,
            "not done: this user may not mount a tmpfs (the tests limit the length of files instead)",
        )
        return
    full, size = Fullness(shop), sum(map(len, tree(shop.reference).values()))
    extract, project = shop.extract_arguments(small / "runs"), shop.project_arguments(small / "runs")
    rooms = [8192, 65536, 300_000, *(int(size * share) for share in (0.3, 0.5, 0.7))]
    for room in rooms:
        with _disk(small, 2 * size):
            fill(small / "filler", room)
            full.stop(extract)
            assert set(list_runs(small / "runs")["status"]) <= {"partial"}
            (small / "filler").unlink()
            _go_on(shop, extract, small / "runs")
    yield "disk full while extracting (from 8 kB free to most of what is needed)", len(rooms), _said(full.said)
    with _disk(small, 4 * size):
        full.stop(extract, filled=(str(small / "filler"), 4096))
        assert list_runs(small / "runs")["status"].tolist() == ["partial"]
        (small / "filler").unlink()
        _go_on(shop, extract, small / "runs")
        yield "disk full while publishing a run", 1, _said(full.said[-1:])
        before = tree(small / "runs")
        for place, room in enumerate((0, 4096, 100_000)):
            fill(small / "filler", room)
            full.stop(project)
            assert {name: each for name, each in tree(small / "runs").items() if "/.add-" not in name} == before
            if place == 2:
                (small / "filler").unlink()
                full.stop(project, filled=(str(small / "filler"), 4096))
                (small / "filler").unlink()
                _go_on(shop, project, small / "runs")
        yield "disk full while making and publishing a map", 4, _said(full.said[-4:])
        yield from _moves(shop, full, small)
    with _disk(small, 4 * size):
        yield _page(shop, small)


def _moves(shop: Workshop, full: Fullness, small: Path) -> Iterator[tuple[str, int, str]]:
    asked = 0
    for format in ("parquet", "csv", "safetensors", "run"):
        for ending in ("", ".zip"):
            fill(small / "filler", 50_000)
            export = ["export", RUN, f"--out={shop.reference}", f"--to={small / f'out{ending}'}", f"--format={format}"]
            full.stop(export)
            assert sorted(entry.name for entry in small.iterdir()) == ["filler", "runs"]
            (small / "filler").unlink()
            assert shop.nursery.run(export, shop.notes) == 0
            left = small / f"out{ending}"
            left.unlink() if ending else shutil.rmtree(left)
            asked += 1
    yield "disk full while exporting (4 formats, folder and .zip)", asked, _said(full.said[-asked:])
    with open_run(RUN, shop.reference) as run:
        export_run(run, shop.folder / "given.zip", "run")
    shutil.rmtree(small / "runs")
    bring = ["import", str(shop.folder / "given.zip"), f"--out={small / 'runs'}"]
    for room in (8192, 200_000):
        fill(small / "filler", room)
        full.stop(bring)
        assert list((small / "runs").iterdir()) == []
    (small / "filler").unlink()
    assert shop.nursery.run(bring, shop.notes) == 0
    yield "disk full while a run is brought in", 2, _said(full.said[-2:])


def _page(shop: Workshop, small: Path) -> tuple[str, int, str]:
    """It fills up under a job of the page: pages go on, the card tells why, a run can be deleted, the job goes on."""
    runs = small / "runs"
    shutil.copytree(shop.reference, runs)
    shutil.copytree(runs / RUN, runs / "old")
    request = JobRequest(model="demo-language", data=str(shop.data), layers="0", projections=("pca",), run_id="new")
    with served(runs, shop.folder / "log.txt") as address, Visitor(address) as visitor:
        job = jobs.start_job(runs, request)
        _wait(lambda: jobs.read_job(runs, job.job_id).progress.get("stage") == "capture")
        fill(small / "filler", 0)
        _wait(lambda: jobs.read_job(runs, job.job_id).state != jobs.RUNNING)
        ended = jobs.read_job(runs, job.job_id)
        assert ended.state == jobs.FAILED, ended
        assert "free disk space" in ended.error, ended.error
        looks = [visitor.look(page, f"run={RUN}") for page in ("", "head", "input", "heads", "sinks")]
        assert not any(look.errors for look in looks)
        assert "free disk space" in "".join(visitor.look("runs", "").parts.values())
        fill(small / "more", 0)
        with pytest.raises(UserError, match="full"):
            jobs.start_job(runs, request)
        delete_run(runs, "old")
        assert sorted(list_runs(runs)["status"]) == ["complete", "partial"]
        (small / "filler").unlink()
        again = jobs.start_job(runs, request)
        _wait(lambda: jobs.read_job(runs, again.job_id).state != jobs.RUNNING)
        assert jobs.read_job(runs, again.job_id).state == jobs.DONE, jobs.read_job(runs, again.job_id).error
        assert not visitor.look("", "run=new").errors
    return (
        "disk full under a job of the page", 1,
        f"{len(looks)} pages without an error meanwhile; the card: “{ended.error}”; a new job refused in a sentence; a "
        "run deleted; the job resumed and done",
    )  # fmt: skip


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _said(sentences: list[str]) -> str:
    return f"status 2 each time, nothing half-made, the same command went on; as in “{sentences[-1]}”"


def _go_on(shop: Workshop, arguments: list[str], runs: Path) -> None:
    assert shop.nursery.run(arguments, shop.notes) == 0, shop.said()
    assert verify(runs / RUN).ok
    with open_run(RUN, runs) as run, open_run(RUN, shop.reference) as reference:
        assert_same(run, reference)


def _may_mount(place: Path) -> bool:
    place.mkdir()
    try:
        with _disk(place, 2**20):
            return os.path.ismount(place)
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def _disk(place: Path, n_bytes: int) -> Iterator[None]:
    """A small disk mounted at a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "none", place], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def _flips(shop: Workshop, n_flips: int) -> tuple[str, int, str]:
    """Single bits at seeded places of all files of a run, each as likely as it is long, and at least two in each."""
    files = sorted(path for path in (shop.reference / RUN).iterdir() if path.is_file())
    chosen = random.Random(5)
    sizes = [path.stat().st_size for path in files]
    struck = [*files, *files, *chosen.choices(files, sizes, k=n_flips - 2 * len(files))]
    n_found = 0
    for path in struck:
        bit = chosen.randrange(8 * path.stat().st_size)
        content = path.read_bytes()
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        found = verify(shop.reference / RUN)
        n_found += not found.ok and path.name in str(found)
        path.write_bytes(content)
    assert verify(shop.reference / RUN).ok
    assert n_found == n_flips
    names = ", ".join(f"{struck.count(path)} in {path.name}" for path in files)
    return "a single bit flipped in a file of a run", n_flips, f"{n_found} found by verify ({names})"


if __name__ == "__main__":
    print(run())
