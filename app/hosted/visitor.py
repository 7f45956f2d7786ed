"""Who is looking: by signing in, else by a cookie that the server gives every browser of a public page.

The cookie tells one browser from another, so that a visitor's runs stay theirs over reloads, tabs and restarts. It is
no proof of a person: who deletes it is somebody new, with a new quota and without the old runs. Scripts cannot read it,
and records hold its digest only.
"""

from __future__ import annotations

import re
import secrets

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from analysis.store import runs_dir
from app.hosted import sign_in
from app.hosted.public import limits
from app.hosted.visitors import owners, visitor_of

COOKIE = "qk_atlas_visitor"
_YEAR_SECONDS = 31_536_000
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def visitor() -> str | None:
    """The visitor of this session; None where there is no telling, or no need as the page is not public."""
    if limits() is None or get_script_run_ctx(suppress_warning=True) is None:
        return None
    person = sign_in.person()
    if person is not None:
        return visitor_of(f"person {person}")
    secret = st.context.cookies.get(COOKIE, "")
    return visitor_of(f"browser {secret}") if _SECRET.fullmatch(secret) else None


def is_mine(run_id: str) -> bool:
    """Whether this visitor has made the run."""
    mine = visitor()
    return mine is not None and owners(runs_dir()).get(run_id) == mine


def new_cookie(is_secure: bool) -> str:
    """The header that gives a browser its cookie."""
    guards = f"Max-Age={_YEAR_SECONDS}; Path=/; HttpOnly; SameSite=Lax"
    return f"{COOKIE}={secrets.token_urlsafe(32)}; {guards}" + ("; Secure" if is_secure else "")


def has_cookie(header: str) -> bool:
    """Whether a browser's ``Cookie`` header holds one that we gave."""
    given = dict(part.strip().partition("=")[::2] for part in header.split(";"))
    return bool(_SECRET.fullmatch(given.get(COOKIE, "")))
