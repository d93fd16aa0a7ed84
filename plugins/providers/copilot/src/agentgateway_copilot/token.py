"""The credential `copilot`: the token of whoever is logged in to Copilot, or to GitHub's command line, on this machine.

Looked for in `GH_COPILOT_TOKEN`, in `COPILOT_GITHUB_TOKEN`, in the files of Copilot's editors
(`github-copilot/apps.json`, `hosts.json`), and in the one of GitHub's command line (`gh/hosts.yml`), below the folder
of configurations.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic_core import from_json

from agentgateway.errors import InternalError
from agentgateway.exchange import Exchange
from agentgateway.interfaces import Credential, Host
from agentgateway.settings import Secret
from agentgateway_copilot.config import CopilotAuthConfig

VARIABLES = ("GH_COPILOT_TOKEN", "COPILOT_GITHUB_TOKEN")
EDITORS = ("github-copilot/apps.json", "github-copilot/hosts.json")
COMMAND_LINE = "gh/hosts.yml"
SERVER = "github.com"
OTHERS = ("x-api-key", "x-goog-api-key", "api-key")
_TOKEN = re.compile(r"^[ \t]+oauth_token:[ \t]*[\"']?([\w-]+)", re.MULTILINE)


class CopilotCredential(Credential):
    """Shows Copilot the token that was found on this machine."""

    Config = CopilotAuthConfig
    signs = True

    def __init__(self, config: CopilotAuthConfig, host: Host) -> None:
        super().__init__(config, host)
        named = next(filter(None, map(host.environment, VARIABLES)), None)
        self._folder = configurations(host)
        self._token = Secret(named) if named else None

    async def apply(self, exchange: Exchange) -> None:
        """Raises `InternalError` when nobody is logged in."""
        outgoing = exchange.outgoing
        if outgoing is None:
            raise InternalError(detail="there is no outgoing request")
        if self._token is None:
            found = await asyncio.to_thread(logged_in, self._folder) if self._folder is not None else None
            if found is None:
                raise InternalError(detail="no Copilot token in the environment or in this machine's files")
            self._token = Secret(found)
        for name in OTHERS:
            if name not in outgoing.pinned:
                outgoing.headers.remove(name)
        outgoing.headers.set("authorization", f"Bearer {self._token.reveal()}")


def configurations(host: Host) -> Path | None:
    """The folder where applications keep their configuration."""
    if named := host.environment("XDG_CONFIG_HOME"):
        return Path(named)
    home = host.environment("HOME") or host.environment("USERPROFILE")
    return Path(home, ".config") if home else None


def logged_in(folder: Path) -> str | None:
    """The first token in the files there. Waits on files, so this is for threads."""
    return next(tokens(folder), None)


def tokens(folder: Path) -> Iterator[str]:
    for name in EDITORS:
        yield from of_editor(text_of(folder / name))
    _, found, rest = text_of(folder / COMMAND_LINE).partition(f"{SERVER}:\n")
    own = re.split(r"^\S", rest, maxsplit=1, flags=re.MULTILINE)[0] if found else ""
    if token := _TOKEN.search(own):
        yield token[1]


def of_editor(text: str) -> Iterator[str]:
    """Servers by name, in later versions with the application's id behind it."""
    try:
        document = from_json(text)
    except ValueError:
        return
    for server, entry in document.items() if isinstance(document, dict) else ():
        if server.partition(":")[0] == SERVER and isinstance(entry, dict):
            token = entry.get("oauth_token")
            if isinstance(token, str) and token:
                yield token


def text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
