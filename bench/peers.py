"""Other gateways, installed beside the benchmark with their own package managers: LiteLLM by pip, Portkey by npm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / ".peers"
LITELLM = FOLDER / "litellm" / "bin" / "litellm"
PORTKEY = FOLDER / "portkey" / "node_modules" / "@portkey-ai" / "gateway"
PORTKEY_START = PORTKEY / "build" / "start-server.js"
INSTALL_SECONDS = 900

PORTKEY_PACKAGE = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    # With newer ones every stream ends in a 500 ("immutable" headers), because Portkey edits the upstream's own.
    "overrides": {"@hono/node-server": "1.13.8"},
}


def install() -> None:
    """Install what is missing. What cannot be installed is said, and left out of the comparison."""
    FOLDER.mkdir(exist_ok=True)
    if not LITELLM.exists():
        _attempt("LiteLLM", [[sys.executable, "-m", "venv", FOLDER / "litellm"], _pip("litellm[proxy]")])
    if not PORTKEY_START.exists():
        if shutil.which("npm") is None or shutil.which("node") is None:
            print("Portkey: not installed, because node and npm are not (apt-get install nodejs npm)", flush=True)
            return
        (FOLDER / "portkey").mkdir(exist_ok=True)
        (FOLDER / "portkey" / "package.json").write_text(json.dumps(PORTKEY_PACKAGE))
        npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", FOLDER / "portkey"]
        _attempt("Portkey", [npm])


def _pip(*requirements: str) -> list[str | Path]:
    return [FOLDER / "litellm" / "bin" / "python", "-m", "pip", "install", "--quiet", *requirements]


def _attempt(name: str, commands: Sequence[Sequence[str | Path]]) -> None:
    print(f"{name}: installing into {FOLDER.name}/ (some minutes)", flush=True)
    for command in commands:
        try:
            subprocess.run([str(word) for word in command], check=True, timeout=INSTALL_SECONDS, env=dict(os.environ))
        except (subprocess.SubprocessError, OSError) as error:
            print(f"{name}: could not be installed: {error}", flush=True)
            return


def version(name: str) -> str:
    """The version of an installed peer, `?` when it does not say."""
    if name == "portkey":
        return _json_version(PORTKEY / "package.json")
    found = sorted((FOLDER / "litellm" / "lib").glob("python*/site-packages/litellm-*.dist-info"))
    return found[0].name.removeprefix("litellm-").removesuffix(".dist-info") if found else "?"


def _json_version(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["version"])
    except (OSError, ValueError, KeyError):
        return "?"
