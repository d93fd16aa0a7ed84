"""The policy `timeout`: how long a request may take, and how long an upstream may think."""

from __future__ import annotations

from collections.abc import Iterable

from agentgateway.exchange import Exchange
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Participant, Policy
from agentgateway.settings import Duration, PluginConfig


class TimeoutConfig(PluginConfig):
    """How long things may take; `0s` and what is left out is no limit."""

    request_timeout: Duration = 0.0
    """From the request's arrival to the end of its reply, all attempts together. After it: 504, or a cut stream."""
    backend_request_timeout: Duration = 0.0
    """From sending an attempt to the head of its reply. After it: 504, or the next attempt."""


class Timeout(Policy):
    """Ends requests and attempts that take too long."""

    Config = TimeoutConfig
    phases = ("accept", "upstream")

    def participants(self) -> Iterable[Participant]:
        if self.config.request_timeout:
            yield Participant(RequestDeadline(self.config.request_timeout))
        if self.config.backend_request_timeout:
            yield Participant(HeadTimeout(self.config.backend_request_timeout))


class RequestDeadline:
    """Sets the deadline of the whole request; an earlier one stays."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @hookimpl
    def accept(self, exchange: Exchange) -> None:
        deadline = exchange.started + self._seconds
        if exchange.deadline is None or exchange.deadline > deadline:
            exchange.deadline = deadline


class HeadTimeout:
    """Limits the wait for the head of a reply; a shorter limit stays."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        outgoing = exchange.outgoing
        if outgoing is not None and (outgoing.head_timeout is None or outgoing.head_timeout > self._seconds):
            outgoing.head_timeout = self._seconds
