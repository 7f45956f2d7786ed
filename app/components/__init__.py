"""The drawn parts of the page: Streamlit components v2, plain JavaScript, no build step, no network.

One folder each, with ``<name>.js`` and ``<name>.css`` beside the Python that mounts them; `shared.js` is put before
every script. What goes to the browser is packed into bytes: a JSON header and raw arrays, no copies in between.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

_HERE = Path(__file__).parent
SHARED_SCRIPT = _HERE / "shared.js"
_NUMBERS = itertools.count()
REGISTERED: dict[str, tuple[str, str]] = {}
"""Script and style of every component that was registered, by name: a page without a server mounts the same ones."""

_DTYPES = {"float32": "f4", "uint8": "u1", "uint16": "u2", "uint32": "u4", "int32": "i4"}


def register(folder: str, name: str = "", parts: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Register a component and return the function that mounts it.

    Args:
        folder: Where its files are, beside this one.
        name: Of its ``.js`` and ``.css``; the folder's name where it has only one.
        parts: Further scripts of the folder, put before its own; each may bring a ``.css`` of its own.
    """
    name = name or folder
    scripts = [SHARED_SCRIPT, *(_HERE / folder / f"{part}.js" for part in (*parts, name))]
    brought = [path for part in parts if (path := _HERE / folder / f"{part}.css").exists()]
    styles = [_HERE / "shared.css", *brought, _HERE / folder / f"{name}.css"]
    script, style = ("\n".join(path.read_text(encoding="utf-8") for path in paths) for paths in (scripts, styles))
    REGISTERED[name] = (script, style)
    return st.components.v2.component(f"qk_{name}", js=script, css=style)


def pack(header: Mapping[str, Any], sections: Mapping[str, np.ndarray | bytes], again: bool = False) -> bytes:
    """A header and arrays as one message, which ``unpack`` of `shared.js` reads without copying.

    With `again` two equal messages differ, but not in their digest: the component runs and can see that only its own
    optimistic choice may have to be undone (see `rerun`).

    Layout: header length (uint32, little-endian), header as UTF-8 JSON, then the sections, each starting at a
    multiple of four bytes. The header gains ``sections`` (name, type, offset, length) and ``digest``, by which
    the browser knows that nothing has changed.

    Raises:
        ValueError: A section's type has no typed array in the browser.
    """
    parts, listed, offset = [], [], 0
    for name, section in sections.items():
        raw, kind = (section, "uint8") if isinstance(section, bytes) else (_little(section, name), str(section.dtype))
        listed.append({"name": name, "type": kind, "offset": offset, "bytes": len(raw)})
        parts.append(raw + b"\0" * (-len(raw) % 4))
        offset += len(parts[-1])
    body = b"".join(parts)
    plain = json.dumps(header, ensure_ascii=False, allow_nan=False, default=_number)
    digest = hashlib.blake2b(plain.encode() + body, digest_size=8).hexdigest()
    more = {"sections": listed, "digest": digest} | ({"rerun": rerun()} if again else {})
    head = json.dumps({**json.loads(plain), **more}, ensure_ascii=False).encode()
    head += b" " * (-len(head) % 4)
    return len(head).to_bytes(4, "little") + head + body


def unpack(message: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays that `pack` put together."""
    length = int.from_bytes(message[:4], "little")
    header, body = json.loads(message[4 : 4 + length]), memoryview(message)[4 + length :]
    return header, {
        each["name"]: np.frombuffer(
            body[each["offset"] : each["offset"] + each["bytes"]], dtype="<" + _DTYPES[each["type"]]
        )
        for each in header["sections"]
    }


def rerun() -> int:
    """A number that was never given before, for the data of a component that must run again at every rerun.

    A component runs again only when its data changes. One that shows a choice before the server has heard of it
    must run even when the server, after Back, says just what it said last.
    """
    return next(_NUMBERS)


def heard(key: str, what: str) -> dict[str, Any] | None:
    """What a component of this key has said; it counts from now on as answered (see `answered`)."""
    said = st.session_state[key][what]
    if said is not None:
        st.session_state[f"{key}_answered"] = max(int(said["asked"]), answered(key))
    return said


def answered(key: str) -> int:
    """The number of the newest choice the server has heard of: an answer to an earlier one must not undo it."""
    return st.session_state.get(f"{key}_answered", 0)


def _little(section: np.ndarray, name: str) -> bytes:
    if str(section.dtype) not in _DTYPES:
        raise ValueError(f"Section {name!r} is {section.dtype}; the browser reads {', '.join(_DTYPES)}.")
    return np.ascontiguousarray(section, dtype="<" + _DTYPES[str(section.dtype)]).tobytes()


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot go into a header")
