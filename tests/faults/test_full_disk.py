"""No room while something is published, exported or brought in: one sentence, nothing half-made, and the run intact.

The limit is one of the system on the length of a file, which any user may set; ``bench_faults`` fills a small disk.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from analysis.errors import UserError
from analysis.progress import Progress, ProgressFile
from analysis.store import list_runs
from app import jobs
from app.jobs.requests.extraction import JobRequest
from app.run_folder import delete_run
from tests.e2e.serving import eventually
from tests.faults.fullness import Fullness, tree
from tests.faults.killing import PublishShop
from tests.faults.nursery import Nursery
from tests.faults.publishing import RUN
from tests.store.synthetic import make_synthetic_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE as Linux has it")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with Nursery(light=True) as nursery:
        yield PublishShop(nursery, tmp_path_factory.mktemp("shop"))


def test_publishing_a_run_and_an_addition_without_room(shop):
    full = Fullness(shop)
    run, addition = shop.extract_arguments(shop.runs), shop.project_arguments(shop.runs)
    full.stop(run, limit_bytes=200_000, from_publish=True)
    assert list_runs(shop.runs)["status"].tolist() == ["partial"]
    full.go_on(run)
    before = tree(shop.runs)
    full.stop(addition, limit_bytes=20_000, from_publish=True)
    assert {name: content for name, content in tree(shop.runs).items() if "/.add-" not in name} == before
    assert list_runs(shop.runs)["status"].tolist() == ["complete"]
    full.go_on(addition)


@pytest.mark.parametrize(("format", "ending"), [("parquet", ""), ("csv", ".zip"), ("run", "")])
def test_exporting_without_room_leaves_nothing(shop, tmp_path, format, ending):
    target = tmp_path / f"out{ending}"
    full, before = Fullness(shop), tree(shop.reference)
    arguments = ["export", RUN, f"--out={shop.reference}", f"--to={target}", f"--format={format}"]
    full.stop(arguments, limit_bytes=10_000)
    assert list(tmp_path.iterdir()) == []
    assert tree(shop.reference) == before
    assert shop.nursery.run(arguments, shop.notes) == 0, shop.said()
    assert target.exists()


def test_bringing_a_run_in_without_room_leaves_nothing(shop, tmp_path):
    arguments = ["import", str(shop.reference / RUN), f"--out={tmp_path / 'there'}"]
    Fullness(shop).stop(arguments, limit_bytes=10_000)
    assert list((tmp_path / "there").iterdir()) == []
    assert shop.nursery.run(arguments, shop.notes) == 0, shop.said()
    assert tree(tmp_path / "there") == tree(shop.reference)


def test_progress_that_cannot_be_written_ends_no_job(tmp_path):
    report = ProgressFile(tmp_path / "gone" / "progress.json")
    report(Progress("capture", 1, 2))
    (tmp_path / "gone").mkdir()
    report(Progress("capture", 2, 2))
    assert (tmp_path / "gone" / "progress.json").exists()


def test_no_job_is_started_and_no_upload_kept_without_room(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("app.jobs.subprocess.Popen", lambda *arguments, **more: started.append(arguments))
    folder = jobs.new_job_folder(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(UserError, match=r"could not be started, for the disk of the runs is full \(.* are free"):
        jobs.start_job(tmp_path, JobRequest(model="demo-language", data="demo-sentences"))
    assert not started
    assert jobs.list_jobs(tmp_path) == []
    monkeypatch.setattr(Path, "open", no_room)
    with pytest.raises(UserError, match="upload could not be kept, for the disk of the runs is full"):
        jobs.save_upload(folder, "a.txt", b"text")


def test_a_job_keeps_room_for_its_last_words(tmp_path):
    code = "import sys, time; time.sleep(0.5); sys.exit('error: The end.')"
    job = jobs.start_job(tmp_path, JobRequest(model="demo-language", data="x"), command=(sys.executable, "-c", code))
    assert (job.folder / "stderr.log").stat().st_size >= 4096
    assert (job.folder / ".room-end").stat().st_size >= 4096
    eventually(lambda: jobs.read_job(tmp_path, job.job_id).state == jobs.FAILED, 20)
    assert jobs.read_job(tmp_path, job.job_id).error == "The end."
    assert not list(job.folder.glob(".room*"))


def test_a_run_can_be_deleted_where_its_id_cannot_be_noted_before(tmp_path, monkeypatch):
    make_synthetic_run(tmp_path, "old", n_inputs=2)
    noted = []

    def note(folder, run_id):
        if (folder / run_id).exists():
            no_room()
        noted.append(run_id)

    monkeypatch.setattr("app.run_folder.retire", note)
    assert delete_run(tmp_path, "old") > 0
    assert noted == ["old"]
    assert list_runs(tmp_path).empty


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
