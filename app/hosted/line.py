"""The line of a public page: visitors ask for runs, which are made one after the other.

It is files in the folders of the jobs, so a restarted server goes on with it. `ask` puts a run in line, `advance`
starts what may start, `keep` does so as long as the server lives. No streamlit in here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from analysis.errors import UserError
from analysis.inputs import BUNDLED_DATA
from app import jobs
from app.hosted import visitors
from app.hosted.public import Limits, NotHere, allowed_run, check_size, limits
from app.jobs import files as job_files
from app.jobs.files import DRAFT_SECONDS, locked, read_json, write_json
from app.jobs.requests.extraction import JobRequest

_LOG = logging.getLogger(__name__)
HOUR = 3600.0
EVERY_SECONDS = 0.5
GONE = "Its process is gone: the machine was restarted, or it was killed. Nothing of it is left; ask for it again."

Files = Sequence[tuple[str, bytes]]

_keeper = threading.Lock()
_wake = threading.Event()


def ask(
    runs_dir: Path | str,
    request: JobRequest,
    visitor: str | None,
    files: Files = (),
    command: tuple[str, ...] = jobs.COMMAND,
) -> jobs.Job:
    """Put a run in line for a visitor; it begins when its turn comes.

    Args:
        files: Name and content of what the visitor uploaded or pasted; none for bundled data.
        command: As of `jobs.start_job`.

    Raises:
        UserError: This page makes no such run, it is in line already, the visitor has had enough for now, or the line
            is full.
    """
    known, runs_dir = limits(), Path(runs_dir).resolve()
    if known is None or not known.models:
        raise NotHere("This public page shows runs and makes none: install QK Atlas to make your own.")
    if visitor is None:
        raise NotHere("Your browser keeps no cookies for this page, so a run of yours could not be told from others'.")
    if not isinstance(request, JobRequest):
        raise NotHere("This public page makes new runs and adds nothing to those there are.")
    request = allowed_run(request, known, BUNDLED_DATA, bool(files))
    check_size(sum(len(content) for _, content in files), known)
    request.arguments()
    same = _digest(request, files)
    with locked(runs_dir):
        _check_turns(runs_dir, visitor, same, known)
        folder = job_files.new_job_folder(runs_dir).resolve()
        try:
            data = str(job_files.save_data(folder, files)) if files else request.data
        except (UserError, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        request = replace(request, data=data, run_id=visitors.new_run_id())
        visitors.mark(runs_dir, request.run_id, visitor)
        asked = {"runs_dir": str(runs_dir), "run_id": request.run_id, "command": list(command)}
        write_json(folder / "limited.json", asked)
        record = {"visitor": visitor, "asked": time.time(), "same": same}
        write_json(folder / "job.json", {**jobs.record_of(request), **record})
    keep(runs_dir)
    advance(runs_dir)
    return jobs.read_job(runs_dir, folder.name)


def places(runs_dir: Path | str) -> dict[str, int]:
    """Of each job that waits, its place in line: 1 is next."""
    return {job.job_id: place for place, job in enumerate(_waiting(jobs.list_jobs(runs_dir)), start=1)}


def ordinal(place: int) -> str:
    """``1st``, ``2nd``, ``11th``."""
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place:,}{ending}"


def advance(runs_dir: Path | str) -> bool:
    """Tidy up behind jobs that ended and start the first in line while there is room.

    Returns:
        Whether anything waits or runs.
    """
    known, runs_dir = limits(), Path(runs_dir).resolve()
    if known is None or not known.models:
        return False
    with locked(runs_dir):
        theirs = [job for job in jobs.list_jobs(runs_dir) if job.visitor is not None]
        for job in theirs:
            if job.state not in jobs.ACTIVE:
                _tidy(runs_dir, job)
        n_running, waiting = sum(job.state == jobs.RUNNING for job in theirs), _waiting(theirs)
        for job in waiting[: max(known.jobs_at_once - n_running, 0)]:
            _begin(job, known)
        return bool(waiting) or n_running > 0


def keep(runs_dir: Path | str) -> None:
    """Move the line on from a thread of its own, until the server ends; once is enough."""
    _wake.set()
    if limits() is not None and _keeper.acquire(blocking=False):
        threading.Thread(target=_keep, args=(Path(runs_dir),), name="line", daemon=True).start()


def _keep(runs_dir: Path) -> None:
    is_busy = True
    while True:
        _wake.wait(EVERY_SECONDS if is_busy else 60)
        if is_busy:
            time.sleep(EVERY_SECONDS)
        _wake.clear()
        try:
            is_busy = advance(runs_dir)
        except Exception:
            _LOG.exception("The line of waiting runs could not be moved on.")


def _check_turns(runs_dir: Path, visitor: str, same: str, known: Limits) -> None:
    everybody = [job for job in jobs.list_jobs(runs_dir) if job.visitor is not None]
    own = [job for job in everybody if job.visitor == visitor]
    records = {job.job_id: read_json(job.folder / "job.json") for job in own}
    if any(job.state in jobs.ACTIVE and records[job.job_id].get("same") == same for job in own):
        raise NotHere("You have asked for this run already: its card is above.")
    times = sorted(record.get("asked", 0.0) for record in records.values())
    since = [asked for asked in times if asked > time.time() - HOUR]
    if len(since) >= known.jobs_per_hour:
        minutes = max(round((since[-known.jobs_per_hour] + HOUR - time.time()) / 60), 1)
        raise NotHere(
            f"You have asked for {known.jobs_per_hour} runs within an hour, the most that this public page takes: the "
            f"next one in {minutes} min."
        )
    if len(_waiting(everybody)) >= known.max_waiting:
        raise NotHere(f"{known.max_waiting} runs are in line, as many as this public page takes: try again later.")


def _waiting(of: Sequence[jobs.Job]) -> list[jobs.Job]:
    return sorted((job for job in of if job.state == jobs.WAITING), key=lambda job: (job.started, job.job_id))


def _begin(job: jobs.Job, known: Limits) -> None:
    if job.request.model not in known.models:  # the settings are others since the server was started anew
        said = f"This public page does not run {job.request.model} any more."
        return write_json(job.folder / "exit.json", {"code": 2, "ended": time.time(), "said": said})
    asked = read_json(job.folder / "limited.json")
    arguments = [*job.request.arguments(), f"--out={asked['runs_dir']}"]
    command = [*asked.pop("command"), *arguments]
    write_json(job.folder / "limited.json", {**asked, "command": command, "limits": asdict(known)})
    record = {**read_json(job.folder / "job.json"), "started": time.time()}
    return jobs.launch(job.folder, [sys.executable, "-m", "app.hosted.limited", str(job.folder)], record)


def _tidy(runs_dir: Path, job: jobs.Job) -> None:
    """Of a job that did not end well nothing is left but its card, also where its own process could not see to it."""
    ended = read_json(job.folder / "exit.json")
    if job.state == jobs.LOST:
        write_json(job.folder / "exit.json", {"code": 1, "ended": time.time(), "said": GONE})
    if not (job.folder / "tidied").exists():
        shutil.rmtree(job.folder / "uploads", ignore_errors=True)
        if job.state != jobs.DONE:
            visitors.remove_run(runs_dir, str(job.request.run_id))
        (job.folder / "tidied").touch()
    if time.time() - ended.get("ended", job.started) > DRAFT_SECONDS:
        shutil.rmtree(job.folder, ignore_errors=True)


def _digest(request: JobRequest, files: Files) -> str:
    content = [(name, hashlib.sha256(content).hexdigest()) for name, content in files]
    asked = {**asdict(request), "data": content or request.data, "run_id": None}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
