"""The ray engine: the local engine's run to the last bit, whoever is killed on the way."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pandas as pd
import pytest

import analysis
from analysis.cli import main
from analysis.engines import local
from analysis.engines import ray as engine
from analysis.engines.ray_cluster import connected, find_crew
from analysis.engines.ray_worker import Ready
from analysis.errors import InputError, RunError
from analysis.pipeline import plan_extraction
from analysis.store import verify
from analysis.store.paths import SHARDS

ROOT = Path(__file__).parents[2]
REQUEST = {"model": "demo-language", "data": "demo-sentences", "projection": [], "states": "on"}
N_INPUTS = 190
BATCH = 512
N_BATCHES = 15
"""With so many padded tokens in a batch."""


@pytest.fixture(scope="module")
def cluster():
    """Two cores of this machine, for the whole file; workers find the project as the driver does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "BATCH_TOKENS", BATCH)
        with connected(2):
            yield


@pytest.fixture(scope="module")
def by_one_process(cluster, tmp_path_factory):
    """What the local engine makes of the same batches."""
    with analysis.extract(**REQUEST, out_dir=tmp_path_factory.mktemp("local"), run_id="run") as run:
        scores = run.head_scores().set_index(["metric", "site", "head"])["value"]
    rows = _rows_of(run.path)
    assert len(rows["vectors"]) > N_INPUTS
    return {"rows": rows, "scores": scores}


def test_a_worker_is_killed_in_mid_run_and_the_run_is_the_local_one_to_the_last_bit(
    by_one_process, tmp_path, monkeypatch
):
    workers, killed, told = [], [], []
    result = engine._result

    def noting(reference, at):
        found = result(reference, at)
        if isinstance(found, Ready):
            workers.append(found)
        return found

    def report(progress):
        told.append(progress)
        if progress.stage == "capture" and progress.done >= 20 and len(workers) == 2 and not killed:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    monkeypatch.setattr(engine, "_result", noting)
    with analysis.extract(**REQUEST, out_dir=tmp_path, engine="ray", workers=2, run_id="run", report=report) as run:
        n_rows = run.sql("SELECT count(*) AS n, count(DISTINCT (input_id, site, head)) AS distinct_rows FROM vectors")
        expected = N_INPUTS * sum(site.n_heads for site in run.sites)
        assert n_rows.iloc[0].tolist() == [expected, expected]
        assert (run.manifest["engine"], run.manifest["device"]) == ("ray", "cpu")
    assert len(killed) == 1
    assert len({worker.pid for worker in workers}) == 2
    assert max(progress.done for progress in told if progress.stage == "capture") == N_INPUTS
    assert any("2 workers with Ray on this machine" in progress.message for progress in told)
    assert _rows_of(run.path) == by_one_process["rows"]
    assert sorted(path.name for path in run.path.iterdir()) == ["manifest.json", "run.duckdb"]
    assert verify(run.path).ok


