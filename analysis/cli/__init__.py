"""``python -m analysis COMMAND``: parse, one call into the library, print.

Exit status: 0 done; 2 wrong use or bad input, with one sentence on standard error; 1 a failure inside;
130 stopped by Ctrl-C, with whatever was captured kept for the same command to go on from.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from analysis.cli.covering import add_coverage
from analysis.cli.making import add_extract, add_importance, add_patterns, add_project
from analysis.cli.reading import add_doctor, add_export, add_import, add_runs, add_scores, add_sinks, add_verify
from analysis.cli.serving import add_serve
from analysis.cli.sinking import add_cut
from analysis.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    return run_command(make_parser().parse_args(arguments))


def run_command(options: argparse.Namespace) -> int:
    """Call ``options.command`` and return its exit status; ``options.stopped`` says what a stopped one leaves."""
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        options.command(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt):
        if not stop.asked:
            raise
        print(options.stopped, file=sys.stderr)
        return 130
    return 0


class _Stop:
    """Ctrl-C and SIGTERM. Libraries may turn the interruption into an error of their own: `asked` tells them apart."""

    asked = False

    def __call__(self, *_: object) -> None:
        self.asked = True
        raise KeyboardInterrupt


def make_parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis",
        description="See how a transformer pays attention: capture, joint query-key maps, head scores, export.",
        epilog="Start here: python -m analysis extract --model demo-language --data demo-sentences",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        add_extract, add_runs, add_project, add_scores, add_importance, add_patterns, add_sinks, add_cut, add_export,
        add_import, add_verify, add_doctor, add_coverage, add_serve,
    ):  # fmt: skip
        add(commands)
    return parser
