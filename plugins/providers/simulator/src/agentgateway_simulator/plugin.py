"""The provider `simulator`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentgateway.errors import UpstreamError, UpstreamTimeout
from agentgateway.exchange import Outgoing, Reply
from agentgateway.interfaces import Host, Provider
from agentgateway.llm.calls import LlmCall
from agentgateway_simulator import playback
from agentgateway_simulator.config import SimulatorConfig
from agentgateway_simulator.reading import lenient
from agentgateway_simulator.script import script

PATHS = {"completions": "/v1/chat/completions", "messages": "/v1/messages"}


class Simulator(Provider):
    """A model in the gateway's own process: deterministic answers, no key, no network, failures on request."""

    Config = SimulatorConfig
    system = "simulator"
    url = "simulator:"
    answers = True

    def __init__(self, config: SimulatorConfig, host: Host) -> None:
        super().__init__(config, host)
        self._calls = 0

    def dialects(self, operation: str) -> Sequence[str]:
        return tuple(dict.fromkeys(self.config.dialects)) if operation == "chat" else ()

    def path(self, call: LlmCall) -> str:
        return PATHS[call.dialect.name]

    async def answer(self, call: LlmCall, outgoing: Outgoing) -> Reply:
        """The reply, in the call's dialect. Raises `UpstreamTimeout` and `UpstreamError` as the network would."""
        self._calls += 1
        asked = lenient(call)
        turn = self.config.fail is not None and self._calls % self.config.fail.every == 0
        seed = outgoing.body if isinstance(outgoing.body, bytes) and outgoing.body else call.body()
        plan = script(asked, self.config, dialect=call.dialect.name, seed=seed, failing=turn)
        await _wait(plan.latency, outgoing.head_timeout)
        if plan.reply is None or (plan.failure is not None and not call.stream):
            assert plan.failure is not None
            head = playback.headers(plan, call.dialect, streaming=False)
            return Reply(plan.failure.status, head, playback.error(plan.failure, call.dialect), upstream=True)
        head = playback.headers(plan, call.dialect, streaming=call.stream)
        if call.stream:
            return Reply(200, head, playback.stream(plan, call.dialect, asked), upstream=True)
        if plan.breaks_after is not None:
            raise UpstreamError(playback.CUT, detail=playback.BROKEN)
        return Reply(200, head, playback.whole(plan, call.dialect, asked), upstream=True)


async def _wait(latency: float, limit: float | None) -> None:
    """Let the first byte wait, no longer than the request has left."""
    if limit is not None and latency > limit:
        await asyncio.sleep(limit)
        raise UpstreamTimeout
    if latency:
        await asyncio.sleep(latency)
