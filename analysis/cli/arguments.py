"""What the commands have in common: arguments, progress, tables."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def command(commands, name: str, call: Callable, help_text: str, example: str) -> argparse.ArgumentParser:
    """A subcommand with its help and an example."""
    parser = commands.add_parser(
        name, help=help_text, description=help_text, epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(command=call, stopped="Stopped.")
    return parser


def add_runs_dir(parser: argparse.ArgumentParser) -> None:
    """``--out``: where the runs are."""
    parser.add_argument("--out", metavar="RUNS_DIR", help="folder of the runs (default: QK_ATLAS_RUNS or data/runs)")


def add_loading(parser: argparse.ArgumentParser) -> None:
    """``--dtype``, ``--load-in`` and ``--device-map``: how the model is loaded."""
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), default="float32",
        help="numbers the model runs in (default: float32); the other two halve its memory, and attention is held to "
        "what they can tell apart",
    )  # fmt: skip
    parser.add_argument(
        "--load-in", choices=("8bit",),
        help="the weights of linear layers in 8 bits, a quarter of the memory; needs the package bitsandbytes",
    )  # fmt: skip
    parser.add_argument(
        "--device-map", metavar="auto|FILE|none", default="none",
        help="spread a model that is too large for one device over GPUs, memory and disk: auto, or a JSON file that "
        'names a device for each part, as {"embed_tokens": 0, "layers.0": 1, "norm": "cpu"} (default: none)',
    )  # fmt: skip


def loading(options: argparse.Namespace) -> dict[str, str | None]:
    """What `add_loading` was given, as `analysis.extract` takes it."""
    return {"dtype": options.dtype, "load_in": options.load_in, "device_map": options.device_map}


def positive(text: str) -> int:
    """A whole number of 1 or more, as an argument's type."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got {text!r}")
    return int(text)


class reporting:
    """A progress bar, or a progress file for the page, closed at the end; the file also hears of a failure."""

    def __init__(self, progress_file: str | None) -> None:
        from analysis.progress import Bar, ProgressFile

        self._to = ProgressFile(Path(progress_file)) if progress_file else Bar()

    def __enter__(self) -> Callable:
        return self._to

    def __exit__(self, kind: type | None, error: BaseException | None, _: object) -> None:
        from analysis.progress import Bar, Progress

        if isinstance(self._to, Bar):
            self._to.close()
        elif error is not None:
            self._to(Progress("failed", message=str(error) or kind.__name__))


def print_table(table, options: argparse.Namespace) -> None:
    """A data frame as the options ask: JSON, CSV or text."""
    if options.json:
        print(table.to_json(orient="records", indent=2))
    elif options.csv:
        print(table.to_csv(index=False), end="")
    else:
        # Words stand flush left, and nothing behind the last of them.
        texts = table.select_dtypes(["object", "str"]) if len(table) else table[[]]
        flush = {name: f"{{:<{texts[name].astype(str).str.len().max()}}}".format for name in texts}
        text = table.to_string(
            index=False, float_format=lambda value: f"{value:.3f}", na_rep="", formatters=flush, justify="left"
        )
        print("\n".join(line.rstrip() for line in text.splitlines()))
