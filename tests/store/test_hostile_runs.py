"""Runs that strangers made and put into the folder: what they name is not read, and they hide no other run."""

import inspect
import json
import shutil

import duckdb
import pytest

from analysis.errors import RunError, UserError
from analysis.store import Run, list_runs, open_run
from analysis.store.publish import manifest_bytes
from tests.store.synthetic import make_synthetic_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_synthetic_run(
        tmp_path_factory.mktemp("made"), "good", n_inputs=2, n_tokens=5, n_layers=1, n_heads=2, with_projection=False
    )


@pytest.fixture
def path(made, tmp_path):
    shutil.copytree(made, tmp_path / "telling-folder" / "x")
    return tmp_path / "telling-folder" / "x"


def publish(path, **fields):
    """Write the manifest anew, as whoever made the files would: of the right size and with a right checksum."""
    size = {"run.duckdb": {"size": (path / "run.duckdb").stat().st_size}}
    manifest = json.loads((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_bytes(manifest_bytes({**manifest, "files": size, **fields}))


def change(path, *queries):
    with duckdb.connect(str(path / "run.duckdb")) as connection:
        for query in (*queries, "CHECKPOINT"):
            connection.execute(query)


@pytest.mark.parametrize("format", [5, 2], ids=["as it is", "migrated"])
def test_a_table_that_reads_a_file_of_this_machine_is_refused_on_opening(path, tmp_path, format):
    (tmp_path / "secret.csv").write_text("number\n1\n")
    view, source = ("tokens", "tokens_") if format == 5 else ("migrations", "migrations_")
    change(
        path,
        f"ALTER TABLE {view} RENAME TO {source}",
        f"CREATE VIEW {view} AS SELECT t.* FROM {source} t, read_csv('{tmp_path / 'secret.csv'}')",
    )
    publish(path, format=format)
    with pytest.raises(RunError, match=r'Permission Error: Cannot access file "secret\.csv"'):
        open_run(path)


@pytest.mark.parametrize("content", [b"", b"\x01\x7f" * 4096, "other tables", "a folder", "a link"])
def test_a_file_that_is_no_run_is_one_sentence_without_the_folders_of_this_machine(path, content):
    file = path / "run.duckdb"
    file.unlink()
    if content == "other tables":
        duckdb.connect(str(file)).execute("CREATE TABLE t AS SELECT 1").close()
    elif content == "a folder":
        file.mkdir()
    elif content == "a link":
        file.symlink_to("/etc/passwd")
    else:
        file.write_bytes(content)
    publish(path)
    with pytest.raises(RunError, match="Run 'x' cannot be opened: ") as refused:
        open_run("x", path.parent)
    assert "telling-folder" not in str(refused.value)
    assert list_runs(path.parent)["run_id"].tolist() == ["x"]


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
BOMB = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"


@pytest.mark.parametrize(
    ("content", "says"), [(EPS, "no PNG"), (b"<svg/>", "no PNG"), (None, "no PNG"), (BOMB, "claims")]
)
def test_a_picture_of_another_kind_reaches_no_decoder(tmp_path, content, says):
    """Pillow, asked to open anything, hands PostScript to Ghostscript, which runs it."""
    path = make_synthetic_run(tmp_path, "x", modality="vision", n_inputs=1, n_tokens=5, n_layers=1, n_heads=1)
    with duckdb.connect(str(path / "run.duckdb")) as connection:
        connection.execute("UPDATE inputs SET image = ?", [content])
        connection.execute("UPDATE thumbnails SET png = ?", [content])
        connection.execute("CHECKPOINT")
    publish(path)
    with open_run(path) as run:
        with pytest.raises(RunError, match=f"image of input 0 .*{says}"):
            run.image(0)
        with pytest.raises(RunError, match=says):
            run.thumbnail("atlas-2d", run.sites[0].stack_label)


def readers():
    """Every name that a reading method takes: method, parameter."""
    for name, method in inspect.getmembers(Run, inspect.isfunction):
        for parameter in inspect.signature(method).parameters.values():
            if not name.startswith("_") and name != "sql" and "str" in str(parameter.annotation):
                yield name, parameter.name


def answer(method, given):
    """What it found, or the sentence with which it refused."""
    try:
        return method(**given)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("word", ["x' OR '1'='1", "' UNION SELECT * FROM tokens; --", 'a"b', "x\0y", "%"])
def test_names_are_values_to_every_query_and_never_a_part_of_it(made, word):
    """A name that nobody has finds nothing: were it put into the query, it would find all there is, or break it."""
    with open_run(made) as run:
        known = {"site": run.sites[0], "head": 0, "input_id": 0, "input_ids": [0], "projection": None}
        n_tried = 0
        for name, hostile in readers():
            method = getattr(run, name)
            needed = [each for each in inspect.signature(method).parameters.values() if each.default is each.empty]
            given = {each.name: known[each.name] for each in needed if each.name in known} | {hostile: word}
            given |= {each.name: word for each in needed if each.name not in given}
            n_tried += 1
            found = answer(method, given)
            is_refused = isinstance(found, str) and "could not be read" not in found
            assert is_refused or found is None or len(found) == 0, f"{name}({hostile}): {found}"
        assert n_tried > 30


HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("manifest.json", {"files": {"run.duckdb": 5}}, "no file of a run"),
        ("manifest.json", {"files": {"../../../etc/passwd": {"size": 1}}}, "no file of a run"),
        ("manifest.json", {"model": "\ud800"}, "half characters"),
        ("manifest.json", {"model": {"a": 1}}, "holds model of a kind"),
        ("manifest.json", {"notes": 5}, "holds notes"),
        ("manifest.json", {"skipped": [["a", 1]]}, "holds skipped"),
        ("manifest.json", {"spec": {"seed": "x"}}, "holds seed"),
        ("manifest.json", {"versions": {"torch": []}}, "holds versions"),
        ("manifest.json", "[" * 200_000, "not readable JSON"),
        ("spec.json", "[" * 200_000, "partial"),
        ("spec.json", '{"model": "\\ud800", "data": ["a"], "n_tokens": "many"}', "partial"),
    ],
)
def test_no_manifest_keeps_the_other_runs_from_the_list(path, made, file, content, says):
    if file == "spec.json":
        path = path.rename(path.with_name("x.partial"))
    if isinstance(content, dict):
        publish(path, **content)
    else:
        (path / file).write_text(content)
    shutil.copytree(made, path.parent / "good")
    found = list_runs(path.parent).set_index("run_id")["status"]
    assert found["good"] == "complete"
    assert says in found["x"]


def test_folders_with_names_that_no_run_has_are_damaged_whatever_they_hold(path, made):
    names = [HOSTILE, "![a](http:evil)", b"\xff\xfe\x1b[2J".decode("utf-8", "surrogateescape"), "a\nb.partial", "é"]
    for name in names:
        shutil.copytree(made, path.parent / name)
    found = list_runs(path.parent).set_index("run_id")["status"]
    assert found["x"] == "complete"
    assert set(found.index) == {"x", HOSTILE, "![a](http:evil)", "\ufffd\ufffd\ufffd[2J", "a\ufffdb.partial", "é"}
    assert all("cannot be a run id" in status for status in found.drop("x"))
