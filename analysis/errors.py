"""Errors for the person at the screen: what came, what was expected, what to do next.

`UserError` and its children end a command with status 2 and one sentence; anything else is a failure
inside and ends it with status 1.
"""


def first_line(error: BaseException, most: int = 300) -> str:
    """What an error of a library says, short enough to stand in a sentence: its first line, else its kind.

    Args:
        most: Letters at most.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


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
