"""What a public page lets visitors do: settings, decisions, and the line with a stand-in for the command line."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from analysis.errors import UserError
from app import cache, jobs
from app.cache import new_input
from app.chosen_run import chosen_run
from app.hosted import limited, line, public, visitors
from app.hosted.public import Limits, NotHere, limits
from app.jobs.requests.export import ExportRequest
from app.jobs.requests.extraction import JobRequest
from app.jobs.requests.map import MapRequest
from app.run_folder import delete_run
from app.state import Selection
from tests.store.synthetic import make_synthetic_run

ADA, BEN = "a" * 32, "b" * 32

STAND_IN = """
import json, os, pathlib, sys, time
options = dict(a.removeprefix("--").split("=", 1) for a in sys.argv[1:] if a.startswith("--") and "=" in a)
behaviour = pathlib.Path(options["data"]).stem
if "--dry-run" in sys.argv:
    if behaviour == "unreadable":
        sys.stderr.write("error: The file holds no text.\\n"); sys.exit(2)
    n_tokens = 10**9 if behaviour == "long" else 100
    print(json.dumps(dict(n_inputs=2, n_tokens=n_tokens, memory_bytes=1, disk_bytes=100_000))); sys.exit(0)
out, run_id = pathlib.Path(options["out"]), options["run-id"]
partial = out / (run_id + ".partial")
partial.mkdir()
(partial / "run.duckdb").write_bytes(b"x" * 1_000_000)
(out / "began").open("a").write(run_id + "\\n")
if behaviour == "greedy":
    kept = bytearray(400_000_000)
    for place in range(0, len(kept), 4096):
        kept[place] = 1
while behaviour in ("wait", "greedy") and not (out / "go").exists():
    time.sleep(0.02)
