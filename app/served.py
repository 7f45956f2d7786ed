"""The page's server: Streamlit, with the frame's style in the first bytes that a browser gets.

From `app/main.py`, which sends it too, the style comes after the first parts have been drawn: they would jump to their
places.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware
from streamlit.starlette import App

from app.hosted.public import limits
from app.hosted.visitor import has_cookie, new_cookie
from app.style import AT_FIRST, LAYOUT, ROOM
from app.warm import warmed

_Scope = MutableMapping[str, Any]
_Send = Callable[[_Scope], Awaitable[None]]
_Receive = Callable[[], Awaitable[_Scope]]

_NOT_PASSED_ON = {b"accept-encoding", b"if-none-match", b"if-modified-since", b"range"}
_NOT_SENT = {b"content-length", b"etag", b"last-modified", b"accept-ranges"}


KNOWN_BEFORE = """
<script>
  try {
    const isFolded = (key) => key.startsWith("stSidebarCollapsed-") && localStorage.getItem(key) === "true";
    document.documentElement.toggleAttribute("data-qk-column-folded", Object.keys(localStorage).some(isFolded));
    const isFirst = location.pathname.endsWith("/") && !location.search && !localStorage.getItem("qk-atlas-welcome");
    document.documentElement.toggleAttribute("data-qk-welcome", isFirst);
  } catch { /* without storage the strip comes when it comes */ }
  const isAlone = new URLSearchParams(location.search).getAll("embed").includes("true");
  document.documentElement.toggleAttribute("data-qk-alone", isAlone);
</script>
"""
"""What this browser remembers: that the left column is folded, which Streamlit will do, and takes no room; and whether
the strip of three sentences has been read, which `welcome.js` will ask for: else it takes room from the start. And that
the view stands alone in a page of others."""


_POLICY = {
    "default-src": "'self'",
    # Streamlit's own scripts and those of components come inline and from blobs; Vega compiles its expressions.
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "frame-src": "'none'",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
_GUARDS = [
    (b"content-security-policy", "; ".join(f"{what} {where}" for what, where in _POLICY.items()).encode()),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
]
"""Should a token ever come through as markup: the browser then asks no other machine for anything and opens no frame,
and no other machine learns from a link that is followed which page it stood on."""


class StyleFirst:
    """Puts `head` before the end of the head of every HTML page that the app behind it sends, and tells the browser to
    ask no other machine for anything (`_GUARDS`). On a public page each browser gets a cookie that tells it from
    others."""

    def __init__(self, app: Callable[..., Awaitable[None]], head: str) -> None:
        self.app, self.head = app, head.encode()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one connection; everything but an address without a file's ending passes as it is."""
        if scope["type"] != "http" or scope["method"] != "GET" or "." in scope["path"].rpartition("/")[2]:
            return await self.app(scope, receive, send)
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _NOT_PASSED_ON]
        return await self.app({**scope, "headers": headers}, receive, _with_head(send, self.head, _cookies(scope)))


def _cookies(scope: _Scope) -> list[tuple[bytes, bytes]]:
    """The cookie of a visitor, where the page is public and the browser has none."""
    sent = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
    if limits() is None or any(map(has_cookie, sent)):
        return []
    # Private: a proxy that kept the page would make one visitor of many.
    return [(b"set-cookie", new_cookie(scope.get("scheme") == "https").encode()), (b"cache-control", b"private")]


def _with_head(send: _Send, head: bytes, more: list[tuple[bytes, bytes]]) -> _Send:
    """A `send` that holds an HTML answer back until it is whole, and lets every other one through."""
    start: _Scope = {}
    body = bytearray()

    async def pass_on(message: _Scope) -> None:
        if message["type"] == "http.response.start":
            if not dict(message["headers"]).get(b"content-type", b"").startswith(b"text/html"):
                return await send(message)
            start.update(message)
            return None
        if not start:
            return await send(message)
        body.extend(message.get("body", b""))
        if message.get("more_body"):
            return None
        whole = bytes(body).replace(b"</head>", head + b"</head>", 1)
        headers = [each for each in start["headers"] if each[0].lower() not in _NOT_SENT]
        headers += [*_GUARDS, *more]
        await send({**start, "headers": [*headers, (b"content-length", str(len(whole)).encode())]})
        return await send({"type": "http.response.body", "body": whole})

    return pass_on


app = App(
    Path(__file__).with_name("main.py"),
    lifespan=warmed,
    middleware=[Middleware(StyleFirst, head=AT_FIRST + LAYOUT + ROOM + KNOWN_BEFORE)],
)
