"""The container: who it runs as, what gets into it, and where it writes, read from the Dockerfile."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
WRITABLE = ("/runs", "/tmp")
"""What a container with a read-only root may write to: its volume, and a folder in memory."""


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """Instruction and arguments, in order."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word.upper(), rest) for word, _, rest in (line.partition(" ") for line in joined.split("\n") if line)]


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
