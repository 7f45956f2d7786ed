"""A disk that is full in the midst of a command, and what must hold then: for the tests and for ``bench_faults``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.faults.killing import Workshop

NEEDED = re.compile(r"about \d[\d.]* (kB|MB|GB) more are needed|takes (about )?\d[\d.]* (kB|MB|GB)")


class Fullness:
    """Commands of a workshop that find no room.

    Attributes:
        said: The sentences they ended with.
    """

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.said: list[str] = []

    def stop(self, arguments: list[str], **more: Any) -> str:
        """Run a command that must end for want of room: status 2 and one sentence, which is given."""
        status = self.shop.nursery.run(arguments, self.shop.notes, **more)
        lines = [line for line in self.shop.said().splitlines() if "Making the map" not in line and "it/s]" not in line]
        said = [line for line in lines if line.startswith("error: ")]
        assert status == 2, self.shop.said()
        assert len(said) == 1, self.shop.said()
        assert "Traceback" not in self.shop.said()
        assert NEEDED.search(said[0]), said[0]
        assert "free disk space" in said[0]
        assert str(self.shop.folder) not in said[0]
        self.said.append(said[0])
        return said[0]

    def go_on(self, arguments: list[str]) -> None:
        """The same command, now that there is room."""
        assert self.shop.nursery.run(arguments, self.shop.notes) == 0, self.shop.said()
        self.shop.check_finished()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path, with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
