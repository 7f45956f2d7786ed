"""``python -m app``: the page's server, which loads its libraries before the first visitor has to wait for them.

Arguments are those of ``streamlit run``, as in ``python -m app --server.port 8501``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

LIBRARIES = ("streamlit.web.cli", "pandas", "pyarrow", "duckdb", "altair", "PIL.Image", "jaxtyping")
OURS = ("analysis.store", "analysis.inputs", "analysis.models", "analysis.projection", "analysis.metrics")


def main(arguments: list[str]) -> None:
    """Load, then serve until stopped."""
    for name in (*LIBRARIES, *OURS):
        importlib.import_module(name)
    from streamlit.web import cli

    from analysis.errors import UserError
    from app.hosted.public import limits

    try:
        known = limits()
    except UserError as error:
        sys.exit(f"error: {error}")
    if known is not None:  # also where no box is shown: the server itself takes no larger file
        arguments = ["--server.maxUploadSize", str(known.max_upload_mb if known.models else 1), *arguments]
    cli.main(["run", str(Path(__file__).with_name("served.py")), *arguments], prog_name="streamlit")


if __name__ == "__main__":
    main(sys.argv[1:])
