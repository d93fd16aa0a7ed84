"""From a request to its route: hostname, path, method, headers, query, and the model a call names.

Precedence is the Gateway API's (HTTPRoute rules): the more exact hostname, then the more exact path, a method, more
headers, more query parameters, then the order of the file. Routes that match a model come by how much of the name
they spell out, then by the order of the file.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from agentgateway._host.chains import Chain
from agentgateway.errors import GatewayError, NotFound
from agentgateway.exchange import Exchange, Place, Request
from agentgateway.interfaces import Protocol
from agentgateway.settings import PathMatch, StringMatch


class FieldMatch(NamedTuple):
    name: str
    value: StringMatch


@dataclass(frozen=True, slots=True)
class Match:
    """One entry of `matches`: everything in it must hold. `target` looks at what is likely to come again, `fields` at
    the rest of the head; the model is asked for last, because the body has to be read for it."""

    path: PathMatch
    method: str | None = None
    headers: tuple[FieldMatch, ...] = ()
    query: tuple[FieldMatch, ...] = ()
    model: ModelPattern | None = None

    def target(self, method: str, path: str) -> bool:
        return (self.method is None or self.method == method) and self.path.matches(path)

    def fields(self, request: Request) -> bool:
        return all(_header(request, field) for field in self.headers) and (
            not self.query or _query(request, self.query)
        )


class ModelPattern(NamedTuple):
    """A model's name with at most one `*`, at its start or end (the reference's section 2.3)."""

    text: str

    def matches(self, model: str) -> bool:
        if self.text.endswith("*"):
            return model.startswith(self.text[:-1])
        if self.text.startswith("*"):
            return model.endswith(self.text[1:])
        return model == self.text

    @property
    def weight(self) -> int:
        return len(self.text) - self.text.count("*")


@dataclass(frozen=True, slots=True)
class Route:
    """A compiled route: its chain, and the protocol its backends speak."""

    name: str
    rule: str
    chain: Chain
    protocol: Protocol
    place: Place


class Entry(NamedTuple):
    match: Match
    route: Route


Rank = tuple[int, ...]


def path_rank(path: PathMatch) -> tuple[int, int]:
    """Exact paths, then expressions, then prefixes, longer ones first."""
    if path.exact is not None:
        return (0, 0)
    return (1, -len(path.regex)) if path.regex is not None else (2, -len(path.path_prefix or ""))


def rank(match: Match, position: int) -> Rank:
    """Smaller comes first."""
    if match.model is not None:
        return (*path_rank(match.path), 0, -match.model.weight, 0, 0, position)
    return (*path_rank(match.path), 1, 0 if match.method else 1, -len(match.headers), -len(match.query), position)


def hostname_rank(hostname: str) -> tuple[int, int]:
    """Exact names before wildcards, longer wildcards before shorter, no name last."""
    if not hostname or hostname == "*":
        return (2, 0)
    return (1, -len(hostname)) if hostname.startswith("*.") else (0, 0)


def hostname_matches(pattern: str, host: str) -> bool:
    """`*.example.com` stands for one or more labels in front of `.example.com` (Gateway API hostnames)."""
    if not pattern or pattern == "*":
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


REMEMBERED = 1024
"""Requests of one kind (authority, method, path), or models, whose candidates are kept."""
LONGEST_REMEMBERED = 512
"""Characters of a path, an authority or a model that are kept."""


class Candidates:
    """The entries that fit requests of one kind, in order. `protocol` is the one that reads the calls of such requests,
    when the first entry asks for a model and all that do are of that protocol."""

    __slots__ = ("_asked", "entries", "protocol")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        protocols = [route.protocol for match, route in entries if match.model is not None]
        of_one = entries and entries[0].match.model is not None and all(one is protocols[0] for one in protocols)
        self.protocol = protocols[0] if of_one else None
        self._asked: dict[str | None, tuple[Entry, ...]] = {}

    def asked(self, model: str | None) -> tuple[Entry, ...]:
        """Those that match calls for that model."""
        found = self._asked.get(model)
        if found is None:
            if len(self._asked) >= REMEMBERED:
                self._asked.clear()
            found = tuple([entry for entry in self.entries if _fits(entry.match.model, model)])
            if model is None or len(model) <= LONGEST_REMEMBERED:
                self._asked[model] = found
        return found


class RouteTable:
    """Entries by hostname, each list in order of precedence."""

    def __init__(self, entries: Sequence[tuple[str, Match, Route]]) -> None:
        by_host: dict[str, list[tuple[Rank, Entry]]] = {}
        for position, (hostname, match, route) in enumerate(entries):
            by_host.setdefault(hostname.lower(), []).append((rank(match, position), Entry(match, route)))
        ordered = sorted(by_host.items(), key=lambda item: hostname_rank(item[0]))
        self._hosts = tuple((host, tuple(e for _, e in sorted(found, key=_first))) for host, found in ordered)
        self._known: dict[tuple[str, str, str], Candidates] = {}
        self._candidates: dict[tuple[int, ...], Candidates] = {}

    def entries(self) -> Iterator[tuple[str, Match, Route]]:
        return ((host, entry.match, entry.route) for host, entries in self._hosts for entry in entries)

    async def find(self, exchange: Exchange) -> Route:
        """The first route that matches; sets the exchange's place, protocol and call, which is decoded on the way when
        an entry asks for its model.

        Raises `NotFound`. What is wrong with the body stays in `exchange.unread`, and such a request matches only
        entries that do not ask for a model.
        """
        request = exchange.request
        kind = (request.authority, request.method, request.path)
        candidates = self._known.get(kind) or self._remember(kind, request)
        entries = candidates.entries
        if candidates.protocol is not None:
            await decoded(exchange, candidates.protocol)
            entries = candidates.asked(model_of(exchange))
        for match, route in entries:
            if ((not match.headers and not match.query) or match.fields(request)) and (
                candidates.protocol is not None
                or match.model is None
                or await _names(exchange, match.model, route.protocol)
            ):
                if exchange.protocol is not route.protocol:
                    await decoded(exchange, route.protocol)
                exchange.place = route.place
                return route
        raise NotFound

    def _remember(self, kind: tuple[str, str, str], request: Request) -> Candidates:
        _, method, path = kind
        host = request.host
        found = [
            entry
            for pattern, entries in self._hosts
            if hostname_matches(pattern, host)
            for entry in entries
            if entry.match.target(method, path)
        ]
        if len(self._known) >= REMEMBERED:
            self._known.clear()
            self._candidates.clear()
        if len(path) + len(request.authority) > LONGEST_REMEMBERED:
            return Candidates(found)
        these = tuple(map(id, found))
        candidates = self._candidates.get(these) or self._candidates.setdefault(these, Candidates(found))
        self._known[kind] = candidates
        return candidates


def _first(item: tuple[Rank, Entry]) -> Rank:
    return item[0]


def model_of(exchange: Exchange) -> str | None:
    """The model that the call names, if it is a call and names one."""
    model = getattr(exchange.call, "model", None)
    return model if isinstance(model, str) and model else None


def _fits(pattern: ModelPattern | None, model: str | None) -> bool:
    return pattern is None or (model is not None and pattern.matches(model))


async def _names(exchange: Exchange, pattern: ModelPattern, protocol: Protocol) -> bool:
    await decoded(exchange, protocol)
    return _fits(pattern, model_of(exchange))


async def decoded(exchange: Exchange, protocol: Protocol) -> None:
    """Let the protocol read the request, once."""
    if exchange.protocol is protocol:
        return
    exchange.protocol = protocol
    try:
        await protocol.decode(exchange)
    except GatewayError as error:
        exchange.unread = error


def _header(request: Request, field: FieldMatch) -> bool:
    values = request.headers.all(field.name)
    return bool(values) and field.value.matches(",".join(values))


def _query(request: Request, fields: tuple[FieldMatch, ...]) -> bool:
    given: dict[str, str] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        given.setdefault(name, value)
    return all(field.name in given and field.value.matches(given[field.name]) for field in fields)


class Listener:
    """Where exchanges come in: its chain of phase `gateway`, and its routes. `inline` says that nothing before the
    choice of a route needs a task."""

    def __init__(self, name: str, hostname: str, place: Place, chain: Chain, routes: RouteTable) -> None:
        self.name = name
        self.hostname = hostname
        self.place = place
        self.chain = chain
        self.inline = chain.inline and all(route.protocol.inline for _, _, route in routes.entries())
        self._routes = routes

    def find(self, exchange: Exchange) -> Coroutine[Any, Any, Route]:
        """The route of an exchange, as `RouteTable.find`."""
        return self._routes.find(exchange)

    def entries(self) -> Iterator[tuple[str, Match, Route]]:
        """Every route by host name, in order of precedence; for people."""
        return self._routes.entries()
