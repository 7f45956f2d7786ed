"""Signing in, end to end: the real page, a real browser, and a provider of identities on this machine."""

from __future__ import annotations

import pytest

from tests.e2e.provider import CLIENT, SECRET, provider
from tests.e2e.serving import eventually, free_port, new_context, served, settle
from tests.store.synthetic import make_synthetic_run

ADA = {"sub": "1", "name": "Ada", "email": "Ada@lab.example.org", "email_verified": True}
EVE = {"sub": "2", "name": "Eve", "email": "eve@example.net", "email_verified": True}


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """The page with a list of who may see it, and the provider."""
    folder = tmp_path_factory.mktemp("private")
    make_synthetic_run(folder / "runs", "confidential", n_inputs=3)
    port = free_port()
    with provider(ADA) as known:
        (folder / "secrets.toml").write_text(f"""
            [auth]
            redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
            cookie_secret = "0123456789abcdef0123456789abcdef"
            client_id = "{CLIENT}"
            client_secret = "{SECRET}"
            server_metadata_url = "{known.address}/.well-known/openid-configuration"
            [qk_atlas]
            allowed = ["@lab.example.org", "ben@example.org"]
        """)
        secrets = str(folder / "secrets.toml")
        with served(folder / "runs", folder / "log.txt", port, STREAMLIT_SECRETS_FILES=secrets) as address:
            yield address, known


@pytest.fixture
def visit(browser, private):
    """A page of somebody nobody knows, and what its server sent over its socket."""
    context = new_context(browser)
    page, heard = context.new_page(), []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda sent: heard.append(bytes_of(sent))))
    yield page, heard
    context.close()


def bytes_of(sent: str | bytes) -> bytes:
    return sent.encode() if isinstance(sent, str) else sent


def gives_away(page, heard: list[bytes]) -> bool:
    said = page.content().encode() + b"".join(heard)
    return b"confidential" in said.replace(b"run=confidential", b"")


def test_before_signing_in_nothing_of_the_runs_is_sent(visit, private):
    page, heard = visit
    for path in ("/runs", "/input?run=confidential", "/?embed=true"):
        heard.clear()
        page.goto(private[0] + path)
        page.get_by_role("button", name="Sign in").wait_for()
        page.get_by_text("for people its owner knows. Sign in to see it.").wait_for()
        assert heard
        assert not gives_away(page, heard)
        assert page.get_by_test_id("stSidebar").count() == 0


def test_signed_in_the_page_is_there_and_signed_out_it_is_gone(visit, private):
    (page, heard), (address, known) = visit, private
    known.person = ADA
    asked = f"{address}/input?run=confidential&head=1&input=2"
    page.goto(asked)
    page.get_by_role("button", name="Sign in").click()
    settle(page)
    page.get_by_text("Signed in as Ada@lab.example.org").wait_for()
    page.wait_for_url(lambda url: "/input?" in url and "input=2" in url)
    assert gives_away(page, heard), "or what the other tests look for is never sent"
    assert {"/authorize", "/token", "/keys"} <= set(known.asked)
    page.goto(address + "/runs")
    settle(page)
    page.get_by_text("1 run to look at").wait_for()
    page.goto(address)
    settle(page)
    page.wait_for_timeout(500)
    assert "/input" not in page.url, "the way on is taken once"
    page.goto(address + "/runs")
    settle(page)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").wait_for()
    eventually(lambda: "/end" in known.asked)
    heard.clear()
    page.goto(address + "/runs")
    page.get_by_role("button", name="Sign in").wait_for()
    assert not gives_away(page, heard)


def test_who_is_not_on_the_list_is_told_so_in_one_sentence_and_sees_nothing(visit, private):
    (page, heard), (address, known) = visit, private
    known.person = EVE
    page.goto(address)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("eve@example.net may not see this page").wait_for()
    page.goto(address + "/input?run=confidential")
    page.get_by_text("eve@example.net may not see this page").wait_for()
    assert not gives_away(page, heard)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").wait_for()
