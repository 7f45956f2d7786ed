"""A run as files: its size, and what deleting it takes away."""

from __future__ import annotations

import pytest

from analysis.errors import RunError
from analysis.store import list_runs
from analysis.store.locking import WriterLock
from analysis.store.paths import RETIRED_FILE, lock_path, retired
from app.run_folder import delete_run, find_folder, size_bytes
from tests.store.synthetic import make_synthetic_run


def test_size_is_that_of_all_files(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"67")
    assert size_bytes(tmp_path) == 7
    assert size_bytes(tmp_path / "gone") == 0


def test_deleting_takes_one_run_and_nothing_else(tmp_path):
    for name in ("one", "one-more"):
        make_synthetic_run(tmp_path, name, n_inputs=1)
    size = size_bytes(tmp_path / "one")
    assert delete_run(tmp_path, "one") == size
    assert list_runs(tmp_path)["run_id"].tolist() == ["one-more"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [RETIRED_FILE, "one-more"]
    assert retired(tmp_path) == {"one"}


def test_an_unfinished_run_can_go_too(tmp_path):
    (tmp_path / "half.partial").mkdir()
    delete_run(tmp_path, "half")
    assert list_runs(tmp_path).empty
    assert not retired(tmp_path)  # it was never published: the same command makes it under the same name


def test_deleting_a_link_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("mine")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one").symlink_to(tmp_path / "elsewhere")
    delete_run(tmp_path / "runs", "one")
    assert list_runs(tmp_path / "runs").empty
    assert (tmp_path / "elsewhere" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["../one", "", ".jobs", "one/..", "/etc"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    (tmp_path / ".jobs").mkdir()
    with pytest.raises(RunError):
        delete_run(tmp_path, name)
    assert (tmp_path / ".jobs").is_dir()


def test_a_run_that_is_gone_is_said_so(tmp_path):
    with pytest.raises(RunError, match="another window"):
        find_folder(tmp_path, "one")


def test_a_run_being_written_stays(tmp_path):
    (tmp_path / "half.partial").mkdir()
    lock = WriterLock(lock_path(tmp_path, "half"), "Run 'half'")
    with pytest.raises(RunError, match="being written"):
        delete_run(tmp_path, "half")
    lock.release(remove=True)
    assert (tmp_path / "half.partial").is_dir()
