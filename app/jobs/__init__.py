"""Background jobs: start, watch and cancel an extraction, a map, a measurement or an export by the command line.

What a job is lives in one folder under the runs folder, ``.jobs/<job_id>/``: ``job.json`` (what was asked, the
process id and its start time), ``progress.json`` (written by the command), ``stderr.log``, ``exit.json`` and the
uploads. So a reloaded page, a second session and a restarted server all see the same job. No streamlit in here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from analysis.errors import UserError, without_folders
from app.hosted.public import NotHere, limits, owner_only
from app.jobs import files as job_files
from app.jobs.files import DRAFT_SECONDS, JOB_ID, jobs_root, locked, read_json, write_json
from app.jobs.files import delete_old_drafts as delete_old_drafts
from app.jobs.files import save_upload as save_upload
from app.jobs.processes import is_alive, process_start, stop_process
from app.jobs.requests.cut import CutRequest
from app.jobs.requests.export import ExportRequest, file_of
from app.jobs.requests.extraction import JobRequest
from app.jobs.requests.importance import ImportanceRequest
from app.jobs.requests.map import MapRequest
from app.jobs.room import END, START, give_room, keep_room, told_if_full, words_of

REPOSITORY = Path(__file__).resolve().parents[2]
GRACE_SECONDS = 10.0
"""How long a cancelled job may take to close its run before the next, less polite signal."""

EXTRACTION, MAP, IMPORTANCE, CUT, EXPORT = "extraction", "map", "importance", "cut", "export"
REQUESTS = {
    EXTRACTION: JobRequest, MAP: MapRequest, IMPORTANCE: ImportanceRequest, CUT: CutRequest, EXPORT: ExportRequest,
}  # fmt: skip


class Request(Protocol):
    """What a job is asked to do; a frozen dataclass of plain values, for it is kept as JSON.

    Attributes:
        run_id: The run it makes or is about; None for a new one without a name.
        makes_run: It writes a run, and stopped it can be resumed; others begin again.
        title: Of its card.
        busy: What is busy while it runs, before the run's name, as in ``An export of run``.
        doing: What it does meanwhile, where it has one step only.
        stopping, kept: What becomes of it when it is stopped: while it stops, and then.
    """

    run_id: str | None
    makes_run: bool
    title: str
    busy: str
    doing: str | None
    stopping: str
    kept: str

    def arguments(self) -> list[str]:
        """Of the command, each value bound to its option."""


WAITING, RUNNING, DONE, FAILED, CANCELLED, LOST = "waiting", "running", "done", "failed", "cancelled", "lost"
ACTIVE = (WAITING, RUNNING)
NO_MORE = "Nothing of it is left."
"""What becomes of a visitor's job that ends early."""

# A shell that starts the server in the background makes every child ignore Ctrl-C; the command must hear it to leave a
# resumable run, so the handler is put back before it starts. It also yields the processor to the page.
BOOTSTRAP = (
    "import os, runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); os.nice(5); "
    "runpy.run_module('analysis', run_name='__main__', alter_sys=True)"
)
COMMAND = (sys.executable, "-c", BOOTSTRAP)

INTERRUPTED = 130
"""Exit status of a command that heard Ctrl-C from anybody."""

_awaited: set[Path] = set()
"""Folders of jobs this server started and has not yet seen end: between death and ``exit.json`` they still run."""


@dataclass(frozen=True)
class Job:
    """One job as it stands now.

    Attributes:
        state: ``waiting`` (in the line of a public page), ``running``, ``done``, ``failed``, ``cancelled`` or ``lost``
            (its process is gone without a word).
        progress: The command's last report: stage, done, total, unit, rate, eta_s, message.
        run_id: The run it makes, as soon as the command has named it, or to which it adds a map.
        error: One sentence for the reader when failed, cancelled or lost.
        cancelling: A cancel was asked for and the command is still closing its run.
        dismissed: Somebody has read how it ended and put its card away.
        visitor: Who asked for it on a public page; `started` is then when.
    """

    job_id: str
    folder: Path
    request: Request
    started: float
    state: str
    pid: int | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    error: str = ""
    cancelling: bool = False
    dismissed: bool = False
    dry_run: bool = False
    visitor: str | None = None

    @property
    def plan(self) -> dict[str, Any]:
        """What a finished dry run found: sites, tokens, seconds, memory and disk; empty for anything else."""
        if not self.dry_run or self.state != DONE:
            return {}
        printed = (self.folder / "stdout.log").read_text(encoding="utf-8", errors="replace")
        return json.loads(printed[printed.index("{") :])


