"""Commands of `analysis` that are killed: each in a process group of its own, forked from a parent that has imported
torch and transformers already and has made a map, so that a kill lands in work and not in imports and compiling.

Run as a program it is that parent: it reads one JSON request a line and answers with one line a request. What a command
does is noted line by line in a file, which outlives it: ``acknowledged`` (ids of a batch once it is stored),
``captured`` (ids once the model has run), ``head`` (a head of a map once it is stored), ``publish``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
KILLED = -signal.SIGKILL
BATCH_TOKENS = 256
"""Padded tokens in a batch of these commands: an eighth of what it is, so that small data makes many batches."""


class Nursery:
    """The parent of the commands, as a context manager.

    Args:
        light: Without torch and transformers, for the commands of `publishing` alone.
    """

    def __init__(self, light: bool = False) -> None:
        self._light = light

    def __enter__(self) -> Nursery:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery", *["light"] * self._light], cwd=REPOSITORY, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(60)

    def start(self, arguments: list[str], notes: Path, **more: Any) -> int:
        """Start ``python -m analysis`` with these arguments; gives its process id.

        Args:
            notes: Where it notes what it does; begun anew.
            more: ``at_line``: kill itself at so many lines of Python after publishing began. ``limit_bytes``: no file
                may grow longer; ``from_publish``: from then on. ``filled``: a file that takes all room of its disk but
                this many bytes when publishing begins, ``[path, bytes]``.
        """
        notes.unlink(missing_ok=True)
        return self._ask({"arguments": arguments, "notes": str(notes), **more})

    def wait(self, pid: int) -> int:
        """Its exit status, negative for a signal."""
        return self._ask({"wait": pid})

    def run(self, arguments: list[str], notes: Path, **more: Any) -> int:
        """Start and wait."""
        return self.wait(self.start(arguments, notes, **more))

    def kill_when(self, pid: int, due: Callable[[], bool]) -> int:
        """Kill the whole group as soon as `due`; its exit status, that of the command where it ended before."""
        while not due() and not _is_over(pid):
            time.sleep(0.001)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        return self.wait(pid)

    def _ask(self, request: dict[str, Any]) -> int:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def read_notes(path: Path) -> Iterator[dict[str, Any]]:
    """What a command has noted so far; a line that a kill cut short is left out."""
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text().split("\n")[:-1]:
            yield json.loads(line)


def seeded_moments(seed: int, longest_s: float) -> Iterator[float]:
    """Seconds from 0 to `longest_s`."""
    chosen = random.Random(seed)
    while True:
        yield chosen.uniform(0, longest_s)


def _is_over(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _serve() -> None:

    from tests.faults import publishing  # noqa: F401

    if "light" not in sys.argv:
        import analysis.capture
        import analysis.models
        import analysis.projection.fit

        for module in pkgutil.walk_packages(analysis.__path__, "analysis."):
            if not module.name.startswith(("analysis.engines.ray", "analysis.__main__")):
                importlib.import_module(module.name)
        analysis.models.load_model("demo-language")
    _make_maps()

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif not (answer := os.fork()):
            _be_command(**request)
        print(answer, flush=True)


def _make_maps() -> None:
    """What every map imports and has compiled is there before the first command is forked."""
    import analysis.cli
    import analysis.pipeline  # noqa: F401
    from analysis.projection.fit import fit_heads
    from tests.projection.heads import random_head

    for method in ("pca", "linear"):
        list(fit_heads([("", 0, random_head)], method, n_jobs=1))


def _be_command(
    arguments: list[str],
    notes: str,
    at_line: int | None = None,
    limit_bytes: int = 0,
    from_publish: bool = False,
    filled: tuple[str, int] | None = None,
) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    errors = os.open(notes + ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    log = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(**what: Any) -> None:
        os.write(log, (json.dumps({**what, "at": time.time()}) + "\n").encode())

    def take_room() -> None:
        if limit_bytes:
            _limit_files(limit_bytes)
        if filled:
            fill(Path(filled[0]), filled[1])

    _watch_publish(note, at_line, take_room)
    _watch_store(note)
    if "analysis.capture" in sys.modules:
        _watch_capture(note)
    if limit_bytes and not from_publish:
        _limit_files(limit_bytes)
    from analysis.cli import main
    from analysis.errors import UserError
    from tests.faults.publishing import COMMANDS

    code = 1
    try:
        code = COMMANDS.get(arguments[0], main)(arguments)
    except UserError as error:  # `main` does this for its own commands
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _watch_capture(note: Callable[..., None]) -> None:
    places = [each for name, each in sys.modules.items() if name.startswith("analysis.engines.")]
    (engine,) = (each for each in places if hasattr(each, "run_batch"))
    for each in places:
        if hasattr(each, "BATCH_TOKENS"):
            each.BATCH_TOKENS = BATCH_TOKENS
    run_batch = engine.run_batch

    def noting(loaded: Any, plan: Any, batch: list, **more: Any) -> Any:
        found = run_batch(loaded, plan, batch, **more)
        note(captured=[input_id for input_id, _ in batch])
        return found

    engine.run_batch = noting


def _watch_store(note: Callable[..., None]) -> None:
    from analysis.store import AddonWriter, RunWriter

    put_batch, put_coordinates = RunWriter.put_batch, AddonWriter.put_coordinates

    def noting_batch(self: RunWriter, captures: list, *arguments: Any) -> None:
        put_batch(self, captures, *arguments)
        note(acknowledged=[of_input[0].input_id for of_input in captures])

    def noting_head(self: AddonWriter, projection_id: str, site_key: str, head: int, *arguments: Any) -> None:
        put_coordinates(self, projection_id, site_key, head, *arguments)
        note(head=[site_key, head])

    RunWriter.put_batch, AddonWriter.put_coordinates = noting_batch, noting_head


def _limit_files(n_bytes: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


def fill(path: Path, left: int) -> None:
    """Take all room of a disk but so many bytes."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(shutil.disk_usage(path).free - left, 1))


def _watch_publish(note: Callable[..., None], at_line: int | None, take_room: Callable[[], None]) -> None:
    from analysis.store import AddonWriter, RunWriter

    for kind in (RunWriter, AddonWriter):
        kind.publish = _noting_publish(kind.publish, note, at_line, take_room)


def _noting_publish(
    publish: Callable, note: Callable[..., None], at_line: int | None, take_room: Callable[[], None]
) -> Callable:
    def noting(self: Any, *arguments: Any) -> Any:
        note(publish="begins")
        take_room()
        n_lines = 0

        def trace(frame: Any, event: str, _: Any) -> Callable:
            nonlocal n_lines
            n_lines += event == "line"
            if n_lines == at_line:
                os.killpg(0, signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            return publish(self, *arguments)
        finally:
            sys.settrace(None)
            note(publish="ends", n_lines=n_lines)

    return noting


if __name__ == "__main__":
    _serve()
