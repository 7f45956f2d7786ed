"""A run whose tokens, columns, model and data are markup, and links of markup: no script, no frame, no request."""

from __future__ import annotations

import errno
import socket
from urllib.parse import quote, urlsplit

from playwright.sync_api import expect

from tests.e2e.conftest import HOSTILE, HOSTILE_IMAGE, HOSTILE_PICTURE
from tests.e2e.serving import settle

LINK = f"run=hostile&colour={quote(HOSTILE_IMAGE)}&find={quote(HOSTILE_IMAGE + '=' + HOSTILE)}&input=0&token=1"
STRANGE = "&".join(f"{word}={quote(HOSTILE_PICTURE)}" for word in "site map score group by beside mark step".split())

INJECT = """
async () => {
  const blocked = [];
  document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
  const frame = document.createElement("iframe");
  frame.src = "http://203.0.113.1/canary.html";
  document.body.append(frame);
  await fetch("http://203.0.113.1/canary").catch(() => {});
  for (let tries = 0; blocked.length < 2 && tries < 50; tries++) await new Promise((go) => setTimeout(go, 100));
  frame.remove();
  return blocked.sort();
}
"""
"""What came through all the same would reach nobody: the page's policy stands in its way."""


def test_markup_in_a_run_and_in_a_link_stays_text_and_the_server_hears_this_machine_only(go, page, address):
    """That nothing outside is asked for, the fixture `page` watches over. Atlas and Head are in `test_head`, Input in
    `test_input`."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    for path in ("/heads", "/sinks", "/runs"):
        go(f"{path}?{LINK}&row=hostile")
        page.mouse.move(640, 420)
        if path == "/runs":
            expect(page.get_by_text(f"Note: {HOSTILE_IMAGE}")).to_be_visible()
        unhurt(page)
    go(f"/heads?run=hostile&{STRANGE}")
    expect(page.get_by_test_id("stAlert").first).to_contain_text(HOSTILE_PICTURE[:30])
    unhurt(page)
    assert not [path for path in asked if path.endswith("/x")], "an image of a token was asked for"
    assert page.evaluate(INJECT) == ["connect-src", "frame-src"]
    assert is_refused(urlsplit(address).port)


def unhurt(page) -> None:
    settle(page)
    assert page.evaluate("window.__hurt") is None
    assert page.locator("iframe, object, embed, img[src='x'], [src*='203.0.113'], [href^='javascript']").count() == 0


def is_refused(port: int) -> bool:
    """Whether nobody listens at the address under which other machines see this one; True where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # sends nothing: only which address it would be
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            return True
        own = probe.getsockname()[0]
    with socket.socket() as asked:
        return asked.connect_ex((own, port)) == errno.ECONNREFUSED
