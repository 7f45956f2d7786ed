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
import secrets
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from analysis.errors import UserError, without_folders
from app.cut_request import CutRequest
from app.export_request import ExportRequest, file_of
from app.importance_request import ImportanceRequest
from app.job_request import JobRequest
from app.map_request import MapRequest
from app.processes import is_alive, process_start, stop_process

REPOSITORY = Path(__file__).resolve().parents[1]
GRACE_SECONDS = 10.0
"""How long a cancelled job may take to close its run before the next, less polite signal."""

DRAFT_SECONDS = 86_400.0
"""How long uploads wait for a job to be started on them, and files of an export to be fetched."""

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


RUNNING, DONE, FAILED, CANCELLED, LOST = "running", "done", "failed", "cancelled", "lost"

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

_JOB_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


@dataclass(frozen=True)
class Job:
    """One job as it stands now.

    Attributes:
        state: ``running``, ``done``, ``failed``, ``cancelled`` or ``lost`` (its process is gone without a word).
        progress: The command's last report: stage, done, total, unit, rate, eta_s, message.
        run_id: The run it makes, as soon as the command has named it, or to which it adds a map.
        error: One sentence for the reader when failed, cancelled or lost.
        cancelling: A cancel was asked for and the command is still closing its run.
        dismissed: Somebody has read how it ended and put its card away.
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

    @property
    def plan(self) -> dict[str, Any]:
        """What a finished dry run found: sites, tokens, seconds, memory and disk; empty for anything else."""
        if not self.dry_run or self.state != DONE:
            return {}
        printed = (self.folder / "stdout.log").read_text(encoding="utf-8", errors="replace")
        return json.loads(printed[printed.index("{") :])


def new_job_folder(runs_dir: Path | str) -> Path:
    """An empty folder for a job that is still being filled in, where its uploads can go."""
    folder = Path(runs_dir) / ".jobs" / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    return folder


def delete_old_drafts(runs_dir: Path | str, older_than_seconds: float = DRAFT_SECONDS) -> None:
    """Delete uploads that no extraction was ever started on. Those of a started one stay: a resume needs them.

    When the record of any job cannot be read nothing is deleted, for it may be the one that needs them.
    """
    root = Path(runs_dir).resolve() / ".jobs"
    folders = [folder for folder in root.glob("*") if _JOB_ID.fullmatch(folder.name) and folder.is_dir()]
    records = [_read_json(folder / "job.json") for folder in folders if (folder / "job.json").exists()]
    if not all("request" in record for record in records):
        return
    started = {
        part for record in records if not record.get("dry_run") for part in _parts(record["request"].get("data", ""))
    }
    for folder in folders:
        is_old = time.time() - folder.stat().st_mtime > older_than_seconds
        if is_old and folder not in started and not (folder / "job.json").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _parts(path: str) -> tuple[Path, ...]:
    return tuple(Path(path).parents) if Path(path).is_absolute() else ()


def save_upload(folder: Path, name: str, content: bytes) -> Path:
    """Write one uploaded file into a job folder under a safe name.

    The name a browser sends is anybody's text: only its last part survives, letters, digits, dots and dashes; two files
    of one name get a number.
    """
    stem, dot, ending = re.split(r"[/\\]", name)[-1].rpartition(".")
    stem, ending = (_safe(part) for part in ((stem, ending) if dot else (ending, "")))
    uploads = folder / "uploads"
    uploads.mkdir(parents=True, exist_ok=True)
    for number in range(100_000):
        path = uploads / f"{stem or 'file'}{f'-{number}' if number else ''}{f'.{ending.lower()}' if ending else ''}"
        with contextlib.suppress(FileExistsError), path.open("xb") as file:
            file.write(content)
            return path
    raise UserError(f"More than 100,000 uploads are called {stem!r}: put them in a folder and name the folder.")


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
    runs_dir = Path(runs_dir).resolve()
    arguments = request.arguments()
    if any(job.state == RUNNING and _is_same_work(job, request) for job in list_jobs(runs_dir)):
        raise UserError(f"{request.busy} {request.run_id} is being made right now: wait for it, or cancel it first.")
    folder = (folder or new_job_folder(runs_dir)).resolve()
    arguments += [f"--out={runs_dir}", f"--progress-file={folder / 'progress.json'}"]
    arguments += ["--dry-run", "--json"] if dry_run else []
    arguments += [f"--to={file_of(folder)}"] if isinstance(request, ExportRequest) else []
    with (folder / "stdout.log").open("wb") as stdout, (folder / "stderr.log").open("wb") as stderr:
        child = subprocess.Popen(
            [*command, *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    record = {
        "kind": next(kind for kind, made in REQUESTS.items() if isinstance(request, made)),
        "request": asdict(request),
        "dry_run": dry_run,
        "started": time.time(),
        "pid": child.pid,
        "pid_started": process_start(child.pid),
    }
    _write_json(folder / "job.json", record)
    _awaited.add(folder)
    threading.Thread(target=_await_exit, args=(child, folder), name=f"job-{folder.name}", daemon=True).start()
    return read_job(runs_dir, folder.name)


def list_jobs(runs_dir: Path | str) -> list[Job]:
    """Every extraction and map started for this runs folder, the newest first; no dry runs."""
    root = Path(runs_dir) / ".jobs"
    names = sorted((path.parent.name for path in root.glob("*/job.json")), reverse=True)
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
    folder = Path(runs_dir).resolve() / ".jobs" / job_id
    record = _read_json(folder / "job.json") if _JOB_ID.fullmatch(job_id) else {}
    try:
        request = REQUESTS.get(record.get("kind"), JobRequest)(**record["request"])
        alive = folder in _awaited or is_alive(record["pid"], record["pid_started"])
    except (KeyError, TypeError) as error:
        raise UserError(f"There is no job {job_id!r} here: it was removed, or the link is from elsewhere.") from error
    ended = _read_json(folder / "exit.json")
    progress = _read_json(folder / "progress.json")
    cancelled = (folder / "cancel.json").exists()
    state = RUNNING if alive and not ended else _ended_state(ended, progress, cancelled)
    return Job(
        job_id=job_id,
        folder=folder,
        request=request,
        started=record.get("started", 0.0),
        state=state,
        pid=record["pid"],
        progress=progress,
        run_id=progress.get("run_id") or request.run_id,
        error="" if state in (RUNNING, DONE) else _sentence(folder, state, progress, ended.get("code"), request),
        cancelling=cancelled and state == RUNNING,
        dismissed=(folder / "dismissed.json").exists(),
        dry_run=record.get("dry_run", False),
    )


def cancel_job(runs_dir: Path | str, job_id: str, grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask a job to stop: Ctrl-C, which leaves a resumable run; firmer after each `grace_seconds`. Returns at once.

    Nothing happens when the job has ended, or when its process id now belongs to another process.
    """
    job = read_job(runs_dir, job_id)
    record = _read_json(job.folder / "job.json")
    if job.state != RUNNING or job.cancelling:
        return
    _write_json(job.folder / "cancel.json", {"asked": time.time()})
    arguments = (record["pid"], record["pid_started"], grace_seconds)
    threading.Thread(target=stop_process, args=arguments, name=f"cancel-{job_id}", daemon=True).start()


