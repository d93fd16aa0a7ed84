"""The backend `mcp`: one endpoint in front of servers. A message goes to the server it is about, or to all of them and
comes back as one answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from logging import ERROR, INFO
from typing import Any, ClassVar

from agentgateway.errors import ConfigError, GatewayError, NotFound
from agentgateway.exchange import Exchange, Reply, Target
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Backend, Host, Layer, Participant
from agentgateway.tasks import in_a_task
from agentgateway_mcp.bridging import Bridge
from agentgateway_mcp.config import McpConfig
from agentgateway_mcp.door import Door
from agentgateway_mcp.edits import Seen
from agentgateway_mcp.event_stream import opened_stream
from agentgateway_mcp.finding import NAMED
from agentgateway_mcp.grammar import METHODS
from agentgateway_mcp.leases import Leases
from agentgateway_mcp.listings import Listings
from agentgateway_mcp.logins import Login
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.naming import Names
from agentgateway_mcp.owners import Owners
from agentgateway_mcp.pinning import Pinning, place_of
from agentgateway_mcp.posts import accepted
from agentgateway_mcp.promises import Promises
from agentgateway_mcp.relay import Relay
from agentgateway_mcp.renewals import Renewals
from agentgateway_mcp.servers import Answer, Ask, Server
from agentgateway_mcp.sessions import Seal, identity_of
from agentgateway_mcp.shown import Shown
from agentgateway_mcp.wellness import Wellness

LONGEST = 128
"""Characters of a label."""
LAST_WORDS = 2.0
"""Seconds for the ends of sessions to be told to servers, when the gateway ends."""

logger = logging.getLogger("agentgateway.mcp")


class McpBackend(Backend):
    """Relays MCP messages."""

    Config = McpConfig
    protocol: ClassVar[str] = "mcp"
    gathers: ClassVar[bool] = True
    inline = True

    def __init__(self, config: McpConfig, host: Host) -> None:
        super().__init__(config, host)
        self._servers: dict[str, Server] = {}
        self.bridges: dict[str, Bridge] = {}
        self.logins: dict[str, Login] = {}
        for index, target in enumerate(config.targets):
            kind, settings = target.kind
            at = f"targets[{index}].{kind}"
            server = self._servers[target.name] = host.build("agentgateway.mcp_targets", kind, settings, at)
            server.label, server.session_ttl = target.name, config.session_idle
            self.bridges[target.name] = Bridge(server, target.name, target.era, config)
            if server.pipes and target.policies:
                message = f"a target of kind `{kind}` gets no HTTP request that policies could edit"
                raise ConfigError(message, path=f"{host.at}.targets[{index}].policies")
            if server.sessions_only and target.era == "stateless":
                message = f"servers of kind `{kind}` know versions with sessions only"
                hint = "leave `era` out, or write `mcp:` for a server that speaks Streamable HTTP"
                raise ConfigError(message, path=f"{host.at}.targets[{index}].era", hint=hint)
            if target.login is not None:
                self.logins[target.name] = self._login(index, target.name, target.login)
        seen = {target.name: Seen(target.tools, target.prompts, target.resources) for target in config.targets}
        self.names = Names(seen, prefixed=config.prefixed)
        rules = {target.name: target.tool_pinning or config.tool_pinning for target in config.targets}
        self.places = {
            target.name: place_of(target.kind[0], target.name, self._servers[target.name].endpoint)
            for target in config.targets
        }
        self.pinning = Pinning(host, rules, self.places, self.names)
        self.listings = Listings()
        self.shown = Shown()
        self.stateful = config.stateful_mode == "stateful"
        identity = identity_of(
            (target.name, target.kind[0], self._servers[target.name].identity) for target in config.targets
        )
        self.seal = Seal(host.key("mcp session"), identity)
        self._tasks: set[asyncio.Task[None]] = set()
        self.promises = Promises(host.peers, config.session_lifetime)
        self.owners = Owners()
        self.wellness = Wellness()
        self.leases = Leases(host, config.session_idle, config.session_lifetime, self.run)
        self.renewals = Renewals(host.peers, config.session_lifetime)
        labels = ("method", "resource_type", "server", "resource")
        self._count = host.counter("mcp_requests", "Messages of MCP clients.", labels)

    def _login(self, index: int, target: str, given: dict[str, Any]) -> Login:
        ((kind, settings),) = given.items()
        url = self._servers[target].url
        if url is None:
            message = "users can log in to targets of kind `mcp` only"
            raise ConfigError(message, path=f"{self.host.at}.targets[{index}].login")
        login: Login = self.host.build("agentgateway.mcp_logins", kind, settings, f"targets[{index}].login.{kind}")
        login.target, login.url = target, url
        return login

    # --- what the pipeline sees ---------------------------------------------------------------------------------------

    def targets(self) -> Sequence[Target]:
        return [Target(self, name, server.endpoint, facts=server) for name, server in self._servers.items()]

    def layers(self, target: Target) -> Sequence[Layer]:
        index = self.names.targets.index(target.name)
        policies = self.config.targets[index].policies
        return [Layer((*self.host.path, "targets", index, "policies"), policies, "backend")]

    def attends(self) -> Iterable[Participant]:
        return [Participant(hooks, "mcp") for hooks in (Door(self), Counted(self._count, self.knows))]

    async def start(self) -> None:
        parts: list[Server | Login] = [*self._servers.values(), *self.logins.values()]
        for part in parts:
            await part.start()

    async def stop(self) -> None:
        self.leases.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS)
        for task in self._tasks:
            task.cancel()
        failures = []
        parts: list[Bridge | Login | Server] = [*self.bridges.values(), *self.logins.values(), *self._servers.values()]
        for part in parts:
            try:
                await part.stop()
            except Exception as error:
                failures.append(error)
        if failures:
            raise ExceptionGroup("MCP targets failed to stop", failures)

    async def prepare(self, exchange: Exchange) -> Reply | None:
        if isinstance(exchange.call, Ask) and exchange.target is not None:
            await exchange.target.facts.prepare(exchange)
        return None

    async def send(self, exchange: Exchange) -> Reply:
        call = exchange.call
        if not isinstance(call, McpCall) or exchange.target is None:
            raise NotFound("nothing answers at this path")
        if call.ticket is not None:
            await in_a_task()
            streams = call.purpose == "listen"
            return opened_stream(self, exchange, call) if streams else await accepted(self, exchange, call)
        if call.session is not None:
            call.lease = await self.leases.enter(call.session)
        return await Relay(self, exchange, call).answer()

    async def screened(self, target: str, ask: Ask, answer: Answer) -> Answer:
        """What a server answers, without tools that are in quarantine. Which names it has is remembered. Raises
        `StoreFailed`, and `UpstreamError` for what is no message."""
        limit = self.host.body_limit
        answer = await self.pinning.screened(target, ask, answer, limit)
        pinned = ask.method == "tools/list" and self.pinning.rule(target).mode != "off"
        return answer if pinned else self.shown.watched(target, ask, answer, limit)

    def knows(self, target: str, kind: str, name: str) -> bool:
        """Whether a target is known to have a tool or prompt: from the file, its pins, or a list that it has shown."""
        seen = self.names.seen.get(target)
        if seen is None:
            return False
        edits = seen.tools.edit if kind == "tool" else seen.prompts.edit
        pinned = kind == "tool" and self.pinning.knows(target, name)
        return pinned or name in edits or self.shown.has(target, kind, name)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Something that no reply waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    @property
    def at_work(self) -> int:
        """How many of these are under way."""
        return len(self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            told = isinstance(error, GatewayError)
            logger.log(INFO if told else ERROR, "%s: %s", self.host.at, error, exc_info=None if told else error)


class Counted:
    """Log participant: the metric of messages. Its labels are words of the protocol, the file and the servers: clients
    could make up any number of methods and names, and servers need not call that an error."""

    def __init__(self, counter: Any, knows: Callable[[str, str, str], bool]) -> None:
        self._counter = counter
        self._knows = knows

    @hookimpl
    def log(self, exchange: Exchange) -> None:
        call = exchange.call
        if isinstance(call, McpCall) and call.method:
            method = call.method if call.method in METHODS else ""
            kind, target, name = call.kind or "", call.target or "", call.name or ""
            if kind not in NAMED or not self._knows(target, kind, name):
                name = ""
            self._counter.add((method, kind, target, name[:LONGEST]))
