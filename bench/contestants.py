"""Who is compared: the mock itself, nginx, this gateway with both its faces, and peers where they are installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bodies
import configs
import peers
import programs
from load import PATH
from processes import LOAD_CORE, SERVER_CORE, Process

HERE = Path(__file__).parent
CONF = HERE / "conf"
BYTECODE = {"PYTHONPYCACHEPREFIX": str(HERE / "out" / "pycache"), "PYTHONDONTWRITEBYTECODE": ""}
"""As after `pip install`, which compiles: an editable install by uv would compile everything at each start."""
KEY = {"Authorization": "Bearer sk-bench"}
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
GUARD = {
    "response": [
        {
            "regex": {
                "action": "mask",
                "rules": [{"builtin": name} for name in ("email", "creditCard", "ssn", "phoneNumber")],
            }
        }
    ]
}
STREAM_INTERVAL_US = 20_000
CHUNKS = 100


@dataclass
class Contestant:
    """A server that answers chat calls on `port`, and over TLS on `secure_port` if it has one; `idle_memory` in MB and
    `start_seconds` until its first answer. A `slow` one takes part in fewer loads."""

    name: str
    process: Process
    port: int
    headers: dict[str, str]
    idle_memory: float = 0.0
    start_seconds: float = 0.0
    secure_port: int | None = None
    slow: bool = False


class NotReady(Exception):
    """It never answered a call."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def direct(interval_us: int = STREAM_INTERVAL_US, chunks: int = CHUNKS) -> Contestant:
    """The mock upstream without anything in front of it."""
    port = free_port()
    process = Process([programs.build("mock_upstream"), str(port), str(interval_us), str(chunks)], core=LOAD_CORE)
    return ready(Contestant("direct", process, port, dict(KEY)), 10)


def bare(core: int) -> Contestant:
    """The floor (bare.py), which serves as an upstream that answers at once, too."""
    port = free_port()
    process = Process([sys.executable, HERE / "bare.py", str(port)], core=core, environ=BYTECODE)
    return ready(Contestant("bare protocol", process, port, {}), 15)


def agentgateway(upstream: int, out: Path) -> Contestant:
    """This gateway, as `agentgateway -f bench/conf/agentgateway.yaml` from the environment that runs us.

    Its access log goes to /dev/null."""
    port = free_port()
    command: list[str | Path] = [Path(sys.executable).with_name("agentgateway"), "-f", CONF / "agentgateway.yaml"]
    environ = {"BENCH_PORT": str(port), "BENCH_UPSTREAM": f"127.0.0.1:{upstream}", **BYTECODE}
    subprocess.run([*command, "--validate-only"], env={**os.environ, **environ}, check=False, capture_output=True)
    process = Process(command, core=SERVER_CORE, environ=environ, log=out / "agentgateway.log", quiet=True)
    return ready(Contestant("agentgateway", process, port, dict(KEY)), 20)


def face(name: str, upstream: int, out: Path, *, edge: bool) -> Contestant:
    """The same with one of its two faces, and a second port with TLS."""
    port, secure_port = free_port(), free_port()
    file = out / f"{'edge' if edge else 'twin'}.json"
    configs.gateway(file, upstream=upstream, port=port, secure_port=secure_port, edge=edge)
    command: list[str | Path] = [Path(sys.executable).with_name("agentgateway"), "-f", file]
    process = Process(command, core=SERVER_CORE, environ=BYTECODE, log=file.with_suffix(".log"), quiet=True)
    return ready(Contestant(name, process, port, dict(KEY), secure_port=secure_port), 20)


def guarded(upstream: int, out: Path) -> Contestant:
    """The edge with a guard that masks on replies."""
    port = free_port()
    file = out / "guarded.json"
    configs.gateway(file, upstream=upstream, port=port, secure_port=None, edge=True, guard=GUARD)
    command: list[str | Path] = [Path(sys.executable).with_name("agentgateway"), "-f", file]
    process = Process(command, core=SERVER_CORE, environ=BYTECODE, log=file.with_suffix(".log"), quiet=True)
    return ready(Contestant("agentgateway, guarded", process, port, dict(KEY)), 20)