partial.rename(out / run_id)
"""


@pytest.fixture
def command(tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "stand_in.py"
    path.write_text(STAND_IN)
    return (sys.executable, str(path))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    """A public page that runs one model, on a thread of its own only where a test says so."""
    monkeypatch.setenv("QK_ATLAS_PUBLIC", "1")
    monkeypatch.setenv("QK_ATLAS_PUBLIC_MODELS", "demo-language, org/name")
    monkeypatch.setattr(line, "keep", lambda runs_dir: None)
    return lambda **more: [monkeypatch.setenv(f"QK_ATLAS_PUBLIC_{name}", str(said)) for name, said in more.items()]


def ask(runs: Path, command: tuple[str, ...], visitor: str | None, behaviour: str = "wait", **more) -> jobs.Job:
    request = JobRequest(model=more.pop("model", "demo-language"), data="-", **more)
    return line.ask(runs, request, visitor, [(f"{behaviour}.txt", b"a text\n")], command)


def until(condition, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.03)
    raise TimeoutError(f"not so after {seconds} s")


def ended(runs: Path, job: jobs.Job) -> jobs.Job:
    return until(lambda: (now := jobs.read_job(runs, job.job_id)).state not in jobs.ACTIVE and now)


def running(runs: Path, job: jobs.Job) -> jobs.Job:
    """Once its command is at work on the run itself."""
    began = runs / "began"
    until(lambda: began.exists() and job.request.run_id in began.read_text())
    return jobs.read_job(runs, job.job_id)


def left_of(runs: Path, job: jobs.Job) -> list[str]:
    found = [path for path in runs.rglob("*") if str(job.request.run_id) in path.name]
    return [path.name for path in found] + [path.name for path in job.folder.glob("uploads/*")]


@pytest.mark.parametrize("said", ["1", "true", "yes", " 1 ", "anything"])
def test_the_page_is_public_unless_the_setting_says_no(said):
    assert limits({"QK_ATLAS_PUBLIC": said}) == Limits()
    assert all(limits({"QK_ATLAS_PUBLIC": no}) is None for no in ("", "0", "False", "no", "off"))
    assert limits({}) is None


def test_settings_are_read_and_a_wrong_one_is_named():
    given = {"MODELS": "demo-vision, org/name,", "MAX_TOKENS": "7"}
    environment = {"QK_ATLAS_PUBLIC": "1", **{f"QK_ATLAS_PUBLIC_{name}": said for name, said in given.items()}}
    assert limits(environment) == Limits(models=("demo-vision", "org/name"), max_tokens=7)
    for name, said in (("MAX_TOKENS", "many"), ("DISK_MB", "0"), ("MAX_SECONDS", "-1"), ("MODELS", "/srv/model")):
        with pytest.raises(UserError, match=f"QK_ATLAS_PUBLIC_{name}"):
            limits({"QK_ATLAS_PUBLIC": "1", f"QK_ATLAS_PUBLIC_{name}": said})


def test_a_page_of_finished_runs_starts_writes_and_deletes_nothing(runs, tmp_path, monkeypatch):
    """Each refusal stands in the function that does the work, whoever calls it."""
    (runs / "owned").mkdir()
    monkeypatch.setenv("QK_ATLAS_PUBLIC", "1")
    monkeypatch.setenv("QK_ATLAS_RUNS", str(runs))
    request = JobRequest(model="demo-language", data="demo-sentences")
    for refused in (
        lambda: jobs.start_job(runs, request),
        lambda: jobs.start_job(runs, request, dry_run=True),
        lambda: jobs.start_job(runs, request, tmp_path),  # a folder that is there needs none of its own
        lambda: jobs.start_job(runs, MapRequest("owned", "pca")),
        lambda: jobs.start_job(runs, ExportRequest("owned")),
        lambda: jobs.new_job_folder(runs),
        lambda: line.ask(runs, request, ADA),
        lambda: delete_run(runs, "owned"),
        lambda: delete_run(runs, "owned", ADA),
        lambda: new_input.keep_image(b""),
    ):
        with pytest.raises(NotHere, match="public page"):
            refused()
    with pytest.raises(UserError, match="runs no model"):
        new_input.new_input("owned", "a text")
    assert [path.name for path in tmp_path.rglob("*")] == ["runs", "owned"]


@pytest.mark.parametrize(
    "model",
    ["Demo-Language", "demo-language/", "./demo-language", "demo-vision", "org/name/", "/etc", "../org/name", ""],
)
def test_only_a_model_of_the_list_is_run_letter_by_letter(runs, command, page, model):
    with pytest.raises(NotHere, match="does not run"):
        ask(runs, command, ADA, model=model)
    assert not (runs / ".jobs").exists()


@pytest.mark.parametrize("data", ["/etc/passwd", "data/demo", "../x.txt", "", "Demo-Sentences", "demo-sentences/"])
def test_no_path_of_the_server_is_taken_as_data(runs, command, page, data):
    with pytest.raises(NotHere, match="no path of its machine"):
        line.ask(runs, JobRequest(model="demo-language", data=data), ADA, (), command)


def test_what_a_visitor_asks_for_is_cut_to_what_the_page_does():
    known = Limits(models=("org/name",), max_inputs=50)
    crafted = JobRequest(
        "org/name", "demo-sentences", limit=10**9, run_id="owned", attention="store", device_map="auto", load_in="8bit"
    )
    made = public.allowed_run(crafted, known, ["demo-sentences"], has_uploads=False)
    assert made == JobRequest("org/name", "demo-sentences", limit=50)
    assert public.allowed_run(JobRequest("org/name", "-", limit=3), known, [], has_uploads=True).limit == 3


@pytest.mark.parametrize(
    ("much", "word"),
    [
        ({"n_inputs": 201}, "201 inputs"),
        ({"n_tokens": 20_001}, "20,001 tokens"),
        ({"memory_bytes": 5e9}, "MB of memory"),
        ({"disk_bytes": 3e9}, "MB of disk"),
    ],
)
def test_a_plan_beyond_a_cap_is_refused_in_one_sentence(much, word):
    plan = {"n_inputs": 200, "n_tokens": 20_000, "memory_bytes": 4e9, "disk_bytes": 2e9}
    assert public.too_much(plan, Limits()) == ""
    said = public.too_much({**plan, **much}, Limits())
    assert word in said
    assert ". " not in said


def test_uploads_are_weighed_before_anything_is_written(runs, command, page):
    page(MAX_UPLOAD_MB=1)
    files = [("a.png", b"x" * 600_000), ("b.png", b"x" * 600_000)]
    with pytest.raises(NotHere, match=r"1\.2 MB"):
        line.ask(runs, JobRequest("demo-language", "-"), ADA, files, command)
    assert not (runs / ".jobs").exists()
    with pytest.raises(UserError, match="mixed"):
        line.ask(runs, JobRequest("demo-language", "-"), ADA, [("a.png", b""), ("b.txt", b"")], command)
    assert not list((runs / ".jobs").glob("*/"))


def test_who_cannot_be_told_from_others_starts_nothing(runs, command, page):
    with pytest.raises(NotHere, match="cookies"):
        ask(runs, command, None)


def test_the_line_is_first_come_first_served_and_shrinks(runs, command, page):
    first, second, third = (ask(runs, command, who, name) for who, name in ((ADA, "wait"), (BEN, "wait"), (ADA, "b")))
    assert [job.state for job in (first, second, third)] == [jobs.RUNNING, jobs.WAITING, jobs.WAITING]
    assert line.places(runs) == {second.job_id: 1, third.job_id: 2}
    jobs.cancel_job(runs, second.job_id, visitor=BEN)
    assert line.places(runs) == {third.job_id: 1}
    gone = jobs.read_job(runs, second.job_id)
    assert (gone.state, gone.error) == (jobs.CANCELLED, "Cancelled. Nothing of it is left.")
    running(runs, first)
    (runs / "go").touch()
    assert ended(runs, first).state == jobs.DONE
    line.advance(runs)
    assert ended(runs, third).state == jobs.DONE
    assert not left_of(runs, second)
    assert (runs / "began").read_text().split() == [first.request.run_id, third.request.run_id]
    assert visitors.owners(runs) == {job.request.run_id: ADA for job in (first, third)}


def test_a_restarted_server_goes_on_with_the_line_by_itself(runs, command, page, monkeypatch):
    first, second = (ask(runs, command, who) for who in (ADA, BEN))
    running(runs, first)
    jobs._awaited.clear()  # what only the server that started it knows
    assert jobs.read_job(runs, first.job_id).state == jobs.RUNNING
    monkeypatch.undo()
    monkeypatch.setenv("QK_ATLAS_PUBLIC", "1")
    monkeypatch.setenv("QK_ATLAS_PUBLIC_MODELS", "demo-language")
    (runs / "go").touch()
    line.keep(runs)
    assert ended(runs, second).state == jobs.DONE
    assert jobs.read_job(runs, first.job_id).state == jobs.DONE
    assert (runs / second.request.run_id / "run.duckdb").exists()


def test_a_model_taken_off_the_list_is_not_run_for_those_in_line(runs, command, page):
    first, second = (ask(runs, command, who) for who in (ADA, BEN))
    running(runs, first)
    page(MODELS="org/name")
    (runs / "go").touch()
    ended(runs, first)
    line.advance(runs)
    assert "any more" in ended(runs, second).error


def test_more_than_one_job_at_a_time_where_the_owner_says_so(runs, command, page):
    page(JOBS_AT_ONCE=2)
    states = [ask(runs, command, who, name).state for who, name in ((ADA, "wait"), (BEN, "wait"), (BEN, "b"))]
    assert states == [jobs.RUNNING, jobs.RUNNING, jobs.WAITING]
    (runs / "go").touch()
    for job in jobs.list_jobs(runs):
        line.advance(runs)
        ended(runs, job) if job.state == jobs.RUNNING else None


def test_the_same_run_twice_too_many_an_hour_and_a_full_line_are_refused(runs, command, page):
    page(JOBS_PER_HOUR=3, MAX_WAITING=2)
    first = ask(runs, command, ADA)
    with pytest.raises(NotHere, match="already"):
        ask(runs, command, ADA)  # a double click, or a second tab
    for name in ("b", "c"):
        ask(runs, command, ADA, name)
    with pytest.raises(NotHere, match=r"3 runs within an hour.*next one in 60 min"):
        ask(runs, command, ADA, "d")
    with pytest.raises(NotHere, match="2 runs are in line"):
        ask(runs, command, BEN, "d")
    for job in jobs.list_jobs(runs):
        jobs.cancel_job(runs, job.job_id, visitor=ADA)
    ended(runs, first)
    with pytest.raises(NotHere, match="within an hour"):
        ask(runs, command, ADA, "e")  # to cancel is no way round


def test_nobody_else_stops_hides_or_deletes_what_a_visitor_made(runs, command, page):
    (runs / "owned").mkdir()
    job = ask(runs, command, ADA, "quick")
    run_id = job.request.run_id
    for somebody in (BEN, None):
        with pytest.raises(NotHere):
            jobs.cancel_job(runs, job.job_id, visitor=somebody)
        with pytest.raises(NotHere):
            jobs.dismiss_job(runs, job.job_id, somebody)
        assert jobs.jobs_of(runs, somebody) == []
    assert [each.job_id for each in jobs.jobs_of(runs, ADA)] == [job.job_id]
    assert ended(runs, job).state == jobs.DONE
    everything = ["owned", run_id]
    assert visitors.listed(runs, everything, ADA) == everything
    assert visitors.listed(runs, everything, BEN) == visitors.listed(runs, everything, None) == ["owned"]
    assert visitors.listed(runs, everything, BEN, linked=run_id) == everything
    assert visitors.listed(runs, everything, BEN, linked=run_id[:12]) == ["owned"]
    with pytest.raises(UserError, match="no run"):
        visitors.check_whole(runs, "visitor-")
    for run, somebody in ((run_id, BEN), (run_id, None), ("owned", ADA)):
        with pytest.raises(NotHere):
            delete_run(runs, run, somebody)
    delete_run(runs, run_id, ADA)
    assert not left_of(runs, job)


def test_the_beginning_of_a_name_opens_no_run_of_a_visitor(runs, page, monkeypatch):
    """Names in links reach the store by many ways, and the store completes them."""
    monkeypatch.setenv("QK_ATLAS_RUNS", str(runs))
    run_id = visitors.new_run_id()
    make_synthetic_run(runs, run_id, n_inputs=2)
    visitors.mark(runs, run_id, ADA)
    assert list(cache.runs()["run_id"]) == []
    assert list(cache.runs(run_id)["run_id"]) == [run_id]
    assert cache.run(run_id).run_id == run_id
    for read in (cache.run, cache.facts, cache.tokens):
        with pytest.raises(UserError, match="no run 'visitor-'"):
            read("visitor-")
    with pytest.raises(UserError, match="no runs yet"):
        chosen_run(Selection(run="visitor-"))


def test_what_needs_no_plan_is_refused_with_its_own_sentence_and_leaves_nothing(runs, command, page):
    for behaviour, sentence in (("long", "1,000,000,000 tokens"), ("unreadable", "The file holds no text.")):
        job = ended(runs, ask(runs, command, ADA, behaviour))
        assert job.state == jobs.FAILED
        assert sentence in job.error
        line.advance(runs)
        assert not left_of(runs, job)
    assert not (runs / "began").exists()


def test_a_run_beyond_its_time_is_stopped_and_nothing_of_it_is_left(runs, command, page):
    page(MAX_SECONDS=1)
    job = ended(runs, ask(runs, command, ADA))
    assert job.state == jobs.FAILED
    assert "stopped after 1 seconds" in job.error
    assert not left_of(runs, job)


def test_a_run_beyond_its_memory_is_stopped_and_nothing_of_it_is_left(runs, command, page):
    page(MAX_MEMORY_MB=100)
    job = ended(runs, ask(runs, command, ADA, "greedy"))
    assert job.state == jobs.FAILED
    assert "more than 100 MB of memory" in job.error
    assert not left_of(runs, job)


def test_a_cancelled_run_leaves_nothing(runs, command, page):
    job = running(runs, ask(runs, command, ADA))
    jobs.cancel_job(runs, job.job_id, visitor=ADA)
    job = ended(runs, job)
    assert (job.state, job.error) == (jobs.CANCELLED, "Cancelled. Nothing of it is left.")
    assert not left_of(runs, job)


def test_when_the_process_that_watches_is_killed_its_job_dies_and_is_tidied_up(runs, command, page):
    job = running(runs, ask(runs, command, ADA))
    group = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if limited._group_of(pid) == job.pid]
    assert len(group) == 2
    os.kill(job.pid, signal.SIGKILL)
    until(lambda: all(_is_dead(pid) for pid in group))
    until(lambda: job.folder not in jobs._awaited)
    (job.folder / "exit.json").unlink()  # as after a restart, when nobody heard how it ended
    line.advance(runs)
    assert "Its process is gone" in jobs.read_job(runs, job.job_id).error
    assert not left_of(runs, job)


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def make_run(runs: Path, run_id: str, n_bytes: int, visitor: str | None, age: float) -> None:
    (runs / run_id).mkdir()
    (runs / run_id / "run.duckdb").write_bytes(b"x" * n_bytes)
    if visitor:
        visitors.mark(runs, run_id, visitor)
        os.utime(runs / visitors.MARKS / f"{run_id}~{visitor}", (time.time() - age,) * 2)


def test_room_is_made_by_the_oldest_runs_of_visitors_alone(runs):
    known = Limits(disk_mb=3)
    for run_id, visitor, age in (("owned", None, 9), ("old", ADA, 3), ("older", BEN, 5), ("new", ADA, 1)):
        make_run(runs, run_id, 1_000_000, visitor, age)
    assert visitors.make_room(runs, known, 0, []) == ""
    assert all((runs / run_id).exists() for run_id in ("owned", "old", "older", "new"))
    assert visitors.make_room(runs, known, 900_000, []) == ""
    assert [(runs / run_id).exists() for run_id in ("older", "old")] == [False, True]
    assert "MB of disk" in visitors.make_room(runs, known, 2_500_000, ["new"])
    assert (runs / "old").exists(), "where it would not be enough nothing is deleted"
    assert visitors.make_room(runs, known, 3_000_000, []) == ""
    assert sorted(path.name for path in runs.iterdir() if not path.name.startswith(".")) == ["owned"]
    assert visitors.owners(runs) == {}


def test_before_a_job_starts_the_oldest_run_goes(runs, command, page):
    page(DISK_MB=2)
    make_run(runs, "older", 1_900_000, BEN, 9)
    job = ended(runs, ask(runs, command, ADA, "quick"))
    assert (job.state, (runs / "older").exists()) == (jobs.DONE, False)


def test_cards_of_ended_jobs_go_after_a_day_and_runs_stay(runs, command, page):
    job = ended(runs, ask(runs, command, ADA, "quick"))
    said = json.loads((job.folder / "exit.json").read_text())
    (job.folder / "exit.json").write_text(json.dumps({**said, "ended": time.time() - 90_000}))
    line.advance(runs)
    assert not job.folder.exists()
    assert (runs / job.request.run_id).is_dir()


def test_places_in_words():
    assert [line.ordinal(n) for n in (1, 2, 3, 4, 11, 12, 21, 112)] == "1st 2nd 3rd 4th 11th 12th 21st 112th".split()