def dismiss_job(runs_dir: Path | str, job_id: str) -> None:
    """Put an ended job's card away for every session; its uploads stay, a resume may need them. An export goes."""
    folder = read_job(runs_dir, job_id).folder
    _write_json(folder / "dismissed.json", {"asked": time.time()})
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
    if ended.get("code") == 0 or progress.get("stage") == "done":
        return DONE
    if cancelled or ended.get("code") == INTERRUPTED:
        return CANCELLED
    return FAILED if ended or progress.get("stage") == "failed" else LOST


def _is_same_work(job: Job, request: Request) -> bool:
    if request.makes_run and job.request.makes_run:
        return request.run_id is not None and job.run_id == request.run_id
    return job.request == request


def _sentence(folder: Path, state: str, progress: dict, code: int | None, request: Request) -> str:
    if state == CANCELLED:
        return f"Cancelled. {request.kept}"
    if state == LOST:
        return f"The job's process is gone (the machine was restarted, or it was killed). {request.kept}"
    said = progress.get("message", "") if progress.get("stage") == "failed" else ""
    log = folder / "stderr.log"
    last = error_sentence(log.read_bytes()[-20_000:] if log.exists() else b"")
    if code is not None and code < 0:
        return f"The job was killed by the system (signal {-code}), perhaps for want of memory: take a smaller limit."
    return without_folders((last or said if code == 1 else said or last) or "It ended without saying why.")


def _await_exit(child: subprocess.Popen, folder: Path) -> None:
    code = child.wait()
    with contextlib.suppress(OSError):
        _write_json(folder / "exit.json", {"code": code, "ended": time.time()})
    _awaited.discard(folder)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")[:60]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def _read_json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    return {}
