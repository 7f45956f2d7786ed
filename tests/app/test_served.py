"""The first bytes of the page: its style and script stand in the head, and everything else passes untouched."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from streamlit.testing.v1 import AppTest

from analysis.inputs.media_files import MAX_BYTES
from app.served import StyleFirst
from app.warm import read_first_look
from tests.store.synthetic import make_synthetic_run

PAGE = "<html><head><title>x</title></head><body>ü</body></html>"
MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"
HEAD = "<style>p { top: 0 }</style>"


async def _behind(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An app that sends a page in two parts, or a script where the address asks for one."""
    assert b"accept-encoding" not in dict(scope["headers"]) or scope["path"].endswith(".js")
    is_page = not scope["path"].endswith((".js", "health"))
    kind, body = (b"text/html; charset=utf-8", PAGE.encode()) if is_page else (b"text/plain", b"</head>")
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"etag", b'"1"')]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body[:20], "more_body": True})
    await send({"type": "http.response.body", "body": body[20:]})


def answer(path: str, method: str = "GET", cookie: bytes = b"") -> tuple[dict[bytes, bytes], str]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"accept-encoding", b"gzip")]}
    scope["headers"] += [(b"cookie", cookie)] * bool(cookie)
    if method != "GET":
        scope["headers"] = []
    # In a thread of its own: a browser test in the same process leaves an event loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, StyleFirst(_behind, HEAD)(scope, None, send)).result()
    return dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent).decode()


@pytest.mark.parametrize("path", ["/", "/head", "/base/input"])
def test_a_page_has_the_style_at_the_end_of_its_head_and_its_true_length(path):
    headers, body = answer(path)
    assert body == PAGE.replace("</head>", HEAD + "</head>")
    assert headers[b"content-length"] == str(len(body.encode())).encode()
    assert b"etag" not in headers, "a page kept by the browser would keep an older style"
    policy = headers[b"content-security-policy"].decode().split("; ")
    for rule in (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self' data: blob:",
        "frame-src 'none'",
    ):
        assert rule in policy
    assert headers[b"referrer-policy"] == b"same-origin"


def test_the_server_is_of_this_machine_only_and_tells_nothing_of_it():
    """What Streamlit itself makes of our settings."""
    names = (
        "server.address browser.gatherUsageStats client.showErrorDetails client.toolbarMode server.maxUploadSize "
        "server.enableCORS server.enableXsrfProtection server.enableStaticServing server.fileWatcherType"
    ).split()
    code = f"import json, streamlit; print(json.dumps([streamlit.config.get_option(name) for name in {names}]))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMLIT_")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=MAIN.parents[1], env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == ["127.0.0.1", False, "none", "minimal", MAX_BYTES // 1_000_000, True, True, False, "none"]


@pytest.mark.parametrize(
    ("path", "method"), [("/static/js/index.js", "GET"), ("/_stcore/health", "GET"), ("/", "HEAD")]
)
def test_everything_else_passes_as_it_is(path, method):
    headers, body = answer(path, method)
    assert HEAD not in body
    assert headers[b"etag"] == b'"1"'


def test_what_the_first_visitor_sees_is_read_before(monkeypatch, tmp_path):
    monkeypatch.setenv("QK_ATLAS_RUNS", str(tmp_path))
    assert not read_first_look(), "no run yet"
    make_synthetic_run(tmp_path, "first", n_inputs=2, n_tokens=6, n_layers=1, n_heads=2)
    assert read_first_look()
    with mock.patch("app.views.atlas_parts._pack_all", side_effect=AssertionError("packed again")):
        visit = AppTest.from_file(MAIN, default_timeout=60).run()
    assert not visit.exception


def test_a_damaged_first_run_does_not_keep_the_server_from_starting(monkeypatch, tmp_path):
    monkeypatch.setenv("QK_ATLAS_RUNS", str(tmp_path))
    file = make_synthetic_run(tmp_path, "first", n_inputs=2, n_tokens=6, n_layers=1, n_heads=2) / "run.duckdb"
    file.write_bytes(file.read_bytes()[:-4096])
    assert not read_first_look()


def test_a_browser_gets_a_cookie_of_its_own_on_a_public_page_alone(monkeypatch):
    assert b"set-cookie" not in answer("/")[0]
    monkeypatch.setenv("QK_ATLAS_PUBLIC", "1")
    given = [answer("/runs")[0][b"set-cookie"].split(b";")[0] for _ in range(2)]
    assert given[0] != given[1]
    assert b"set-cookie" not in answer("/", cookie=b"a=b; " + given[0])[0]
    assert b"set-cookie" in answer("/", cookie=b"qk_atlas_visitor=mine")[0], "nobody chooses who they are"
    assert b"set-cookie" not in answer("/static/app.js")[0]