def test_a_killed_driver_goes_on_from_the_shards_that_are_there(by_one_process, tmp_path, monkeypatch):
    import ray

    code = (
        "import os, signal\n"
        "import analysis\n"
        "from analysis.engines import local, ray as engine\n"
        f"local.BATCH_TOKENS = {BATCH}\n"
        "merge = engine.Merging.merge\n"
        "def merge_three_and_die_with_three_more_on_disk(self):\n"
        "    if self._next < 3:\n"
        "        return merge(self)\n"
        "    if len(self._arrived) >= 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "engine.Merging.merge = merge_three_and_die_with_three_more_on_disk\n"
        f"analysis.extract(**{REQUEST!r}, out_dir={str(tmp_path)!r}, engine='ray', workers=1, run_id='run')"
    )
    address = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    command = [sys.executable, "-c", code]
    driver = subprocess.run(command, cwd=ROOT, env=os.environ | address, capture_output=True, text=True, timeout=180)
    assert driver.returncode == -signal.SIGKILL, driver.stderr[-2000:]
    there = [path for path in (tmp_path / "run.partial" / SHARDS).iterdir() if path.suffix == ".shard"]
    assert len(there) >= 3
    damaged = bytearray(there[0].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    there[0].write_bytes(damaged)
    captured, made = [], engine.make_batch
    monkeypatch.setattr(engine, "make_batch", lambda *given: captured.append(given[2]) or made(*given))
    with analysis.extract(**REQUEST, out_dir=tmp_path, engine="ray", workers=1, run_id="run") as run:
        assert 0 < len(captured) <= N_BATCHES - 3 - len(there) + 1
        again = run.head_scores().set_index(["metric", "site", "head"])["value"]
    rows = _rows_of(run.path)
    # Maps of the sample that the killed driver had taken are made again, in other batches.
    scores, expected = rows.pop("head_scores"), by_one_process["rows"]["head_scores"]
    own = [(one, other) for one, other in zip(scores, expected, strict=True) if one != other]
    assert all(one.startswith(("('map_similarity'", "('position_share'")) for one, _ in own)
    pd.testing.assert_series_equal(again, by_one_process["scores"], check_exact=False, rtol=0, atol=1e-5)
    assert rows == {table: of for table, of in by_one_process["rows"].items() if table != "head_scores"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_what_is_wrong_in_a_worker_is_one_sentence(cluster):
    import ray

    @ray.remote(max_retries=0)
    def fail(how):
        if how == "death":
            os._exit(1)
        raise InputError("Input 3 is empty.") if how == "input" else IndexError("index out of range\nin self")

    with pytest.raises(InputError, match=r"^Input 3 is empty\.$"):
        engine._result(fail.remote("input"), "input 3")
    with pytest.raises(RunError, match=r"^A worker failed at 4 inputs from 3 to 9: index out of range$"):
        engine._result(fail.remote("library"), "4 inputs from 3 to 9")
    with pytest.raises(RunError, match=r"^A worker died 3 times at input 3, .*--workers"):
        engine._result(fail.remote("death"), "input 3")


def test_a_dry_run_says_where_it_would_run_and_writes_nothing(cluster, tmp_path):
    plan = plan_extraction(model="demo-language", data="demo-sentences", out_dir=tmp_path, engine="ray", workers=2)
    assert plan.workers == 2
    assert "2 workers with Ray on this machine, 1 core each" in plan.as_text()
    assert not list(tmp_path.iterdir())


def test_ray_leaves_the_signals_to_the_command(cluster):
    assert "ray" not in getattr(signal.getsignal(signal.SIGTERM), "__module__", "")


def test_without_ray_one_sentence_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("analysis.engines.ray_cluster.find_spec", lambda name: None)
    assert main("extract --model demo-language --data demo-sentences --engine ray".split()) == 2
    assert "pip install -r requirements-ray.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("found", "asked", "crew"),
    [
        ({"CPU": 8, "memory": 64e9}, None, (8, 1, 0)),
        ({"CPU": 8, "memory": 64e9}, 2, (2, 4, 0)),
        ({"CPU": 8, "memory": 5e9}, None, (2, 4, 0)),  # two copies of a model of 0.4 GB and their batches
        ({"CPU": 8, "GPU": 4, "memory": 64e9}, None, (4, 1, 1)),
        ({"CPU": 8, "GPU": 1, "memory": 64e9}, 4, (4, 1, 0.25)),
        ({"CPU": 64, "memory": 640e9}, None, (9, 7, 0)),  # no more workers than batches
    ],
)
def test_workers_by_cores_memory_and_gpus(found, asked, crew, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: found)
    loaded = SimpleNamespace(n_parameters=100_000_000, dtype="float32", devices=("cpu",))
    assert find_crew(asked, loaded, 9)[:3] == crew


def _rows_of(path):
    """Every row of every table, in the order in which it lies there; times apart."""
    with duckdb.connect(path / "run.duckdb", read_only=True) as connection:
        tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        rows = {}
        for table in set(tables) - {"migrations"}:
            rows[table] = [repr(row) for row in connection.execute(f"SELECT * FROM {table}").fetchall()]
        return rows
