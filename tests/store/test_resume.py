"""A job that is killed, refused or interrupted: nothing acknowledged is lost and nothing half-made is published."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from analysis.errors import RunError
from analysis.store import RunWriter, database, list_runs, open_run, publish, verify
from analysis.types import SiteCapture
from tests.store import batches
from tests.store.synthetic import make_synthetic_run

PROGRAM = Path(batches.__file__)


def _killed_after(folder, n_batches):
    job = subprocess.Popen([sys.executable, str(PROGRAM), str(folder)], stdout=subprocess.PIPE, text=True)
    lines = [json.loads(job.stdout.readline()) for _ in range(n_batches + 1)]
    job.send_signal(signal.SIGKILL)
    lines += [json.loads(line) for line in job.stdout.read().splitlines() if line.endswith("}")]
    assert job.wait() == -signal.SIGKILL
    return lines[0]["held"], {i for line in lines[1:] for i in line["acknowledged"]}


def test_killed_again_and_again_loses_nothing_acknowledged_and_redoes_at_most_a_batch(tmp_path):
    acknowledged = set()
    for n_batches in (1, 7, 20):
        held, new = _killed_after(tmp_path, n_batches)
        assert len(acknowledged) <= held <= len(acknowledged) + 4
        assert not acknowledged & new, "an acknowledged input was done again"
        acknowledged |= new
        assert list_runs(tmp_path)["status"].tolist() == ["partial"]
        with pytest.raises(RunError, match="not finished"):
            open_run("run", tmp_path)
    batches.write(str(tmp_path))
    assert verify(tmp_path / "run").ok
    with open_run("run", tmp_path) as run:
        expected = np.concatenate([batches.capture(i).queries[2] for i in range(batches.N_INPUTS)])
        np.testing.assert_array_equal(run.queries("a#0", 2), expected)
        assert run.head_input_scores()["input_id"].tolist() == list(range(batches.N_INPUTS))


def test_a_batch_given_twice_is_stored_once(tmp_path):
    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        writer.put_plan([batches.SITE], {}, {}, {})
        writer.put_inputs(*batches.tables(), {})
        for ids in ([0, 1], [1, 2], [0, 1, 2]):
            writer.put_batch([[batches.capture(i)] for i in ids], batches.scores(ids), lambda capture: False)
        assert writer.done_inputs() == {0, 1, 2}
        assert writer.database.execute("SELECT count(*), count(DISTINCT input_id) FROM vectors") == [(12, 3)]
        assert writer.database.execute("SELECT count(*) FROM head_input_scores") == [(3,)]


def test_a_run_is_not_published_before_every_input_is_there(tmp_path):
    batches.write(str(tmp_path), stop=8)
    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer, pytest.raises(RunError, match="392 inputs"):
        writer.publish({})
    assert not (tmp_path / "run").exists()
    assert len(RunWriter.open(tmp_path, "run", batches.SPEC).done_inputs()) == 8


def test_another_spec_is_refused_and_named(tmp_path):
    RunWriter.open(tmp_path, "run", {"model": "m", "seed": 0}).close()
    with pytest.raises(RunError, match=r"other settings \(seed\)"):
        RunWriter.open(tmp_path, "run", {"model": "m", "seed": 1})
    RunWriter.open(tmp_path, "run", {"seed": 0, "model": "m"}).close()


def test_a_finished_run_is_never_written_again(tmp_path):
    path = make_synthetic_run(tmp_path, "run")
    before = {entry.name: entry.read_bytes() for entry in path.iterdir()}
    with pytest.raises(RunError, match="never changed"):
        RunWriter.open(tmp_path, "run", {})
    assert {entry.name: entry.read_bytes() for entry in path.iterdir()} == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run"]


def test_two_writers_of_one_run(tmp_path):
    with RunWriter.open(tmp_path, "run", batches.SPEC):
        with pytest.raises(RunError, match="another job"):
            RunWriter.open(tmp_path, "run", batches.SPEC)
        code = f"from tests.store import batches; batches.write({str(tmp_path)!r})"
        other = subprocess.run([sys.executable, "-c", code], cwd=PROGRAM.parents[2], capture_output=True, text=True)
        assert "RunError" in other.stderr
        assert "another job" in other.stderr
        with RunWriter.open(tmp_path, "other", batches.SPEC) as second:
            assert second.done_inputs() == set()
    RunWriter.open(tmp_path, "run", batches.SPEC).close()


@pytest.fixture(scope="module")
def nearly_whole(tmp_path_factory):
    """All batches but the last."""
    folder = tmp_path_factory.mktemp("nearly")
    batches.write(str(folder), stop=batches.N_INPUTS - 4)
    return folder


class Stopped(BaseException):
    """Stands for the end of the process: nothing catches it."""


def _stop_at(monkeypatch, target, name, call):
    original, calls = getattr(target, name), []

    def stopping(*arguments, **options):
        calls.append(arguments)
        if len(calls) == call:
            raise Stopped
        return original(*arguments, **options)

    monkeypatch.setattr(target, name, stopping)


@pytest.mark.parametrize(
    ("target", "name", "call"),
    [
        (database.Database, "close", 1), (publish, "flush", 1), (publish, "sha256", 1), (publish, "manifest_bytes", 1),
        (Path, "replace", 1), (publish, "flush", 2), (Path, "unlink", 1), (Path, "rename", 1),
    ],
    ids="checkpoint flush checksum manifest manifest-rename manifest-flush spec run-rename".split(),
)  # fmt: skip
def test_publishing_interrupted_at_each_step_is_gone_on_with(nearly_whole, tmp_path, monkeypatch, target, name, call):
    shutil.copytree(nearly_whole, tmp_path, dirs_exist_ok=True)
    writer = RunWriter.open(tmp_path, "run", batches.SPEC)
    ids = sorted(set(range(batches.N_INPUTS)) - writer.done_inputs())
    writer.put_batch([[batches.capture(i)] for i in ids], batches.scores(ids), lambda capture: False)
    with monkeypatch.context() as patch:
        _stop_at(patch, target, name, call)
        with pytest.raises(Stopped):
            writer.publish({"model": "m"})
    writer.close()
    assert not (tmp_path / "run").exists()
    assert list_runs(tmp_path)["status"].tolist() == ["partial"]
    with pytest.raises(RunError, match="other settings"):
        RunWriter.open(tmp_path, "run", {"model": "another"})
    with RunWriter.open(tmp_path, "run", batches.SPEC) as again:
        assert again.done_inputs() == set(range(batches.N_INPUTS))
        path = again.publish({"model": "m"})
    assert verify(path).ok
    assert sorted(entry.name for entry in path.iterdir()) == ["manifest.json", "run.duckdb"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run"]


def test_a_full_disk_while_writing_a_batch_leaves_the_batch_out(tmp_path, monkeypatch):
    batches.write(str(tmp_path), stop=4)
    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        insert = database.Database.insert

        def full(self, table, rows):
            if table == "done_inputs":
                raise duckdb.IOException("IO Error: Could not write file: No space left on device")
            insert(self, table, rows)

        with monkeypatch.context() as patch:
            patch.setattr(database.Database, "insert", full)
            with pytest.raises(RunError, match="free disk space"):
                writer.put_batch([[batches.capture(4)]], batches.scores([4]), lambda capture: False)
        assert writer.done_inputs() == {0, 1, 2, 3}
        assert writer.database.execute("SELECT max(input_id) FROM vectors") == [(3,)]


def test_a_full_disk_while_publishing_leaves_the_partial_run(nearly_whole, tmp_path, monkeypatch):
    shutil.copytree(nearly_whole, tmp_path, dirs_exist_ok=True)
    ids = list(range(batches.N_INPUTS - 4, batches.N_INPUTS))

    def full(path):
        raise OSError(28, "No space left on device")

    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        writer.put_batch([[batches.capture(i)] for i in ids], None, lambda capture: False)
        with monkeypatch.context() as patch:
            patch.setattr(publish, "flush", full)
            with pytest.raises(RunError, match="No space left"):
                writer.publish({})
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.partial"]
    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        assert verify(writer.publish({})).ok


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE as Linux has it")
def test_a_file_that_may_not_grow_ends_in_a_sentence(tmp_path):
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000));"
        f"from tests.store import batches; batches.write({str(tmp_path)!r}, batch=40)"
    )
    job = subprocess.run([sys.executable, "-c", code], cwd=PROGRAM.parents[2], capture_output=True, text=True)
    acknowledged = {i for line in job.stdout.splitlines() for i in json.loads(line).get("acknowledged", [])}
    assert "RunError" in job.stderr
    assert 0 < len(acknowledged) < batches.N_INPUTS
    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        assert acknowledged <= writer.done_inputs()
    batches.write(str(tmp_path))
    assert verify(tmp_path / "run").ok


def test_the_lock_ends_with_the_process(tmp_path):
    _killed_after(tmp_path, 1)
    assert (tmp_path / ".run.lock").exists()
    RunWriter.open(tmp_path, "run", batches.SPEC).close()
    assert os.listdir(tmp_path) == ["run.partial"]


def test_what_is_on_disk_does_not_stay_in_memory(tmp_path, monkeypatch):
    """Nine megabytes of vectors in whole row groups: DuckDB keeps none of them beyond what it may."""
    monkeypatch.setattr("analysis.store.database._KEPT_PAGES", "2MB")
    n_inputs, width = 1024, 96
    site = replace(batches.SITE, d_head=width, d_value=width)
    shape = (batches.N_HEADS, batches.N_TOKENS)
    random = np.random.default_rng(0).normal(size=(2, *shape, width)).astype(np.float32)
    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        writer.put_plan([site], {}, {}, {})
        writer.put_inputs(*batches.tables(n_inputs), {})
        every = (np.ones(shape, np.float32), np.ones((batches.N_TOKENS,) * 2, bool))
        captures = [[SiteCapture(site, i, *random, *every)] for i in range(n_inputs)]
        for start in range(0, n_inputs, 512):
            writer.put_batch(captures[start : start + 512], None, lambda capture: False)
        (held,) = writer.database.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()")[0]
    assert n_inputs * batches.N_HEADS * batches.N_TOKENS * width * 4 > 9e6
    assert held < 4e6


def test_sums_of_profiles_go_on_where_a_killed_job_stopped_and_are_gone_in_the_finished_run(tmp_path):
    more = {("offset", 0): np.array([[1.0, 2.0], [3.0, 4.0]])}

    def put(writer, *ids):
        writer.put_batch([[batches.capture(i)] for i in ids], None, lambda capture: False, more)

    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        writer.put_plan([batches.SITE], {}, {}, {})
        writer.put_inputs(*batches.tables(4), {})
        put(writer, 0)
        put(writer, 0)  # stored already: adds nothing a second time
        with pytest.raises(RunError, match="Part of this batch"):
            put(writer, 0, 1)
    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        np.testing.assert_array_equal(writer.profile_sums()["offset", 0], more["offset", 0])
        put(writer, 1, 2, 3)
        np.testing.assert_array_equal(writer.profile_sums()["offset", 0], 2 * more["offset", 0])
        assert writer.database.execute("SELECT count(*) FROM profile_sums") == [(1,)]
        writer.publish({})
    with open_run("run", tmp_path) as run:
        assert run.sql("SELECT count(*) AS n FROM run.main.profile_sums")["n"].tolist() == [0]
