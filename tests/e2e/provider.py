"""A provider of identities for the tests of signing in: OpenID Connect on this machine, for whoever `person` is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "qk-atlas", "a secret of the client"


@dataclass
class Provider:
    """What it answers and what it was asked.

    Attributes:
        person: Claims of who signs in next.
        asked: Paths that were asked for.
    """

    address: str
    person: dict[str, object]
    asked: list[str] = field(default_factory=list)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    codes: dict[str, str] = field(default_factory=dict)

    def metadata(self) -> dict[str, object]:
        """The discovery document."""
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/keys",
            "end_session_endpoint": f"{self.address}/end",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def id_token(self, nonce: str) -> str:
        """Signed claims of `person`."""
        now = int(time.time())
        claims = {"iss": self.address, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.person}
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)


@contextmanager
def provider(person: dict[str, object]) -> Iterator[Provider]:
    """Serve one until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.provider = Provider(f"http://127.0.0.1:{server.server_address[1]}", person)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.provider
    finally:
        server.shutdown()
        server.server_close()


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ours, parts = self.server.provider, urlsplit(self.path)
        ours.asked.append(parts.path)
        given = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/.well-known/openid-configuration":
            return self._json(ours.metadata())
        if parts.path == "/keys":
            return self._json({"keys": [ours.key.as_dict(private=False)]})
        if parts.path == "/authorize":
            code = f"code-{len(ours.codes)}"
            ours.codes[code] = given.get("nonce", "")
            return self._to(f"{given['redirect_uri']}?{urlencode({'code': code, 'state': given['state']})}")
        return self._to(given["post_logout_redirect_uri"])

    def do_POST(self) -> None:
        ours = self.server.provider
        ours.asked.append(self.path)
        sent = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        nonce = ours.codes.pop(sent["code"][0], None)
        if nonce is None:
            return self._json({"error": "invalid_grant"}, 400)
        return self._json(
            {"access_token": "x", "token_type": "Bearer", "expires_in": 300, "id_token": ours.id_token(nonce)}
        )

    def _json(self, content: dict, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _to(self, address: str) -> None:
        self.send_response(302)
        self.send_header("location", address)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
