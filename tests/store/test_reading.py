"""Readers: many threads, other processes, jobs beside them; and what a reader may not do."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.errors import RunError, UnknownName, UserError
from analysis.store import RunWriter, add_to_run, list_runs, open_run, verify
from tests.store import batches
from tests.store.synthetic import add_map, make_synthetic_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_synthetic_run(tmp_path_factory.mktemp("runs"), n_inputs=12, n_layers=3, n_heads=4)


def test_twenty_threads_get_their_own_answers(path):
    with open_run(path) as run, open_run(path) as same:
        places = [(site, head) for site in run.sites for head in range(4)]
        expected = {(site.key, head): (run.queries(site, head), run.keys(site, head)) for site, head in places}
        attention = {i: run.attention_all(i) for i in range(12)}

        def ask(number):
            rng = np.random.default_rng(number)
            for _ in range(6):
                site, head = places[rng.integers(len(places))]
                reader, input_id = (run, same)[rng.integers(2)], int(rng.integers(12))
                np.testing.assert_array_equal(reader.queries(site, head), expected[site.key, head][0])
                np.testing.assert_array_equal(reader.keys(site, head), expected[site.key, head][1])
                found = reader.attention(site, head, input_id)
                np.testing.assert_allclose(found, attention[input_id][site.key][head], atol=1e-6)
                assert reader.sql("SELECT ? + ? AS n", [number, input_id])["n"].tolist() == [number + input_id]
                assert set(reader.coordinates("atlas", site, head)["site"]) == {site.key}
            return number

        with ThreadPoolExecutor(20) as pool:
            assert list(pool.map(ask, range(20))) == list(range(20))


def test_an_open_run_hinders_no_other_process_and_no_job(path, tmp_path):
    copy = make_synthetic_run(tmp_path, "shared")
    with open_run(copy) as run:
        code = (
            "from analysis.store import open_run, add_to_run; from tests.store.synthetic import add_map\n"
            f"with open_run({str(copy)!r}) as run:\n"
            "    print(len(run.tokens()), run.queries(run.sites[0], 0).shape[0])\n"
            f"with add_to_run({str(copy)!r}, 'later') as addition:\n"
            "    add_map(addition, 'umap', 2, addition.sites, len(addition.run.tokens())); addition.publish()\n"
        )
        job = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert job.stderr == ""
        assert job.stdout.split() == [str(len(run.tokens()))] * 2
        assert run.projections()["name"].tolist() == ["atlas-2d", "pca-3d", "later"]
        assert len(run.coordinates("umap", run.sites[0], 1)) == 2 * len(run.tokens())


def test_reading_while_a_job_writes_another_run_and_an_addition(tmp_path):
    copy = make_synthetic_run(tmp_path, "read")
    with open_run(copy) as run, RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        expected = run.queries(run.sites[0], 0)
        writer.put_plan([batches.SITE], {}, {}, {})
        writer.put_inputs(*batches.tables(), {})
        with add_to_run(copy, "later") as addition, ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(run.queries, run.sites[0], 0) for _ in range(20)]
            for i in range(20):
                writer.put_batch([[batches.capture(i)]], None, lambda capture: False)
                assert writer.reader().attention_by_input  # the writer's own reader, beside the others
            name = add_map(addition, "umap", 2, addition.sites, len(run.tokens()))
            assert name == "later"
            assert "later" not in run.projections()["name"].tolist()
            addition.publish()
            for answer in answers:
                np.testing.assert_array_equal(answer.result(), expected)
        assert "later" in run.projections()["name"].tolist()
        assert len(run.thumbnail("later", "text.enc.self")) > 100
        assert len(run.fidelity("later")) == 6
        assert set(run.fidelity()["projection"]) == {"atlas-2d", "pca-3d", "later"}
        assert sorted(list_runs(tmp_path)["status"]) == ["complete", "partial"]
        np.testing.assert_array_equal(run.queries(run.sites[0], 0), expected)


def test_a_writers_reader_answers_like_the_published_run(tmp_path):
    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        writer.put_plan([batches.SITE], {"a#0": np.ones((4, 8), np.float32)}, {}, {})
        writer.put_inputs(*batches.tables(3), {})
        writer.put_batch([[batches.capture(i)] for i in range(3)], batches.scores([0, 1, 2]), lambda capture: False)
        reader = writer.reader()
        with ThreadPoolExecutor(2) as pool:
            before = pool.submit(reader.keys, "a#0", 1).result(), reader.attention("a#0", 1, 2), reader.tokens()
        with open_run(writer.publish({})) as run:
            np.testing.assert_array_equal(run.keys("a#0", 1), before[0])
            np.testing.assert_array_equal(run.attention("a#0", 1, 2), before[1])
            pd.testing.assert_frame_equal(run.tokens(), before[2])


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE run.main.tokens", "DELETE FROM run.main.tokens", "UPDATE run.main.sites SET depth = 9",
        "INSERT INTO run.main.sites SELECT * FROM run.main.sites", "CREATE TABLE t AS SELECT 1", "DROP VIEW tokens",
        "CREATE TEMP TABLE t AS SELECT 1", "CREATE OR REPLACE VIEW tokens AS SELECT 1", "CHECKPOINT",
        "ATTACH 'other.duckdb'", "DETACH run", "COPY tokens TO 'out.csv'", "COPY (SELECT 1) TO '/tmp/out.csv'",
        "EXPORT DATABASE 'out'", "INSTALL httpfs", "LOAD httpfs", "SET threads = 1", "RESET ALL", "PRAGMA threads = 1",
        "SELECT * FROM read_text('{run}/manifest.json')", "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'", "SELECT * FROM glob('/*')",
        "FROM read_parquet('x.parquet')", "FROM read_json('{run}/manifest.json')", "CALL force_checkpoint()",
        "SELECT * FROM force_checkpoint()", "SELECT 1; SELECT 2", "SELECT 1; DROP VIEW tokens", "", "nonsense",
        "WITH x AS (INSERT INTO run.main.done_inputs VALUES (99) RETURNING 1) SELECT * FROM x",
        "SELECT * FROM enable_logging('FileSystem', storage := 'file', storage_config := {{'path': '/tmp/log'}})",
        "SELECT * FROM query('DROP VIEW tokens')", "SELECT * FROM frame_of_the_caller", 
        "SELECT no_such_column FROM tokens",
        "BEGIN TRANSACTION", "USE run", "EXECUTE x", "SELECT getenv('HOME')", "FROM sniff_csv('/etc/passwd')",
    ],
)  # fmt: skip
def test_sql_reads_this_run_and_nothing_else(path, query):
    frame_of_the_caller = pd.DataFrame({"a": [1]})
    with open_run(path) as run:
        n_tokens = len(run.tokens())
        with pytest.raises(UserError):
            run.sql(query.format(run=path))
        assert len(run.tokens()) == n_tokens == run.sql("SELECT count(*) AS n FROM tokens")["n"][0]
    assert len(frame_of_the_caller) == 1
    assert verify(path).ok


def test_sql_answers_questions(path):
    with open_run(path) as run:
        found = run.sql(
            "WITH words AS (SELECT text, count(*) AS n FROM tokens WHERE NOT is_special GROUP BY text) "
            "SELECT * FROM words WHERE n >= $least ORDER BY n DESC, text",
            {"least": 2},
        )
        tokens = run.tokens()
        counts = tokens[~tokens["is_special"]]["text"].value_counts()
        assert dict(zip(found["text"], found["n"])) == counts[counts >= 2].to_dict()
        assert run.sql("SELECT * FROM tokens WHERE text = ?", ["'; DROP TABLE tokens; --"]).empty
        joined = run.sql("SELECT DISTINCT projection_id FROM coordinates JOIN projections USING (projection)")
        assert set(joined["projection_id"]) == {"atlas-2d", "pca-3d"}


def test_a_query_that_takes_too_long_is_ended(path, monkeypatch):
    from analysis.store import root

    monkeypatch.setattr(root, "_GUARDS", ("max_execution_time = 300", *root._GUARDS[4:]))
    with open_run(path) as run, pytest.raises(UserError, match="maximum execution time"):
        run.sql("SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b")


def test_a_closed_run_says_so(path):
    run = open_run(path)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run.tokens).result() is not None
        run.close()
        with pytest.raises(RunError, match="closed"):
            pool.submit(run.tokens).result()


def test_additions_of_two_jobs_at_once(tmp_path):
    copy = make_synthetic_run(tmp_path, "run")
    before = {entry.name: entry.read_bytes() for entry in copy.iterdir()}
    with add_to_run(copy, "one") as one, add_to_run(copy, "two") as two:
        with pytest.raises(RunError, match="another job"):
            add_to_run(copy, "one")
        n_tokens = len(one.run.tokens())
        add_map(one, "umap", 2, one.sites, n_tokens, seed=1)
        add_map(two, "umap", 2, two.sites, n_tokens, seed=2)
        scores = {"metric": ["late"], "site": ["text.enc.self.1"], "head": [1], "value": [0.25]}
        two.put_head_scores(pd.DataFrame(scores))
        one.publish()
        two.publish()
    assert {name: (copy / name).read_bytes() for name in before} == before
    assert sorted(entry.name for entry in copy.iterdir()) == sorted(
        [*before, "add-one.duckdb", "add-one.json", "add-two.duckdb", "add-two.json"]
    )
    assert verify(copy).ok
    with open_run(copy) as run:
        assert run.projections()["name"].tolist() == ["atlas-2d", "pca-3d", "one", "two"]
        one, two = (run.coordinates(projection=name, site=run.sites[0], head=0) for name in ("one", "two"))
        assert len(one) == len(two)
        assert not np.allclose(one["x"], two["x"])
        assert run.head_scores().query("metric == 'late'")["value"].tolist() == [0.25]
    with pytest.raises(RunError, match="already"):
        add_to_run(copy, "one")


def test_an_addition_given_up_leaves_nothing(tmp_path):
    copy = make_synthetic_run(tmp_path, "run")
    before = sorted(entry.name for entry in copy.iterdir())
    with add_to_run(copy, "late") as addition:
        add_map(addition, "umap", 2, addition.sites, len(addition.run.tokens()))
    assert sorted(entry.name for entry in copy.iterdir()) == before
    with pytest.raises(UnknownName), open_run(copy) as run:
        run.coordinates("umap")


def test_a_damaged_addition_is_left_out_and_told(tmp_path):
    copy = make_synthetic_run(tmp_path, "run")
    with add_to_run(copy, "late") as addition:
        add_map(addition, "umap", 2, addition.sites, len(addition.run.tokens()))
        addition.publish()
    (copy / "add-late.duckdb").unlink()
    with open_run(copy) as run:
        assert run.projections()["name"].tolist() == ["atlas-2d", "pca-3d"]
        assert "add-late.duckdb is missing" in run.problems[0]
    assert not verify(copy).ok


def test_a_map_goes_on_where_it_stopped(tmp_path):
    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        writer.put_plan([batches.SITE], {}, {}, {})
        writer.put_inputs(*batches.tables(2), {})
        name = writer.put_projection("", "atlas", "attention", 2, 0, {"n": np.int64(3)})
        points = np.arange(24.0).reshape(12, 2)
        writer.put_coordinates(name, "a#0", 1, points, points + 1)
        writer.put_fidelity(name, "a#0", 1, {"mix": 0.5})
    with RunWriter.open(tmp_path, "run", batches.SPEC) as writer:
        assert writer.put_projection("", "atlas", "attention", 2, 0, {}) == name == "atlas-2d"
        assert writer.put_projection("", "atlas", "without_sinks", 2, 0, {}) == "atlas-2d-without-sinks"
        assert writer.put_projection("", "atlas", "attention", 2, 7, {}) == "atlas-2d-seed7"
        assert writer.done_heads(name) == {("a#0", 1)}
        writer.put_coordinates(name, "a#0", 1, points * 2, points)
        writer.put_fidelity(name, "a#0", 1, {"mix": 0.25})
        queries, keys = writer.layout(name, "a#0", 1)
        np.testing.assert_array_equal(queries, points * 2)
        np.testing.assert_array_equal(keys, points)
        assert writer.database.execute("SELECT count(*) FROM coordinates") == [(24,)]
        assert writer.reader().fidelity()["mix"].tolist() == [0.25]
        for bad in (points[:-1], np.full((12, 2), np.nan)):
            with pytest.raises(RunError):
                writer.put_coordinates(name, "a#0", 2, bad, points)


def test_places_of_a_site_are_the_coordinates_of_its_heads(path):
    with open_run(path) as run:
        site, n_tokens = run.sites[1], len(run.tokens())
        places = run.places("atlas-2d", site)
        assert places.shape == (4, 2, n_tokens, 2)
        for head in range(4):
            table = run.coordinates(projection="atlas-2d", site=site, head=head)
            for place, kind in enumerate(("query", "key")):
                mine = table[table["kind"] == kind].sort_values(["input_id", "position"])
                np.testing.assert_array_equal(places[head, place], mine[["x", "y"]].to_numpy(np.float32))
        assert run.places("pca-3d", site).shape == (4, 2, n_tokens, 3)
        with pytest.raises(UnknownName, match="nosuch"):
            run.places("nosuch", site)
