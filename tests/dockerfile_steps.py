"""Do what the Dockerfile says, in the order written, where there is no container engine.

``python -m tests.dockerfile_steps`` carries out every RUN, COPY and ENV in a copy-on-write view of this machine's files
(an overlay in a mount namespace of its own, in memory), as the user the file names; nothing of it is left afterwards. A
fresh virtual environment stands for the Python of the base image. Then the page is started as the container starts it:
read-only root, ``/tmp`` in memory, ``/runs`` the volume. The health check has to pass, and both bundled runs have to be
there.

Needs Linux, root, about 6 GB of memory and Python of the version the Dockerfile names.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = "/usr/local/base"
"""Where the environment lies that stands for the base image's Python."""

PATIENCE_SECONDS = 180


def read_steps(text: str) -> list[tuple[str, str]]:
    """Instruction and arguments of a Dockerfile, in order; comments left out, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word.upper(), rest) for word, _, rest in (line.partition(" ") for line in joined.split("\n") if line)]


@dataclass
class Image:
    """What the steps have made so far.

    Attributes:
        root: The folder that the steps see as ``/``.
        variables: Of the environment: PATH, what pip was told here, ARG and ENV.
    """

    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0"
    health: str = ""
    command: tuple[str, ...] = ()
    volume: str = ""

    def do(self, word: str, rest: str) -> None:
        """Carry out one step."""
        getattr(self, f"_{word.lower()}")(rest)

    def inside(self, command: list[str], **more) -> subprocess.Popen:
        """Start a command as the user and in the folder that hold now."""
        as_user = ["setpriv", "--reuid", self.user, "--regid", self.user, "--clear-groups"]
        go = ["sh", "-c", f'cd {shlex.quote(self.folder)} && exec "$@"', "sh", *command]
        return subprocess.Popen(["chroot", str(self.root), *as_user, *go], env=self.variables, **more)

    def _from(self, rest: str) -> None:
        wanted = re.match(r"python:(\d+\.\d+)", rest)[1]
        python = shutil.which(f"python{wanted}") or sys.exit(f"The Dockerfile wants Python {wanted}; it is not here.")
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "LANG", "SSL_"))}
        self.variables = {**kept, "PATH": f"{PYTHON}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        home = Path(os.path.realpath(python))
        for above in [self.root / str(folder).lstrip("/") for folder in home.parents]:
            above.chmod(above.stat().st_mode | 0o055)  # a Python in a home is one that others may run
        # Users of this machine are none of the image's.
        accounts = self.root / "etc" / "passwd"
        accounts.write_text(
            "".join(f"{line}\n" for line in accounts.read_text().splitlines() if int(line.split(":")[2]) < 1000)
        )
        subprocess.run(["chroot", str(self.root), str(home), "-m", "venv", PYTHON], check=True)

    def _run(self, rest: str) -> None:
        if status := self.inside(["sh", "-c", rest]).wait():
            sys.exit(f"RUN {rest}\nended with {status}.")

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        place = self.root / (Path(self.folder) / target).as_posix().lstrip("/")
        tracked = subprocess.run(["git", "ls-files", "-z", *sources], cwd=ROOT, capture_output=True, check=True)
        files = tracked.stdout.decode().split("\0")[:-1] or sys.exit(f"COPY {rest}: nothing is there.")
        for name in files:
            source = next(each for each in sources if name == each or name.startswith(f"{each}/"))
            is_folder = target.endswith("/") or len(sources) > 1 or target == "."
            inner = Path(name).relative_to(source) if (ROOT / source).is_dir() else Path(name).name if is_folder else ""
            (place / inner).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / inner)

    def _workdir(self, rest: str) -> None:
        self.folder = rest
        (self.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _env(self, rest: str) -> None:
        self.variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))

    _arg = _env

    def _user(self, rest: str) -> None:
        self.user = rest

    def _volume(self, rest: str) -> None:
        self.volume = rest

    def _expose(self, rest: str) -> None:
        assert f'"{rest}"' in json.dumps(self.command or rest) or rest.isdigit()

    def _healthcheck(self, rest: str) -> None:
        self.health = rest.removeprefix("CMD ")

    def _cmd(self, rest: str) -> None:
        self.command = tuple(json.loads(rest))

    def serve(self) -> None:
        """Start the command as a container does and wait until it says that it is well.

        Raises:
            SystemExit: It is not well in time, its root can be written to, or a bundled run is missing.
        """
        aside = self.root.parent / "volume"
        shutil.copytree(self.root / self.volume.lstrip("/"), aside, symlinks=True)
        subprocess.run(["chown", "-R", self.user, str(aside)], check=True)
        mount("-o", "remount,ro", self.root)
        mount("--bind", aside, self.root / self.volume.lstrip("/"))
        mount("-t", "tmpfs", "-o", "mode=1777", "tmp", self.root / "tmp")
        if self.inside(["touch", "/app/written"], stderr=subprocess.DEVNULL).wait() == 0:
            sys.exit("The root can be written to.")
        server = self.inside(list(self.command))
        try:
            end = time.monotonic() + PATIENCE_SECONDS
            while self.inside(["sh", "-c", self.health], stderr=subprocess.DEVNULL).wait():
                if server.poll() is not None or time.monotonic() > end:
                    sys.exit(f"The page is not well {PATIENCE_SECONDS} seconds after it was started.")
                time.sleep(1)
            listing = self.inside(["python", "-m", "analysis", "runs", "--json"], stdout=subprocess.PIPE)
            runs = json.loads(listing.communicate()[0])
            states = {run["model"]: run["status"] for run in runs}
            if states != {"demo-language": "complete", "demo-vision": "complete"}:
                sys.exit(f"The runs are {states}.")
        finally:
            server.terminate()
            server.wait(30)


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def build(folder: Path) -> None:
    """All steps, and the start; called in a mount namespace of its own."""
    mount("-t", "tmpfs", "-o", "size=12g", "layers", folder)
    upper, work, root = (folder / name for name in ("upper", "work", "root"))
    for each in (upper, work, root):
        each.mkdir()
    mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", root)
    for name in ("proc", "dev"):
        mount("--rbind", f"/{name}", root / name)
    mount("-t", "tmpfs", "-o", "mode=1777", "tmp", root / "tmp")
    image = Image(root)
    for word, rest in read_steps((ROOT / "Dockerfile").read_text()):
        start = time.monotonic()
        image.do(word, rest)
        print(f"{time.monotonic() - start:7.1f} s  {word} {rest[:90]}", flush=True)
    subprocess.run(["umount", str(root / "tmp")], check=True)
    start = time.monotonic()
    image.serve()
    print(f"{time.monotonic() - start:7.1f} s  the page is well, read-only, with both bundled runs", flush=True)


def main() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.exit("This needs Linux and root: it mounts an overlay in a namespace of its own.")
    if sys.argv[1:2] == ["--inside"]:
        return build(Path(sys.argv[2]))
    with tempfile.TemporaryDirectory() as folder:
        inside = [sys.executable, "-m", "tests.dockerfile_steps", "--inside", folder]
        sys.exit(subprocess.run(["unshare", "--mount", "--propagation", "private", *inside], cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
