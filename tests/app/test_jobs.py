"""Jobs with a stand-in for the command line, so that every ending can be brought about on purpose."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.errors import UserError
from app import jobs
from app.jobs.processes import is_alive, process_start

STAND_IN = """
import json, os, pathlib, signal, sys, time
options = dict(a.removeprefix("--").split("=", 1) for a in sys.argv[1:] if a.startswith("--") and "=" in a)
behaviour = options["data"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # as the command does: a shell's `&` leaves it ignored
def report(stage, **more):
    path = pathlib.Path(options["progress-file"])
    content = {"stage": stage, "run_id": "stand-in-1", "pid": os.getpid(), **more}
    path.with_suffix(".new").write_text(json.dumps(content))
    path.with_suffix(".new").replace(path)
report("capture", done=3, total=10, unit="inputs", rate=2.0, eta_s=3.5, message="layer 1")
if behaviour == "finish":
    report("done"); sys.exit(0)
if behaviour == "refuse":
    sys.stderr.write("capture:  30%|###   | 3/10 [00:01<00:02, 2.0it/s]\\r\\nerror: The folder holds no image.\\n")
    sys.exit(2)
if behaviour == "break":
    raise ZeroDivisionError("one by zero")
if behaviour == "lose":
    open("/srv/telling folder/weights.bin")
if behaviour == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    while True:
        time.sleep(0.05)
except KeyboardInterrupt:
    pathlib.Path(options["out"], "stopped-politely").touch(); sys.exit(130)
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


def wait_for(condition, seconds: float = 10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    raise TimeoutError(f"not so after {seconds} s")


def ended(runs: Path, job_id: str) -> jobs.Job:
    return wait_for(lambda: (job := jobs.read_job(runs, job_id)).state != jobs.RUNNING and job)


def start(runs: Path, command: tuple[str, ...], behaviour: str) -> jobs.Job:
    return jobs.start_job(runs, jobs.JobRequest(model="demo-language", data=behaviour), command=command)


def test_a_running_job_tells_its_progress_to_every_reader(runs, command):
    job = start(runs, command, "wait")
    seen = wait_for(lambda: (job := jobs.list_jobs(runs)[0]).progress and job)
    assert (seen.state, seen.job_id, seen.run_id) == (jobs.RUNNING, job.job_id, "stand-in-1")
    assert (seen.progress["done"], seen.progress["total"], seen.progress["eta_s"]) == (3, 10, 3.5)
    jobs.cancel_job(runs, job.job_id)
    assert ended(runs, job.job_id).state == jobs.CANCELLED


def test_a_finished_job_names_its_run(runs, command):
    job = ended(runs, start(runs, command, "finish").job_id)
    assert (job.state, job.run_id, job.error) == (jobs.DONE, "stand-in-1", "")


def test_a_refused_job_shows_the_one_sentence_without_progress_bars(runs, command):
    job = ended(runs, start(runs, command, "refuse").job_id)
    assert (job.state, job.error) == (jobs.FAILED, "The folder holds no image.")


def test_a_broken_job_shows_the_last_line_of_its_traceback(runs, command):
    job = ended(runs, start(runs, command, "break").job_id)
    assert (job.state, job.error) == (jobs.FAILED, "ZeroDivisionError: one by zero")


def test_what_a_job_says_names_no_folder_of_this_machine(runs, command):
    """The card of a job is shown to whoever opens the page."""
    job = ended(runs, start(runs, command, "lose").job_id)
    assert job.error == "FileNotFoundError: [Errno 2] No such file or directory: 'weights.bin'"


def test_cancel_is_ctrl_c_and_lets_the_command_close_its_run(runs, command):
    job = start(runs, command, "wait")
    wait_for(lambda: jobs.read_job(runs, job.job_id).progress)
    jobs.cancel_job(runs, job.job_id)
    assert ended(runs, job.job_id).state == jobs.CANCELLED
    assert (runs / "stopped-politely").exists()


def test_cancel_grows_firmer_with_a_job_that_does_not_listen(runs, command):
    job = start(runs, command, "stubborn")
    wait_for(lambda: jobs.read_job(runs, job.job_id).progress)
    jobs.cancel_job(runs, job.job_id, grace_seconds=0.3)
    assert jobs.read_job(runs, job.job_id).cancelling
    assert ended(runs, job.job_id).state == jobs.CANCELLED
    assert json.loads((job.folder / "exit.json").read_text())["code"] == -signal.SIGTERM


def test_a_used_again_process_id_is_neither_alive_nor_shot(runs, command):
    job = ended(runs, start(runs, command, "finish").job_id)
    (job.folder / "exit.json").unlink()
    (job.folder / "progress.json").unlink()
    record = json.loads((job.folder / "job.json").read_text())
    (job.folder / "job.json").write_text(json.dumps({**record, "pid": os.getpid(), "pid_started": "0"}))
    assert jobs.read_job(runs, job.job_id).state == jobs.LOST
    jobs.cancel_job(runs, job.job_id, grace_seconds=0.01)
    assert is_alive(os.getpid(), process_start(os.getpid()))


def test_two_jobs_may_not_make_one_run(runs, command):
    request = jobs.JobRequest(model="demo-language", data="wait", run_id="stand-in-1")
    first = jobs.start_job(runs, request, command=command)
    with pytest.raises(UserError, match="being made right now"):
        jobs.start_job(runs, request, command=command)
    wait_for(lambda: jobs.read_job(runs, first.job_id).progress)
    jobs.cancel_job(runs, first.job_id)
    ended(runs, first.job_id)


def test_the_real_command_hears_ctrl_c_even_from_a_server_in_the_background():
    bootstrap = jobs.BOOTSTRAP.split("runpy.run_module")[0].replace("import os, runpy, signal", "import os, signal")
    code = f"{bootstrap}print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    ignoring = (
        "import signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        f"subprocess.run([sys.executable, '-c', {code!r}])"
    )
    assert subprocess.run([sys.executable, "-c", ignoring], capture_output=True, text=True).stdout.strip() == "True"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": "--out=/etc"}, "neither a hub id"),
        ({"model": "../elsewhere"}, "neither a hub id"),
        ({"model": ""}, "No model"),
        ({"data": "  "}, "No data"),
        ({"data": "a\nb"}, "No data"),
        ({"limit": 0}, "1 or more"),
        ({"layers": "0-3;rm"}, "not a list like"),
        ({"projections": ("atlas", "--out")}, "plain name"),
        ({"run_id": "../up"}, "plain name"),
    ],
)
def test_arguments_no_command_could_use_are_refused_in_words(fields, says):
    with pytest.raises(UserError, match=says):
        jobs.JobRequest(**{"model": "owner/name", "data": "demo-sentences", **fields}).arguments()


