"""IBM's ContextForge as a peer of the MCP relay: installed by pip into .peers, on SQLite, with one server behind it.

Everything of it is as it comes, but for secrets, which it wants, and servers on this machine, which it has to allow.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from contestants import free_port
from peers import FOLDER, INSTALL_SECONDS
from processes import SERVER_CORE, Process

HOME = FOLDER / "contextforge"
PYTHON = HOME / "bin" / "python"
SECRET = "only-for-the-benchmark-0123456789-ABCDEF"
USER = "admin@example.com"
REGISTER_SECONDS = 60


def install() -> None:
    if not (HOME / "bin" / "mcpgateway").exists():
        print("ContextForge: installing (some minutes)", file=sys.stderr, flush=True)
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "mcp-contextforge-gateway"]
        for command in ([sys.executable, "-m", "venv", HOME], pip):
            subprocess.run([str(word) for word in command], check=True, timeout=INSTALL_SECONDS)


def version() -> str:
    found = next((HOME / "lib").glob("python*/site-packages/mcp_contextforge_gateway-*.dist-info"))
    return found.name.split("-")[1].removesuffix(".dist")


def start(stack: ExitStack, out: Path) -> tuple[Process, int, str]:
    """The process, its port, and the field of a request's head that says who asks."""
    database, port = out / "contextforge.db", free_port()
    database.unlink(missing_ok=True)
    environ = {
        "DATABASE_URL": f"sqlite:///{database}",
        "CACHE_TYPE": "memory",
        "SSRF_ALLOW_LOCALHOST": "true",
        "JWT_SECRET_KEY": SECRET,
        "AUTH_ENCRYPTION_SECRET": SECRET[::-1],
        "BASIC_AUTH_PASSWORD": SECRET,
        "PLATFORM_ADMIN_EMAIL": USER,
        "PLATFORM_ADMIN_PASSWORD": f"{SECRET}!",
    }
    command = [HOME / "bin" / "mcpgateway", "mcpgateway.main:app", "--host", "127.0.0.1", "--port", str(port)]
    log = out / "contextforge.log"
    process = stack.enter_context(Process(command, core=SERVER_CORE, environ=environ, log=log, quiet=True))
    return process, port, f"authorization: Bearer {token({**os.environ, **environ})}\r\n"


def token(environ: dict[str, str]) -> str:
    making = [PYTHON, "-m", "mcpgateway.utils.create_jwt_token", "--username", USER, "--admin", "--exp", "600"]
    command = [str(word) for word in (*making, "--secret", SECRET)]
    made = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    return made.stdout.split()[-1]


def register(port: int, who: str, upstream: int) -> None:
    """Have it know the server, whose tools are `bench-…` from then on."""
    server = {"name": "bench", "url": f"http://127.0.0.1:{upstream}/mcp", "transport": "STREAMABLEHTTP"}
    name, _, value = who.strip().partition(": ")
    headers = {"content-type": "application/json", name: value}
    body = json.dumps({**server, "visibility": "public"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/gateways", body, headers)
    with urllib.request.urlopen(request, timeout=REGISTER_SECONDS):
        pass