def new_job_folder(runs_dir: Path | str) -> Path:
    """An empty folder for a job that is still being filled in, where its uploads can go; not for visitors."""
    owner_only("keeps no files in this way")
    return job_files.new_job_folder(runs_dir)


def start_job(
    runs_dir: Path | str,
    request: Request,
    folder: Path | None = None,
    command: tuple[str, ...] = COMMAND,
    dry_run: bool = False,
) -> Job:
    """Start an extraction, or only its dry run, or an addition to a run, in its own process group and return at once.

    Args:
        runs_dir: Where the run goes; the job folder is its ``.jobs/<job_id>``.
        folder: The job folder from `new_job_folder` when there were uploads; a new one otherwise.
        command: What stands before the arguments; tests put another program here.
        dry_run: Make the plan only: `Job.plan` has it when the job is done, and `list_jobs` leaves it out.

    Raises:
        UserError: The request makes no sense, or the same run or map is being made already.
    """
    owner_only("starts no work of this kind")
    runs_dir = Path(runs_dir).resolve()
    arguments = request.arguments()
    if any(job.state == RUNNING and _is_same_work(job, request) for job in list_jobs(runs_dir)):
        raise UserError(f"{request.busy} {request.run_id} is being made right now: wait for it, or cancel it first.")
    with told_if_full(runs_dir, "The job could not be started"):
        folder = (folder or new_job_folder(runs_dir)).resolve()
    arguments += [f"--out={runs_dir}", f"--progress-file={folder / 'progress.json'}"]
    arguments += ["--dry-run", "--json"] if dry_run else []
    arguments += [f"--to={file_of(folder)}"] if isinstance(request, ExportRequest) else []
    with told_if_full(runs_dir, "The job could not be started"):
        launch(folder, [*command, *arguments], {**record_of(request), "dry_run": dry_run, "started": time.time()})
    return read_job(runs_dir, folder.name)


def record_of(request: Request) -> dict[str, Any]:
    """What was asked, as it is kept."""
    kind = next(kind for kind, made in REQUESTS.items() if isinstance(request, made))
    return {"kind": kind, "request": asdict(request)}


def launch(folder: Path, command: list[str], record: dict[str, Any]) -> None:
    """Start the process of a job in its own group, with nobody's leave asked, and keep its record."""
    with (folder / "stdout.log").open("wb") as stdout, (folder / "stderr.log").open("wb") as stderr:
        keep_room(folder, stderr)
        child = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    _awaited.add(folder)
    give_room(folder, START)
    write_json(folder / "job.json", {**record, "pid": child.pid, "pid_started": process_start(child.pid)})
    threading.Thread(target=_await_exit, args=(child, folder), name=f"job-{folder.name}", daemon=True).start()


def list_jobs(runs_dir: Path | str) -> list[Job]:
    """Every extraction and map started for this runs folder, the newest first; no dry runs."""
    names = sorted((path.parent.name for path in jobs_root(runs_dir).glob("*/job.json")), reverse=True)
    jobs = []
    for name in names:
        with contextlib.suppress(UserError):  # a damaged record hides no other job
            jobs.append(read_job(runs_dir, name))
    return [job for job in jobs if not job.dry_run]


