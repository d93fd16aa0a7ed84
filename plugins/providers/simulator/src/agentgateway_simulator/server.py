"""The simulator as an HTTP server of its own: both vendors' APIs on one port, as strict as they are about headers."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any, cast

from agentgateway.errors import GatewayError, InvalidRequest, NotFound, Unauthenticated, UpstreamError
from agentgateway.exchange import Headers as Fields
from agentgateway.exchange import Outgoing, Reply
from agentgateway.interfaces import Host
from agentgateway.llm.calls import Dialect, LlmCall, ModelEntry
from agentgateway.llm.dialects import dialect
from agentgateway_simulator import playback, wire
from agentgateway_simulator.config import SimulatorConfig
from agentgateway_simulator.plugin import PATHS, Simulator
from agentgateway_simulator.script import CREATED, Failure, Script

_BY_PATH = {path: name for name, path in PATHS.items()}


class Server:
    """Serves on loopback from `async with` on; `url` is where. With a `key`, calls without it get a 401."""

    def __init__(
        self,
        config: SimulatorConfig | None = None,
        *,
        key: str | None = None,
        models: Sequence[str] = ("simulator",),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        settings = (config or SimulatorConfig()).model_copy(update={"dialects": list(PATHS)})
        self._model = Simulator(settings, Host())
        self._key = key
        self._models = [ModelEntry(name, CREATED, "simulator", name) for name in models]
        self._address = (host, port)
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}
        self.url = ""

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._converse, *self._address)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = [task for task in self._open.values() if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests and answers in turn, until either side ends it."""
        self._open[writer] = asyncio.current_task()
        try:
            while (request := await wire.read(reader, writer)) is not None:
                await _write(writer, await self._answered(request))
        except UpstreamError:
            writer.transport.abort()
        except wire.BadRequest as error:
            writer.write(wire.head(400, Fields.of({"connection": "close"}), len(str(error))) + str(error).encode())
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            del self._open[writer]
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answered(self, request: wire.Request) -> Reply:
        spoken = dialect(
            _BY_PATH.get(request.path) or ("messages" if "anthropic-version" in request.headers else "completions")
        )
        try:
            self._check(request, spoken)
            if (request.method, request.path) == ("GET", "/v1/models"):
                return Reply.json(200, spoken.models(self._models))
            if request.method != "POST" or request.path not in _BY_PATH:
                raise NotFound(f"{request.method} {request.path} is not simulated")
            call = LlmCall.read(spoken, request.body, request.path)
            outgoing = Outgoing("POST", self.url, request.path, Fields(), request.body)
            return await self._model.answer(call, outgoing)
        except UpstreamError:
            return truncated()
        except GatewayError as error:
            failure = Failure(error.status, error.message)
            head = playback.headers(Script(None, failure), spoken, streaming=False)
            return Reply(error.status, head, playback.error(failure, spoken))

    def _check(self, request: wire.Request, spoken: Dialect) -> None:
        """What the vendors check first. Raises `Unauthenticated`, `InvalidRequest`."""
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            shown = request.headers.get("x-api-key", "") if spoken.name == "messages" else ""
        if self._key is not None and not hmac.compare_digest(shown.encode(), self._key.encode()):
            raise Unauthenticated("the key is missing or wrong")
        if spoken.name == "messages" and "anthropic-version" not in request.headers:
            raise InvalidRequest("anthropic-version: header is required")


def truncated() -> Reply:
    """A reply that promises more than comes: the connection breaks in its middle."""

    async def part() -> AsyncIterator[bytes]:
        yield b'{"id": "'
        raise UpstreamError(playback.CUT, detail=playback.BROKEN)

    return Reply(200, Fields.of({"content-type": "application/json"}), part())


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> None:
    if isinstance(reply.body, bytes):
        writer.write(wire.head(reply.status, reply.headers, len(reply.body)) + reply.body)
        await writer.drain()
        return
    writer.write(wire.head(reply.status, reply.headers, None))
    async with aclosing(cast(Any, reply.body)) as chunks:
        async for data in chunks:
            writer.write(wire.chunk(data))
            await writer.drain()
    writer.write(wire.LAST)
    await writer.drain()
