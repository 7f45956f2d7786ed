"""The pages. A file in this folder with a `VIEW` is a page: adding one needs no other edit.

Example, ``app/views/norms.py``::

    VIEW = View("Norms", ":material/straighten:", order=60, render=render_norms)
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from app.state import Selection


@dataclass(frozen=True)
class View:
    """One page.

    Attributes:
        title: In the navigation.
        icon: A Material symbol, as in ``:material/grid_view:``.
        order: Where it stands in the navigation, low first; the lowest is the landing page.
        render: Draws the page for a selection whose parts have been checked against the run.
        needs: "run" when the page makes sense only with a run, "nothing" otherwise; with "run" the frame
            shows the empty or the error state itself and `render` is called only with a run that opens.
        name: Its word in the address; the name of the file.
    """

    title: str
    icon: str
    order: int
    render: Callable[[Selection], None]
    needs: str = "run"
    name: str = ""


def load_views() -> list[View]:
    """Every `VIEW` in this folder, in navigation order.

    Raises:
        ValueError: Two views share an order; the navigation would depend on file names.
    """
    views = []
    for module in pkgutil.iter_modules(__path__):
        view = getattr(importlib.import_module(f"{__name__}.{module.name}"), "VIEW", None)
        if view is not None:
            views.append(View(view.title, view.icon, view.order, view.render, view.needs, view.name or module.name))
    orders = [view.order for view in views]
    if len(set(orders)) < len(orders):
        raise ValueError(f"Two views share an order: {sorted((view.order, view.name) for view in views)}")
    return sorted(views, key=lambda view: view.order)


VIEWS: list[View] = load_views()
