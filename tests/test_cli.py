"""Commands as a person types them: what they print, what they say when something is wrong, and their exit status."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.cli import main
from tests.store.synthetic import make_synthetic_run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return make_synthetic_run(tmp_path_factory.mktemp("made"), "small")


@pytest.fixture
def runs(small, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("QK_ATLAS_RUNS", str(tmp_path / "runs"))
    shutil.copytree(small, tmp_path / "runs" / "small")
    return tmp_path / "runs"


def test_runs_lists_what_is_there(runs, capsys):
    assert main(["runs"]) == 0
    assert "small" in capsys.readouterr().out
    assert main(["runs", "--json"]) == 0
    assert [row["run_id"] for row in json.loads(capsys.readouterr().out)] == ["small"]


def test_no_runs_says_how_to_make_one(tmp_path, capsys):
    assert main(["runs", "--out", str(tmp_path / "none")]) == 0
    assert "python -m analysis extract" in capsys.readouterr().out


def test_scores_as_json_csv_and_of_one_metric(tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("The dog ran.\nThe dog ran after the cat, and the cat ran after the dog.\n")
    runs = ["--out", str(tmp_path / "runs")]
    extract = ["extract", "--model", "demo-language", "--data", str(texts), "--projection", "none", "--run-id", "two"]
    assert main([*extract, *runs]) == 0
    assert "2 inputs" in capsys.readouterr().out
    assert main(["scores", "two", "--metric", "entropy", "--json", *runs]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["metric"] for row in rows} == {"entropy"}
    assert set(rows[0]) == {"metric", "site", "head", "value", "ci_low", "ci_high", "null", "n"}
    assert main(["scores", "two", "--csv", *runs]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "metric,site,head,value,ci_low,ci_high,null,n"
    assert main(["verify", "two", *runs]) == 0
    assert main(["project", "two", "--method", "pca", "--dims", "3", *runs]) == 0
    assert main(["export", "two", "--to", str(tmp_path / "out"), "--format", "csv", *runs]) == 0
    assert list((tmp_path / "out").glob("*.csv"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scores", "nowhere"], "nowhere"),
        (["scores", "small", "--metric", "entropie"], "entropy"),
        (["project", "small", "--method", "maps"], "atlas"),
        (["extract", "--model", "demo-language", "--data", "missing.txt"], "missing.txt"),
        (["extract", "--model", "demo-language", "--data", "demo-sentences", "--layers", "x"], "0-3,11"),
        (["extract", "--model", "demo-language", "--data", "demo-sentences", "--workers", "2"], "--engine ray"),
        (["extract", "--model", "demo-language", "--data", "demo-sentences", "--run-id", "../up"], "../up"),
        (["verify", "nowhere"], "nowhere"),
        (["doctor", "--model", "./nowhere"], "nowhere"),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(runs, arguments, words, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error


def test_serve_opens_a_run_by_the_beginning_of_its_name(runs, capsys, monkeypatch):
    monkeypatch.setattr("analysis.cli.serving.os.execve", lambda *_: None)
    monkeypatch.setattr("analysis.cli.serving.os.chdir", lambda *_: None)
    assert main(["serve", "--run", "sma", "--headless"]) == 0
    assert "?run=small " in capsys.readouterr().out
    assert main(["serve", "--run", "nowhere", "--headless"]) == 2


@pytest.mark.parametrize("arguments", [[], ["extract"], ["nonsense"], ["extract", "--limit", "0"]])
def test_wrong_arguments_are_status_2(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize("command", "extract runs project scores cut export verify doctor serve".split())
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"python -m analysis {command}" in capsys.readouterr().out


def test_a_flipped_bit_is_found_by_verify(runs, capsys):
    path = runs / "small" / "run.duckdb"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert main(["verify", "small"]) == 2
    assert "run.duckdb" in capsys.readouterr().err


def test_the_beginning_of_a_run_id_will_do_when_it_is_of_one_run(runs, capsys):
    assert main(["verify", "sm"]) == 0
    make_synthetic_run(runs, "smooth")
    assert main(["verify", "sm"]) == 2
    assert "small, smooth" in capsys.readouterr().err
    assert main(["verify", "small"]) == 0


def test_ctrl_c_keeps_what_was_captured_and_says_so(tmp_path):
    data, progress = tmp_path / "many.txt", tmp_path / "progress.json"
    data.write_text("\n".join(f"Number {i} is a story about a boat and a whale. " * 4 for i in range(3000)))
    command = [sys.executable, "-m", "analysis", "extract", "--model", "demo-language", "--data", str(data)]
    command += ["--out", str(tmp_path / "runs"), "--run-id", "stopped", "--progress-file", str(progress)]
    job = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and job.poll() is None:
        if progress.exists() and json.loads(progress.read_text()).get("stage") == "capture":
            break
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(job.pid, signal.SIGINT)
    _, error = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "goes on from there" in error
    assert (tmp_path / "runs" / "stopped.partial").is_dir()
    assert json.loads(progress.read_text())["stage"] == "failed"
