"""Azure on loopback: a login over TLS, a machine's metadata, and an application service's identity endpoint."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

AMBIENT = (
    *(
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_AUTHORITY_HOST",
    ),
    *("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"),
)


@dataclass
class Azure:
    """What was asked, and what is answered: `answer` is a token's text, or a status that is an error."""

    url: str = ""
    answer: str | int = "token-1"
    lasts: int = 3600
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def reply(self, path: str, headers: dict[str, str], fields: dict[str, str]) -> tuple[int, dict[str, object]]:
        if path.endswith("/.well-known/openid-configuration"):
            return 200, {
                "token_endpoint": f"{self.url}/tenant/oauth2/v2.0/token",
                "authorization_endpoint": f"{self.url}/tenant/oauth2/v2.0/authorize",
                "issuer": f"{self.url}/tenant/v2.0",
            }
        self.asked.append((path, headers, fields))
        self.hold.wait(10)
        if isinstance(self.answer, int):
            return self.answer, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret"}
        ends = int(time.time()) + self.lasts
        told = {"access_token": self.answer, "token_type": "Bearer", "expires_in": self.lasts, "expires_on": str(ends)}
        return 200, {**told, "resource": fields.get("resource", "")}


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any Azure credentials, whatever this one has."""
    for name in AMBIENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in ("azure", "msal")}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


Start = Callable[[bool], Azure]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Start]:
    """`start(tls)`: a server; with TLS its certificate is one that this process trusts."""
    servers: list[ThreadingHTTPServer] = []

    def start(tls: bool) -> Azure:
        azure = Azure()
        azure.hold.set()
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(azure))
        server.daemon_threads = True
        if tls:
            server.socket = certified(monkeypatch, tmp_path).wrap_socket(server.socket, server_side=True)
        azure.url = f"{'https' if tls else 'http'}://localhost:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        servers.append(server)
        return azure

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def certified(monkeypatch: pytest.MonkeyPatch, folder: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "ca.pem"))
    return context


def handler(azure: Azure) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            self.answer(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))

        def answer(self, fields: dict[str, list[str]]) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            told = {name: values[0] for name, values in fields.items()}
            status, document = azure.reply(urlsplit(self.path).path, headers, told)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    return Handler


@pytest.fixture
def login(start: Start) -> Azure:
    return start(True)


@pytest.fixture
def machine(start: Start) -> Azure:
    return start(False)
