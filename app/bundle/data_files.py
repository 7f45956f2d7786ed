"""The files of a bundle: data as scripts, which a browser reads from a disk too, and the viewer put together."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from pathlib import Path

from app.components import REGISTERED, SHARED_SCRIPT, headstrip, matrix, scatter, sentence, textmap  # noqa: F401

_VIEWER = Path(__file__).with_name("viewer")
MOUNTED = ("matrix", "card", "scatter", "panel", "sentence", "textmap", "headstrip")
"""Components of the app that the viewer mounts; the modules imported above register them."""

SCRIPTS = (
    *"data link unheard place search colours attention lasso marks order thumbnails shown shown_words".split(),
    *"frame atlas head text picture strip input about main".split(),
)
"""Of the viewer, in the order in which they are read."""


def write_data(folder: Path, name: str, message: bytes) -> None:
    """One message (`app.components.pack`) as ``data/<name>.js``: compressed, as text, handed to the viewer by a call.

    A page from a disk may not fetch files, but it may load scripts.
    """
    path = folder / "data" / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = base64.b64encode(gzip.compress(message, compresslevel=6, mtime=0)).decode()
    path.write_text(f'QKATLAS.take({json.dumps(name)},"{packed}");\n', encoding="ascii")


def write_viewer(folder: Path) -> None:
    """The page itself: ``index.html`` and its scripts, the components of the app among them."""
    (folder / "viewer").mkdir()
    shutil.copyfile(_VIEWER / "index.html", folder / "index.html")
    shutil.copyfile(_VIEWER / "viewer.css", folder / "viewer" / "viewer.css")
    (folder / "viewer" / "components.js").write_text(_components(), encoding="utf-8")
    scripts = "\n".join((_VIEWER / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    (folder / "viewer" / "viewer.js").write_text(scripts, encoding="utf-8")


def _components() -> str:
    """The components of the app, each in a scope of its own; what its script exports is what the viewer mounts."""
    parts = ["const QKATLAS = {components: {}, styles: {}};", SHARED_SCRIPT.read_text(encoding="utf-8")]
    for name in MOUNTED:
        script, style = REGISTERED[name]
        named = script.replace("export default function", "function exported", 1)
        parts.append(f"QKATLAS.components.{name} = (() => {{\n{named}\nreturn exported;\n}})();")
        parts.append(f"QKATLAS.styles.{name} = {json.dumps(style)};")
    return "\n".join(parts)
