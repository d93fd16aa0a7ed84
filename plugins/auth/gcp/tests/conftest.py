"""Google's logins on loopback: a token endpoint and a metadata server."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AMBIENT = (
    *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GOOGLE_CLOUD_QUOTA_PROJECT"),
    *("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT", "CLOUDSDK_CONFIG", "APPENGINE_RUNTIME"),
)
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
EMAIL = "gateway@project.iam.gserviceaccount.com"
INSTANCE = "/computeMetadata/v1/instance/service-accounts/"


def coded(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def read(assertion: str) -> dict[str, Any]:
    """The claims of a JWT, once its signature was verified (RFC 7518 section 3.3)."""
    head, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in assertion.split("."))
    assert json.loads(head)["alg"] == "RS256"
    signed = assertion.rpartition(".")[0].encode()
    KEY.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    told: dict[str, Any] = json.loads(claims)
    return told


@dataclass
class Google:
    """What was asked, and what is answered: `answer` is a token's text, or a status that is an error."""

    url: str = ""
    answer: str | int = "token-1"
    lasts: int = 3600
    began: int = field(default_factory=lambda: int(time.time()))
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def account(self, **more: Any) -> dict[str, Any]:
        """https://cloud.google.com/iam/docs/keys-create-delete: the file of a service account."""
        made = {"type": "service_account", "project_id": "project", "private_key_id": "key-1", "private_key": PEM}
        return made | {"client_email": EMAIL, "client_id": "1", "token_uri": f"{self.url}/token"} | more

    def user(self, **more: Any) -> dict[str, Any]:
        made = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
        return made | {"token_uri": f"{self.url}/token"} | more

    def id_token(self, audience: str) -> str:
        claims = {"aud": audience, "exp": self.began + self.lasts, "sub": str(self.answer)}
        return f"{coded({'alg': 'none'})}.{coded(claims)}.c2ln"

    def reply(self, path: str, headers: dict[str, str], fields: dict[str, Any]) -> tuple[int, Any]:
        if path in ("/", "/computeMetadata/v1/project/project-id"):
            return 200, "project"
        if "assertion" in fields:
            fields |= read(fields["assertion"])
        self.asked.append((path, headers, fields))
        self.hold.wait(10)
        if isinstance(self.answer, int):
            return self.answer, {"error": "invalid_grant", "error_description": f"Invalid JWT: {fields}"}
        if path == "/token" and "target_audience" in fields:
            return 200, {"id_token": self.id_token(fields["target_audience"])}
        if path.endswith("/identity"):
            return 200, self.id_token(fields["audience"])
        if path == INSTANCE + "default/":
            return 200, {"email": EMAIL, "aliases": ["default"], "scopes": []}
        if path.endswith(":generateIdToken"):
            return 200, {"token": self.id_token(fields["audience"])}
        if path.endswith(":generateAccessToken"):
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.lasts))
            return 200, {"accessToken": self.answer, "expireTime": ends}
        return 200, {"access_token": self.answer, "token_type": "Bearer", "expires_in": self.lasts}


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any Google credentials, whatever this one has."""
    for name in AMBIENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture(autouse=True)
def loud_again() -> Iterator[None]:
    names = ("google", "google.auth._default")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def google() -> Iterator[Google]:
    google = Google()
    google.hold.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(google))
    server.daemon_threads = True
    google.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield google
    server.shutdown()
    server.server_close()


def handler(google: Google) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(flat(urlsplit(self.path).query))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self.answer(json.loads(body) if body.startswith("{") else flat(body))

        def answer(self, fields: dict[str, Any]) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, document = google.reply(urlsplit(self.path).path, headers, fields)
            body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "text/plain" if isinstance(document, str) else "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("metadata-flavor", "Google")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    return Handler


def flat(query: str) -> dict[str, Any]:
    return {name: values[0] for name, values in parse_qs(query).items()}
