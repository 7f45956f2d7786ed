"""Errors for the person at the screen: what came, what was expected, what to do next.

`UserError` and its children end a command with status 2 and one sentence; anything else is a failure
inside and ends it with status 1.
"""

import re

_QUOTED_PATH = re.compile(r"""(["'`])(?:[A-Za-z]:)?[/\\](?:[^"'`\n]*[/\\])?([^"'`/\\\n]*)[/\\]?\1""")
_BARE_PATH = re.compile(r"(?<![\w.:/\\~<>-])(?:[A-Za-z]:)?[/\\](?:[^\s\"'`,;:()/\\]+[/\\])+([^\s\"'`,;:()/\\]+)[/\\]?")


def first_line(error: BaseException, most: int = 300) -> str:
    """What an error of a library says, short enough to stand in a sentence: its first line, else its kind; without the
    folders of this machine.

    Args:
        most: Letters at most.
    """
    return without_folders((str(error).strip().splitlines() or [type(error).__name__])[0])[:most]


def without_folders(text: str) -> str:
    """A sentence in which of every absolute path its last part is left: where files lie on this machine is nobody's
    business who reads a page or an export. Web addresses and relative paths stay."""
    return _BARE_PATH.sub(r"\1", _QUOTED_PATH.sub(r"\1\2\1", text))


def printable(name: str) -> str:
    """A name that others chose without control characters, which could rewrite the reader's terminal, and without
    bytes that were no text, which no table holds."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)


class UserError(Exception):
    """Wrong use or bad input: the message is one clear sentence and is shown as it is."""


class ModelError(UserError):
    """The model cannot be found, loaded or trusted."""


class CaptureRefused(UserError):
    """Nothing reaches this model's attention; the message names the reason and what was tried."""


class InputError(UserError):
    """The data cannot be read."""


class RunError(UserError):
    """A run is missing, unfinished, damaged, locked or of another version."""


class UnknownName(UserError):
    """A name that no registry, run or table knows; the message lists the known ones."""