def edge(upstream: int, out: Path) -> Contestant:
    return face("agentgateway", upstream, out, edge=True)


def twin(upstream: int, out: Path) -> Contestant:
    return face("agentgateway, ASGI twin", upstream, out, edge=False)


def nginx(upstream: int, out: Path) -> Contestant:
    """`proxy_pass` in one process; without it there is nothing to compare a proxy's floor with."""
    port, secure_port = free_port(), free_port()
    folder = out / "nginx"
    file = configs.nginx(folder, upstream=upstream, port=port, secure_port=secure_port)
    command: list[str | Path] = [NGINX or "nginx", "-p", folder, "-e", "error.log", "-c", file]
    process = Process(command, core=SERVER_CORE, log=out / "nginx.log")
    said = subprocess.run([str(command[0]), "-v"], capture_output=True, text=True, check=False).stderr
    version = re.search(r"/([\d.]+)", said)
    name = f"nginx {version[1]}" if version else "nginx"
    return ready(Contestant(name, process, port, dict(KEY), secure_port=secure_port), 10)


def litellm(upstream: int, out: Path) -> Contestant:
    """LiteLLM's proxy: one worker, a master key, its cost map from its own package."""
    port = free_port()
    environ = {
        "BENCH_UPSTREAM_URL": f"http://127.0.0.1:{upstream}/v1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
        "PATH": f"{peers.LITELLM.parent}:/usr/local/bin:/usr/bin:/bin",
    }
    words: list[str | Path] = [
        "--config",
        CONF / "litellm.yaml",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    process = Process([peers.LITELLM, *words], core=SERVER_CORE, environ=environ, log=out / "litellm.log")
    return ready(Contestant(f"LiteLLM {peers.version('litellm')}", process, port, dict(KEY), slow=True), 120)


def portkey(upstream: int, out: Path) -> Contestant:
    """Portkey's gateway, told by headers where to send."""
    port = free_port()
    command: list[str | Path] = ["node", peers.PORTKEY_START, f"--port={port}", "--headless"]
    process = Process(command, core=SERVER_CORE, environ={"NODE_ENV": "production"}, log=out / "portkey.log")
    told = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"}
    return ready(Contestant(f"Portkey {peers.version('portkey')}", process, port, {**KEY, **told}, slow=True), 60)


Begin = Callable[[int, Path], Contestant]


def gateways(*, with_peers: bool) -> list[tuple[str, Begin | None, str]]:
    """Names, how to start what is there (None where it is not installed), and what would install it."""
    found: list[tuple[str, Begin | None, str]] = [
        ("nginx", nginx if NGINX else None, "apt-get install nginx-light"),
        ("agentgateway", edge, ""),
        ("agentgateway, ASGI twin", twin, ""),
    ]
    if with_peers:
        how = "python bench/run.py --peers"
        found.append(("Portkey", portkey if peers.PORTKEY_START.exists() else None, how))
        found.append(("LiteLLM", litellm if peers.LITELLM.exists() else None, how))
    return found


def ready(contestant: Contestant, limit: float) -> Contestant:
    """Wait for its first good answer, and note how long it took. Raises `NotReady`, having stopped it."""
    process = contestant.process
    while time.monotonic() - process.started < limit and not process.ended:
        if answers(contestant):
            contestant.start_seconds = time.monotonic() - process.started
            time.sleep(0.5)
            contestant.idle_memory = process.memory()
            return contestant
        time.sleep(0.01)
    process.stop()
    raise NotReady(f"{contestant.name} did not answer within {limit:.0f} s: {process.last_words()}")


def answers(contestant: Contestant) -> bool:
    """Whether a chat call is answered with the mock's completion."""
    request = urllib.request.Request(f"http://127.0.0.1:{contestant.port}{PATH}", bodies.call(), method="POST")
    for name, value in {**contestant.headers, "Content-Type": "application/json"}.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return bool(json.load(reply)["usage"]["total_tokens"] == 200)
    except (OSError, ValueError, KeyError, urllib.error.URLError):
        return False
