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
    phases: ClassVar[tuple[str, ...]] = ("pre_request", "upstream")
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route", "backend"})
    composes: ClassVar[bool] = True

    def __init__(self, config: HeaderModifierConfig, host: Host) -> None:
        super().__init__(config, host)
        edit = Edit(config)
        self._edit: object = OutgoingEdit(edit) if host.level == "backend" else RequestEdit(edit)

    def participants(self) -> Iterable[Participant]:
        return (Participant(self._edit),)


class ResponseHeaderModifier(Policy):
    """Edits header fields of replies, the gateway's own among them."""

    Config = HeaderModifierConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route", "backend"})
    composes: ClassVar[bool] = True

    def __init__(self, config: HeaderModifierConfig, host: Host) -> None:
        super().__init__(config, host)
        self._edit = Edit(config)

    @hookimpl
    def post_response(self, exchange: Exchange) -> None:
        if exchange.reply is not None:
            self._edit.apply(exchange.reply.headers)


class RequestEdit:
    def __init__(self, edit: "Edit") -> None:
        self._edit = edit

    @hookimpl
    def pre_request(self, exchange: Exchange) -> None:
        self._edit.apply(exchange.request.headers)


class OutgoingEdit:
    def __init__(self, edit: "Edit") -> None:
        self._edit = edit

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        if exchange.outgoing is not None:
            self._edit.apply(exchange.outgoing.headers)


class Edit:
    """A modifier's work as one pass: the fields that leave, and those that come after the rest."""

    def __init__(self, config: HeaderModifierConfig) -> None:
        new = Headers()
        for name, value in config.set:
            new.set(name, value)
        for name, value in config.add:
            new.add(name, value)
        self._new = new.raw
        self._gone = frozenset(name.encode("latin-1") for name in (*config.remove, *dict(config.set)))

    def apply(self, headers: Headers) -> None:
        gone = self._gone
        headers.raw = [field for field in headers.raw if field[0] not in gone]
        headers.raw += self._new
