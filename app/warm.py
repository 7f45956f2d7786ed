"""What the first visitor would wait for, done before: the views are loaded, the first look is read into the caches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any

_LOG = logging.getLogger(__name__)


@asynccontextmanager
async def warmed(_app: Any) -> AsyncIterator[None]:
    """Load the views once Streamlit runs, for only then are components registered; read the first look meanwhile. On a
    public page the line of waiting runs goes on."""
    from analysis.store import runs_dir
    from app.hosted import line

    await asyncio.to_thread(load_views)
    Thread(target=read_first_look, name="first look", daemon=True).start()
    line.keep(runs_dir())
    yield


def load_views() -> None:
    """Import what `app/main.py` imports. One that cannot be imported does not stop the server: the page tells it."""
    try:
        import app.guide
        import app.left_column
        import app.views  # noqa: F401
    except Exception:
        _LOG.exception("The views could not be loaded before the first visitor.")


def read_first_look() -> bool:
    """Read what the landing page shows into the caches.

    Returns:
        False where there was nothing to read, or it could not be read, which the page tells its visitors.
    """
    try:
        from app.chosen_run import open_chosen
        from app.state import Selection, resolve
        from app.views import atlas

        facts, _ = open_chosen(Selection())
        if facts is None or not facts.sites:
            return False
        atlas.read_first_look(resolve(Selection(), facts)[0], facts)
    except Exception:
        _LOG.exception("The first look could not be read before the first visitor.")
        return False
    return True
