"""Who may see a page that is not for everybody; the way through a provider is walked in tests/e2e/test_sign_in.py."""

from __future__ import annotations

from unittest import mock

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app.hosted.sign_in import why_not
from app.hosted.visitor import COOKIE, has_cookie, new_cookie

ALLOWED = ["ada@example.org", "@Lab.example.org"]


@pytest.mark.parametrize("address", ["ada@example.org", "ADA@Example.org", "anybody@lab.example.org"])
def test_who_is_on_the_list_may(address):
    assert why_not({"email": address, "email_verified": True}, ALLOWED) == ""
    assert why_not({"email": address}, ALLOWED) == ""


@pytest.mark.parametrize(
    "address",
    ["eve@example.org", "ada@example.org.evil.net", "a@sub.lab.example.org", "ada@example.org@evil.net",
     "@lab.example.org", "lab.example.org", "eve@evil.net@lab.example.org", "", None],
)  # fmt: skip
def test_who_is_not_on_the_list_may_not(address):
    assert why_not({"email": address, "email_verified": True}, ALLOWED)
    assert why_not({}, ALLOWED)


@pytest.mark.parametrize("said", [False, "false", "False", None, 0])
def test_an_address_that_the_provider_did_not_confirm_is_nobodys(said):
    assert "not confirmed" in why_not({"email": "ada@example.org", "email_verified": said}, ALLOWED)


def test_without_a_list_the_provider_decides_and_an_empty_one_lets_nobody_in():
    assert why_not({"email": "eve@evil.net"}, None) == ""
    assert why_not({"email": "ada@example.org"}, [])


def test_secrets_that_cannot_be_read_let_nobody_in(tmp_path):
    """A slip of the pen in the file must not open the page."""
    (tmp_path / "secrets.toml").write_text("[auth\n")
    script = "import streamlit as st\nfrom app.hosted import sign_in\nif sign_in.admitted():\n    st.write('come in')"
    page = AppTest.from_string(script, default_timeout=30)
    with (
        mock.patch.object(st.secrets, "load_if_toml_exists", return_value=False),
        mock.patch.object(st, "get_option", return_value=[str(tmp_path / "secrets.toml")]),
    ):
        page.run()
    said = " ".join(each.value for each in page.markdown)
    assert "This page is closed" in said
    assert "come in" not in said
    with (
        mock.patch.object(st.secrets, "load_if_toml_exists", return_value=False),
        mock.patch.object(st, "get_option", return_value=[str(tmp_path / "none.toml")]),
    ):
        page.run()
    assert "come in" in " ".join(each.value for each in page.markdown)


def test_a_visitors_cookie_cannot_be_chosen_and_is_no_business_of_scripts():
    given = new_cookie(is_secure=True)
    assert all(guard in given for guard in ("HttpOnly", "SameSite=Lax", "Secure", "Path=/"))
    assert "Secure" not in new_cookie(is_secure=False)
    assert has_cookie(f"a=b; {given.split(';')[0]}; c=d")
    assert not any(map(has_cookie, ("", f"{COOKIE}=", f"{COOKIE}=short", f"{COOKIE}={'a' * 44}", f"x{given}")))
