"""Both policies. Where several places of the file modify headers, all of them do: gateway, route, backend."""

from collections.abc import Iterable
from typing import ClassVar

from agentgateway.exchange import Exchange, Headers
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Level, Participant, Policy
from agentgateway_traffic_headers.config import HeaderModifierConfig


class RequestHeaderModifier(Policy):
    """Edits header fields of requests; on a backend, those of what is sent to that backend."""

    Config = HeaderModifierConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route", "backend"})
    composes: ClassVar[bool] = True

    def __init__(self, config: HeaderModifierConfig, host: Host) -> None:
        super().__init__(config, host)
        self._edit: object = OutgoingEdit(config) if host.level == "backend" else RequestEdit(config)

    def participants(self) -> Iterable[Participant]:
        return (Participant(self._edit),)


class ResponseHeaderModifier(Policy):
    """Edits header fields of replies, the gateway's own among them."""

    Config = HeaderModifierConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route", "backend"})
    composes: ClassVar[bool] = True

    @hookimpl
    def post_response(self, exchange: Exchange) -> None:
        if exchange.reply is not None:
            edit(exchange.reply.headers, self.config)


class RequestEdit:
    def __init__(self, config: HeaderModifierConfig) -> None:
        self._config = config

    @hookimpl
    def pre_request(self, exchange: Exchange) -> None:
        edit(exchange.request.headers, self._config)


class OutgoingEdit:
    def __init__(self, config: HeaderModifierConfig) -> None:
        self._config = config

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        if exchange.outgoing is not None:
            edit(exchange.outgoing.headers, self._config)


def edit(headers: Headers, config: HeaderModifierConfig) -> None:
    for name in config.remove:
        headers.remove(name)
    for name, value in config.set:
        headers.set(name, value)
    for name, value in config.add:
        headers.add(name, value)