def read_job(runs_dir: Path | str, job_id: str) -> Job:
    """The job as it stands now.

    Raises:
        UserError: There is no such job.
    """
    folder = jobs_root(runs_dir) / job_id
    record = read_json(folder / "job.json") if JOB_ID.fullmatch(job_id) else {}
    try:
        request = REQUESTS.get(record.get("kind"), JobRequest)(**record["request"])
        waits = "asked" in record and "pid" not in record
        alive = not waits and (folder in _awaited or is_alive(record["pid"], record["pid_started"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"There is no job {job_id!r} here: it was removed, or the link is from elsewhere.") from error
    ended = read_json(folder / "exit.json")
    progress = read_json(folder / "progress.json")
    cancelled = (folder / "cancel.json").exists()
    state = RUNNING if alive and not ended else _ended_state(ended, progress, cancelled)
    if waits and not ended:
        state = CANCELLED if cancelled else WAITING
    kept = NO_MORE if "asked" in record else request.kept
    return Job(
        job_id=job_id,
        folder=folder,
        request=request,
        started=record.get("started", record.get("asked", 0.0)),
        state=state,
        pid=record.get("pid"),
        progress=progress,
        run_id=progress.get("run_id") or request.run_id,
        error="" if state in (*ACTIVE, DONE) else _sentence(folder, state, progress, ended, kept),
        cancelling=cancelled and state == RUNNING,
        dismissed=(folder / "dismissed.json").exists(),
        dry_run=record.get("dry_run", False),
        visitor=record.get("visitor"),
    )


def jobs_of(runs_dir: Path | str, visitor: str | None) -> list[Job]:
    """The jobs that somebody is shown: all of them, or on a public page those this visitor asked for."""
    return [job for job in list_jobs(runs_dir) if limits() is None or _is_theirs(job, visitor)]


def _is_theirs(job: Job, visitor: str | None) -> bool:
    return visitor is not None and job.visitor == visitor


def _their_job(runs_dir: Path | str, job_id: str, visitor: str | None) -> Job:
    job = read_job(runs_dir, job_id)
    if limits() is not None and not _is_theirs(job, visitor):
        raise NotHere("On this public page only whoever has asked for a job can stop it or put it away.")
    return job


def cancel_job(
    runs_dir: Path | str, job_id: str, grace_seconds: float = GRACE_SECONDS, visitor: str | None = None
) -> None:
    """Ask a job to stop: Ctrl-C, which leaves a resumable run; firmer after each `grace_seconds`. Returns at once.

    Nothing happens when the job has ended, or when its process id now belongs to another process. One that waits in
    line leaves it.

    Raises:
        UserError: The page is public and the job is not this visitor's.
    """
    _their_job(runs_dir, job_id, visitor)
    with locked(runs_dir):  # or it might begin just now
        job = read_job(runs_dir, job_id)
        if job.state not in ACTIVE or job.cancelling:
            return
        write_json(job.folder / "cancel.json", {"asked": time.time()})
    if job.state == WAITING:
        return
    record = read_json(job.folder / "job.json")
    arguments = (record["pid"], record["pid_started"], grace_seconds)
    threading.Thread(target=stop_process, args=arguments, name=f"cancel-{job_id}", daemon=True).start()


def dismiss_job(runs_dir: Path | str, job_id: str, visitor: str | None = None) -> None:
    """Put an ended job's card away for every session; its uploads stay, a resume may need them. An export goes.

    Raises:
        UserError: The page is public and the job is not this visitor's.
    """
    folder = _their_job(runs_dir, job_id, visitor).folder
    write_json(folder / "dismissed.json", {"asked": time.time()})
    file_of(folder).unlink(missing_ok=True)


def delete_old_exports(runs_dir: Path | str, older_than_seconds: float = DRAFT_SECONDS) -> None:
    """Put away the exports that nobody has fetched for a day."""
    for job in list_jobs(runs_dir):
        file = file_of(job.folder)
        if job.state != RUNNING and file.exists() and time.time() - file.stat().st_mtime > older_than_seconds:
            dismiss_job(runs_dir, job.job_id)


def error_sentence(stderr: bytes) -> str:
    """The one line of a command's error output worth showing: the last that is neither progress bar nor traceback."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stderr.decode("utf-8", "replace"))
    lines = [line.rpartition("\r")[2].strip() for line in text.replace("\r\n", "\n").split("\n")]
    lines = [line for line in lines if line and not re.search(r"\d+%\||\bit/s\b|^\^C$", line)]
    return re.sub(r"^(python -m analysis|analysis|extract|error)\s*:\s*(error:\s*)?", "", lines[-1]) if lines else ""


def _ended_state(ended: dict, progress: dict, cancelled: bool) -> str:
    if ended.get("code") == 0 or (progress.get("stage") == "done" and not ended.get("said")):
        return DONE
    if cancelled or ended.get("code") == INTERRUPTED:
        return CANCELLED
    return FAILED if ended or progress.get("stage") == "failed" else LOST


def _is_same_work(job: Job, request: Request) -> bool:
    if request.makes_run and job.request.makes_run:
        return request.run_id is not None and job.run_id == request.run_id
    return job.request == request


def _sentence(folder: Path, state: str, progress: dict, ended: dict, kept: str) -> str:
    code = ended.get("code")
    if ended.get("said"):
        return str(ended["said"])
    if state == CANCELLED:
        return f"Cancelled. {kept}"
    if state == LOST:
        return f"The job's process is gone (the machine was restarted, or it was killed). {kept}"
    said = progress.get("message", "") if progress.get("stage") == "failed" else ""
    last = error_sentence(words_of(folder / "stderr.log"))
    if code is not None and code < 0:
        return f"The job was killed by the system (signal {-code}), perhaps for want of memory: take a smaller limit."
    return without_folders((last or said if code == 1 else said or last) or "It ended without saying why.")


def _await_exit(child: subprocess.Popen, folder: Path) -> None:
    code = child.wait()
    with contextlib.suppress(OSError):
        give_room(folder, END)
        if not (folder / "exit.json").exists():  # a job of a visitor says itself how it ended
            write_json(folder / "exit.json", {"code": code, "ended": time.time()})
    _awaited.discard(folder)
