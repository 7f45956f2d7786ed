"""The container: who it runs as, what gets into it, and where it writes, read from the Dockerfile."""

from __future__ import annotations

import json
import shlex
from pathlib import Path, PurePosixPath

import pytest

from tests.dockerfile_steps import Image, read_steps

ROOT = Path(__file__).parents[1]
WRITABLE = ("/runs", "/tmp")
"""What a container with a read-only root may write to: its volume, and a folder in memory."""


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """Instruction and arguments, in order."""
    return read_steps((ROOT / "Dockerfile").read_text())


def settings(steps: list[tuple[str, str]]) -> dict[str, str]:
    return dict(pair.split("=", 1) for word, rest in steps if word == "ENV" for pair in shlex.split(rest))


def test_nothing_runs_as_root_once_the_files_are_there(steps):
    words = [word for word, _ in steps]
    users = [rest for word, rest in steps if word == "USER"]
    assert len(users) == 1
    assert int(users[0]) > 0, "a number: a name could be root's to whoever checks the image"
    behind = words[words.index("USER") :]
    assert {"CMD", "RUN"} <= set(behind), "the bundled runs belong to the user who shows them"
    assert not {"COPY", "ADD"} & set(behind)


def test_it_writes_to_its_volume_and_to_tmp_only(steps):
    found = settings(steps)
    folders = {name: value for name, value in found.items() if value.startswith("/")}
    assert {"QK_ATLAS_RUNS", "HF_HOME", "NUMBA_CACHE_DIR", "HOME"} <= set(folders)
    for name, value in folders.items():
        assert any(PurePosixPath(value).is_relative_to(place) for place in WRITABLE), f"{name}={value}"
    assert found["PYTHONDONTWRITEBYTECODE"] == "1"
    assert [rest for word, rest in steps if word == "VOLUME"] == [found["QK_ATLAS_RUNS"]]
    assert any(f"chown atlas {found['QK_ATLAS_RUNS']}" in rest for word, rest in steps if word == "RUN")


def test_only_what_the_page_needs_is_copied_into_it(steps):
    sources = [source for word, rest in steps if word == "COPY" for source in rest.split()[:-1]]
    assert "analysis" in sources
    for source in sources:
        assert (ROOT / source).exists()
        assert source not in (".", "data", "tests", ".git"), "runs, keys and histories stay outside"
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "data/runs"} <= set(ignored)


def test_it_serves_the_page_without_a_browser_and_is_asked_whether_it_is_well(steps):
    command = json.loads(next(rest for word, rest in steps if word == "CMD"))
    assert command[:4] == ["python", "-m", "analysis", "serve"]
    assert "--headless" in command
    assert command[command.index("--address") + 1] == "0.0.0.0"
    assert any("_stcore/health" in rest for word, rest in steps if word == "HEALTHCHECK")


def test_each_of_its_instructions_can_be_carried_out_step_by_step(steps, tmp_path):
    """``python -m tests.dockerfile_steps`` does so, as root; here its reading, its copies and its settings."""
    assert all(hasattr(Image, f"_{word.lower()}") for word, _ in steps)
    image = Image(tmp_path)
    for word, rest in steps:
        if word in ("WORKDIR", "COPY", "ENV", "USER", "CMD", "HEALTHCHECK"):
            image.do(word, rest)
    assert (image.user, image.variables["QK_ATLAS_RUNS"]) == ("1000", "/runs")
    assert "_stcore/health" in image.health
    assert image.command[:2] == ("python", "-m")
    for name in ("requirements.txt", "README.md", "analysis/__init__.py", "app/main.py", ".streamlit/config.toml"):
        assert (tmp_path / "app" / name).read_bytes() == (ROOT / name).read_bytes()
    assert read_steps("# a\nRUN a \\\n    && b\nENV A=1\n") == [("RUN", "a && b"), ("ENV", "A=1")]
