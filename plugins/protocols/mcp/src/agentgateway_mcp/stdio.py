"""The target kind `stdio`: a server that is a program on this machine, spoken to by its standard input and output
(https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio).

One child process a session; and one for all clients of the versions that have no sessions.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from agentgateway.errors import ConfigError, ConnectFailed, NoEndpoint
from agentgateway.exchange import Exchange
from agentgateway.interfaces import Host
from agentgateway.settings import PluginConfig, Secret, problem
from agentgateway_mcp.child import Launch
from agentgateway_mcp.child_sessions import ChildSession, SharedChild
from agentgateway_mcp.conversations import Conversation, LiveServer
from agentgateway_mcp.environment import child_environment, revealed
from agentgateway_mcp.messages import MODERN
from agentgateway_mcp.restarts import Restarts
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.warden import WARDEN

logger = logging.getLogger("agentgateway.mcp.stdio")


def _a_folder(name: str, info: ValidationInfo) -> str:
    folder = Path((info.context or {}).get("folder", "."), name).absolute()
    if not folder.is_dir():
        raise problem("no such folder", "paths are relative to the configuration's folder", "file")
    return str(folder)


class StdioConfig(PluginConfig):
    """A program that speaks MCP on its standard input and output."""

    cmd: Annotated[str, Field(min_length=1)]
    """The program: a name that is looked for in `PATH`, or a path."""
    args: list[str] = Field(default=[])
    """Its arguments. They can be seen by everybody on the machine: credentials go into `env`."""
    env: dict[str, Secret | Literal[""]] = Field(default={})
    """Variables of its environment, besides those that every program needs."""
    clear_env: bool = False
    """It gets `env` alone."""
    cwd: Annotated[str, AfterValidator(_a_folder)] | None = None
    """The folder it runs in; the gateway's own otherwise."""
    max_sessions: int = Field(256, ge=1, le=65536)
    """How many clients may have a child of their own at the same time."""

    @field_validator("env")
    @classmethod
    def _names(cls, env: dict[str, Secret | Literal[""]]) -> dict[str, Secret | Literal[""]]:
        if any(not name or "=" in name or "\0" in name for name in env):  # which may hold the value: it is not quoted
            raise problem("a name of a variable is empty or has a `=` in it", "write `NAME: value`")
        return env

    @model_validator(mode="before")
    @classmethod
    def _as_the_reference_has_it(cls, given: Any) -> Any:
        if isinstance(given, dict) and "clear_env" in given and "clearEnv" not in given:
            given = {("clearEnv" if key == "clear_env" else key): value for key, value in given.items()}
        return given


class Stdio(LiveServer):
    """Children of this gateway."""

    Config = StdioConfig
    pipes: ClassVar[bool] = True

    def __init__(self, config: Any, host: Host) -> None:
        super().__init__(config, host, config.max_sessions)
        environment = child_environment(host, config.env, clear=config.clear_env)
        path = environment.get("PATH") or host.environment("PATH") or os.defpath
        command = (program(config.cmd, config.cwd, path, f"{host.at}.cmd"), *config.args)
        secrets = tuple(revealed(value) for value in config.env.values())
        self._launch = Launch(command, environment, config.cwd, self.label, secrets, host.body_limit)
        self._restarts = Restarts()
        self._shared: SharedChild | None = None
        self._ends = host.counter("mcp_stdio_ends", "Child processes of stdio targets that ended", ("target", "how"))

    @property
    def endpoint(self) -> str:
        return str(self.config.cmd)

    @property
    def identity(self) -> str:
        return json.dumps([*self._launch.command, self.config.cwd])

    @property
    def _tagged(self) -> Launch:
        return replace(self._launch, tag=self.label)

    async def prepare(self, exchange: Exchange) -> None:
        exchange.outgoing = None

    async def begin(self, exchange: Exchange) -> Conversation:
        session = ChildSession(self._tagged, self._ended)
        self._start(session)
        return session

    async def unbound(self, ask: Ask, exchange: Exchange) -> Answer:
        if ask.version < MODERN or ask.method == "initialize":
            return await super().unbound(ask, exchange)
        if ask.purpose == "end":
            return self._end_shared()
        if ask.purpose != "send":
            return Answer(405)
        if not ask.wants_answer:
            return Answer(202)  # it cannot be meant for a process that others use, too
        return await self._common().take(ask, exchange)

    def _common(self) -> SharedChild:
        """The child of all, started when there is none."""
        shared = self._shared
        if shared is None or shared.ended:
            shared = SharedChild(self._tagged, self._ended)
            self._start(shared)
            self._shared = shared
        return shared

    def _end_shared(self) -> Answer:
        """The child of all is of no use: it does not know this version. That it may have ended over it says nothing of
        how it does in a session."""
        shared, self._shared, self._restarts = self._shared, None, Restarts()
        if shared is not None and not shared.ended:
            self.retire(shared)
        return Answer(200)

    def _start(self, session: ChildSession) -> None:
        if (wait := self._restarts.wait) > 0:
            again = [("retry-after", str(int(wait) + 1))]
            raise NoEndpoint("the server keeps failing", detail=f"{self.label}: again in {wait:.1f} s", headers=again)
        try:
            session.child.start()
        except ConnectFailed:
            self._restarts.failed()
            raise

    def _ended(self, session: ChildSession, how: str) -> None:
        """A child is of no use any more."""
        child = session.child
        self._ends.add((self.label, "stopped" if child.stopping else "failed"))
        self.lost(session)
        if child.stopping:
            logger.debug("%s: %s", self.label, how)
            return
        logger.warning("%s: %s, %.1f s after its start", self.label, how, child.age)
        if session is self._shared or not session.served:
            wait = self._restarts.failed()
            logger.warning("%s: not started again for %.1f s", self.label, wait)
        self.run(session.close())

    async def start(self) -> None:
        WARDEN.enlist()
        await super().start()

    async def stop(self) -> None:
        if self._shared is not None:
            self.retire(self._shared)
        await super().stop()
        if self._reaper is not None:
            self._reaper = None
            await WARDEN.dismiss()


def program(name: str, folder: str | None, path: str, at: str) -> str:
    """Where the program is. Raises `ConfigError` when it is nowhere, or is no program."""
    wanted = os.path.join(folder or os.getcwd(), name) if os.sep in name else name
    found = shutil.which(wanted, path=path)
    if found is None:
        there = os.sep in name and os.path.exists(wanted)
        problem = "is not executable" if there else "is not found" + ("" if os.sep in name else " in PATH")
        raise ConfigError(f"the program {name} {problem}", path=at)
    return os.path.abspath(found)
