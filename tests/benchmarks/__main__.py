"""``make bench``: every measurement of this folder, as one markdown table with the conditions it was taken under.

``--quick`` takes fewer heads and repeats; ``--only extraction`` one file.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import platform
from importlib.metadata import version

import tests.benchmarks


def main() -> None:
    """Run the benchmarks and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer heads and repeats")
    parser.add_argument("--only", metavar="NAME", help="one file, without bench_")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(_conditions(), end="\n\n", flush=True)
    for module in pkgutil.iter_modules(tests.benchmarks.__path__):
        name = module.name.removeprefix("bench_")
        if module.name.startswith("bench_") and options.only in (None, name):
            print(f"## {name}\n", flush=True)
            print(
                importlib.import_module(f"tests.benchmarks.{module.name}").run(quick=options.quick),
                end="\n\n",
                flush=True,
            )


def _conditions() -> str:
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "transformers", "duckdb", "umap-learn", "streamlit")
    )
    busy = os.getloadavg()[0]
    return (
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"load {busy:.1f} at the start; {packages}."
    )


main()
