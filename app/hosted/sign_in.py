"""Signing in, for a page that is not for everybody: Streamlit's own ``st.login``, by OpenID Connect.

With a section ``[auth]`` in ``.streamlit/secrets.toml`` nobody sees anything, and nothing is read, before they have
signed in; with ``[qk_atlas] allowed = ["ada@example.org", "@lab.example.org"]`` nobody but these. `app/docs/public.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from app.components.asked import go_to_asked, keep_asked

SECTION, OURS = "auth", "qk_atlas"
_OF_ALL = ("redirect_uri", "cookie_secret", "expose_tokens", "client_kwargs")


def admitted() -> bool:
    """Whether the page may be shown to who is looking; else the page to sign in has been drawn."""
    if not _is_asked_for():
        return True
    if not st.user.get("is_logged_in"):
        _ask()
        return False
    refused = why_not(st.user.to_dict(), _allowed())
    if refused:
        _frame("You are not on the list", refused)
        st.button("Sign out", key="sign_out", on_click=st.logout, type="primary")
        return False
    go_to_asked()
    return True


def nothing(_view: Any) -> None:
    """What every page of the address draws for who is not admitted: the sign-in page has been drawn already."""


def person() -> str | None:
    """Who has signed in, by what their provider calls them for good; None where nobody has."""
    if not _is_asked_for() or not st.user.get("is_logged_in") or not st.user.get("sub"):
        return None
    return f"{st.user.get('iss')} {st.user['sub']}"


def who() -> None:
    """In the left column: who is signed in, and the way out."""
    if not _is_asked_for():
        return
    with st.sidebar, st.container(key="who"):
        _say(f"Signed in as {_name(st.user.to_dict())}")
        st.button("Sign out", key="sign_out", on_click=st.logout, type="tertiary")


def why_not(user: Mapping[str, Any], allowed: Iterable[str] | None) -> str:
    """Why somebody who has signed in sees nothing, in one sentence; empty for who may.

    Args:
        user: What the provider says of them.
        allowed: Addresses, and domains as ``@example.org``; None for everybody whom the provider lets in.
    """
    if allowed is None:
        return ""
    address = str(user.get("email") or "").strip().casefold()
    name, _, domain = address.partition("@")
    if not name or not domain or "@" in domain:
        return "Your provider tells no e-mail address of yours, and this page is for a list of them: ask its owner."
    if str(user.get("email_verified", True)).casefold() not in ("true", "1"):
        return f"{address} is not confirmed by your provider: confirm it there, then sign in again."
    known = {each.strip().casefold() for each in allowed}
    if address in known or f"@{domain}" in known:
        return ""
    return f"{address} may not see this page: ask its owner, or sign in as somebody else."


def _allowed() -> list[str] | None:
    ours = st.secrets.get(OURS, {})
    if "allowed" not in ours:
        return None
    listed = ours["allowed"]
    return [listed] if isinstance(listed, str) else [str(each) for each in listed]


def _is_asked_for() -> bool:
    """Whether the secrets have the section. Secrets that are there and cannot be read let nobody in."""
    if st.secrets.load_if_toml_exists():
        return SECTION in st.secrets
    if any(Path(path).exists() for path in st.get_option("secrets.files")):
        _frame("This page is closed", "Its secrets.toml cannot be read: the server's log tells its owner why.")
        st.stop()
    return False


def _ask() -> None:
    _frame("QK Atlas", "This copy of QK Atlas is for people its owner knows. Sign in to see it.")
    section = st.secrets[SECTION]
    providers = [name for name in section if name not in _OF_ALL and isinstance(section[name], Mapping)]
    for name in [None, *providers] if "client_id" in section else providers:
        words = f"Sign in with {name}" if name else "Sign in"
        st.button(words, key=f"sign_in_{name or 'default'}", on_click=st.login, args=(name,), type="primary")
    keep_asked()


def _frame(title: str, words: str) -> None:
    st.markdown(f"##### {title}")
    _say(words)


def _say(words: str) -> None:
    """As it is: an address makes no link, a name no term."""
    st.html(f'<p class="qk-sentence" style="overflow-wrap: anywhere">{escape(words)}</p>')


def _name(user: Mapping[str, Any]) -> str:
    return str(user.get("email") or user.get("name") or user.get("sub") or "somebody")[:80]