def test_values_cannot_pass_for_options():
    arguments = jobs.JobRequest(model="owner/name", data="--dry-run", layers="0-3,11", limit=5).arguments()
    assert "--data=--dry-run" in arguments
    assert "--dry-run" not in arguments


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\images\\cat one.PNG", "cat-one.png"),
        ("<script>.txt", "script.txt"),
        (".bashrc", "file.bashrc"),
        ("..", "file"),
        ("", "file"),
        ("naïve café.csv", "na-ve-caf.csv"),
    ],
)
def test_uploads_stay_in_the_job_folder_under_plain_names(runs, sent, kept):
    folder = jobs.new_job_folder(runs)
    path = jobs.save_upload(folder, sent, b"content")
    assert (path.parent, path.name, path.read_bytes()) == (folder / "uploads", kept, b"content")
    assert jobs.save_upload(folder, sent, b"second").name != kept


def test_an_unknown_job_is_said_so_and_a_damaged_folder_hides_nothing_else(runs, command):
    with pytest.raises(UserError, match="no job"):
        jobs.read_job(runs, "../../etc")
    job = ended(runs, start(runs, command, "finish").job_id)
    for damaged in (
        "{not json",
        "[" * 100_000,
        "{}",
        '{"request": 5}',
        '{"request": {"model": "m", "data": "d", "x": 1}}',
    ):
        (jobs.new_job_folder(runs) / "job.json").write_text(damaged)
    assert [seen.job_id for seen in jobs.list_jobs(runs)] == [job.job_id]


def test_a_dismissed_card_is_remembered(runs, command):
    job = ended(runs, start(runs, command, "finish").job_id)
    jobs.dismiss_job(runs, job.job_id)
    assert jobs.read_job(runs, job.job_id).dismissed


def old_draft(runs: Path, name: str) -> Path:
    """A draft's upload of two days ago; gives the uploaded file."""
    path = jobs.save_upload(jobs.new_job_folder(runs), name, b"text\n")
    folder = path.parents[1]
    os.utime(folder, (time.time() - 2 * 86_400,) * 2)
    return path


def test_uploads_nothing_was_started_on_are_deleted_after_a_day(runs, command):
    forgotten, fresh = old_draft(runs, "a.txt"), jobs.save_upload(jobs.new_job_folder(runs), "b.txt", b"text\n")
    planned, used = old_draft(runs, "c.txt"), old_draft(runs, "d.txt")  # no start may delete another's upload
    for path, dry_run in ((planned, True), (used, False)):
        request = jobs.JobRequest(model="demo-language", data=str(path))
        job = jobs.start_job(runs, request, command=(sys.executable, "-c", "pass"), dry_run=dry_run)
        wait_for(lambda job=job: jobs.read_job(runs, job.job_id).state != jobs.RUNNING)
    jobs.delete_old_drafts(runs)
    assert [path.exists() for path in (forgotten, fresh, planned, used)] == [False, True, False, True]


def test_a_folder_of_uploaded_images_is_kept_for_its_job(runs):
    folder = old_draft(runs, "a.png").parent
    request = jobs.JobRequest(model="demo-vision", data=str(folder))
    job = jobs.start_job(runs, request, command=(sys.executable, "-c", "pass"))
    wait_for(lambda: jobs.read_job(runs, job.job_id).state != jobs.RUNNING)
    jobs.delete_old_drafts(runs)
    assert (folder / "a.png").exists()


def test_no_upload_is_deleted_while_a_record_cannot_be_read(runs):
    draft = old_draft(runs, "a.txt")
    (jobs.new_job_folder(runs) / "job.json").write_text("{")
    os.utime(draft.parents[1], (time.time() - 2 * 86_400,) * 2)
    jobs.delete_old_drafts(runs)
    assert draft.exists()
