"""A place in a request where a credential may stand: taking it out there, and putting one in.

An authenticator takes what it recognises at a `Spot` out of the request before that goes on; a credential of the
gateway's own is attached at one, in place of whatever stands there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias, TypeVar
from urllib.parse import quote, unquote_plus

from agentgateway.errors import InternalError
from agentgateway.exchange import NAME, Exchange, Headers, Outgoing
from agentgateway.expressions import Expression, ExpressionError
from agentgateway.settings import Secret

T = TypeVar("T")
Attach: TypeAlias = Callable[[Outgoing], None]
"""Puts a credential where it belongs."""

_HEADER_VALUE = re.compile(r"[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?")  # RFC 9110 section 5.5
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]+")  # RFC 6265 section 4.1.1


class Spot:
    """A place in a request where a credential may stand."""

    __slots__ = ()

    def extract(self, exchange: Exchange) -> str | None:
        """The credential that the client presents here, or None."""
        raise NotImplementedError

    def remove(self, exchange: Exchange) -> None:
        """Take out everything that stands here, so that it is neither forwarded nor logged."""
        raise NotImplementedError

    def take(self, exchange: Exchange, recognise: Callable[[str], T | None]) -> tuple[T | None, list[Spot]]:
        """Extract the credential, and remove it if it is recognised. Gives what it was recognised as, and the spots
        of those that were not, which still stand there."""
        credential = self.extract(exchange)
        if credential is None:
            return None, []
        found = recognise(credential)
        if found is None:
            return None, [self]
        self.remove(exchange)
        return found, []


class WritableSpot(Spot):
    """A spot that a credential can also be put at."""

    __slots__ = ()

    def attach(self, outgoing: Outgoing, credential: Secret, *, pinned: bool = False) -> None:
        """Put the credential here, in place of whatever stands here; `pinned` asks providers to leave it here.

        Raises `InternalError` for one that has characters this place cannot carry.
        """
        raise NotImplementedError

    def attaching(self, credential: Secret, *, pinned: bool = False) -> Attach:
        """`attach` for a credential that stays the same: what can be done once is done now, and `repr` of what it gives
        shows nothing of it.

        Raises `InternalError` as `attach` does; if not here, then when it is called.
        """
        return partial(self.attach, credential=credential, pinned=pinned)


class HeaderSpot(WritableSpot):
    """A header; `prefix` stands before the credential, in any case of letters (RFC 9110 section 11.1)."""

    __slots__ = ("_length", "_name", "_prefix", "name", "prefix")

    def __init__(self, name: str, prefix: str = "") -> None:
        self.name = name
        self.prefix = prefix
        self._name = name.encode("latin-1")
        self._prefix = prefix.lower().encode("latin-1")
        self._length = len(self._prefix)

    def extract(self, exchange: Exchange) -> str | None:
        wanted = self._name
        for name, value in exchange.request.headers.raw:
            if name == wanted and (credential := self.credential(value)):
                return credential
        return None

    def credential(self, value: bytes) -> str:
        """The credential in a field's value; empty if there is none."""
        if value[: self._length].lower() != self._prefix:
            return ""
        return value[self._length :].strip().decode("latin-1")

    def remove(self, exchange: Exchange) -> None:
        headers = exchange.request.headers
        headers.raw = _others(headers.raw, self._name)

    def attach(self, outgoing: Outgoing, credential: Secret, *, pinned: bool = False) -> None:
        self._put(outgoing, self._field(credential), pinned)

    def attaching(self, credential: Secret, *, pinned: bool = False) -> Attach:
        field = self._field(credential)
        return lambda outgoing: self._put(outgoing, field, pinned)

    def _field(self, credential: Secret) -> tuple[bytes, bytes]:
        return self._name, (self.prefix + _fitting(credential, _HEADER_VALUE, "a header")).encode("latin-1")

    def _put(self, outgoing: Outgoing, field: tuple[bytes, bytes], pinned: bool) -> None:
        headers = outgoing.headers
        headers.raw = _others(headers.raw, self._name)
        headers.raw.append(field)
        if pinned:
            outgoing.pinned.add(self.name)


class HeaderSpots:
    """Several headers, of different names, any of which may hold a credential."""

    __slots__ = ("_spots",)

    def __init__(self, *spots: HeaderSpot) -> None:
        self._spots = {spot.name.encode("latin-1"): spot for spot in spots}

    def take(self, exchange: Exchange, recognise: Callable[[str], T | None]) -> tuple[T | None, list[Spot]]:
        """`Spot.take` of each, giving what the first of them was recognised as. One pass, unless several are there."""
        fields = exchange.request.headers.raw
        names = [*map(NAME, fields)]
        here = self._spots.keys() & names
        if not here:
            return None, []
        name = here.pop()
        if here or names.count(name) > 1:
            return self._take_each(exchange, recognise)
        at, spot = names.index(name), self._spots[name]
        credential = spot.credential(fields[at][1])
        if not credential:
            return None, []
        found = recognise(credential)
        if found is None:
            return None, [spot]
        del fields[at]
        return found, []

    def _take_each(self, exchange: Exchange, recognise: Callable[[str], T | None]) -> tuple[T | None, list[Spot]]:
        first: T | None = None
        unknown: list[Spot] = []
        for spot in self._spots.values():
            found, wrong = spot.take(exchange, recognise)
            first = found if first is None else first
            unknown += wrong
        return first, unknown


class QuerySpot(WritableSpot):
    """A parameter of the query, as HTML forms encode it. The other parameters keep their spelling."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def extract(self, exchange: Exchange) -> str | None:
        for parameter in exchange.request.query.split("&"):
            name, _, value = parameter.partition("=")
            if value and unquote_plus(name) == self.name:
                return unquote_plus(value)
        return None

    def remove(self, exchange: Exchange) -> None:
        request = exchange.request
        request.query = "&".join(self._others(request.query))
        request.target = _target(request.path, request.query)

    def attach(self, outgoing: Outgoing, credential: Secret, *, pinned: bool = False) -> None:
        path, _, query = outgoing.target.partition("?")
        own = f"{quote(self.name, safe='')}={quote(credential.reveal(), safe='')}"
        outgoing.target = _target(path, "&".join([*self._others(query), own]))

    def _others(self, query: str) -> list[str]:
        return [part for part in query.split("&") if part and unquote_plus(part.partition("=")[0]) != self.name]


class CookieSpot(WritableSpot):
    """A cookie (RFC 6265 section 4.2). The other cookies stay, in one header."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def extract(self, exchange: Exchange) -> str | None:
        for pair in _cookies(exchange.request.headers):
            name, _, value = pair.partition("=")
            if name.rstrip() == self.name and (credential := value.strip().strip('"')):
                return credential
        return None

    def remove(self, exchange: Exchange) -> None:
        headers = exchange.request.headers
        _write_cookies(headers, self._others(headers))

    def attach(self, outgoing: Outgoing, credential: Secret, *, pinned: bool = False) -> None:
        own = f"{self.name}={_fitting(credential, _COOKIE_VALUE, 'a cookie')}"
        _write_cookies(outgoing.headers, [*self._others(outgoing.headers), own])

    def _others(self, headers: Headers) -> list[str]:
        return [pair for pair in _cookies(headers) if pair.partition("=")[0].rstrip() != self.name]


class ExpressionSpot(Spot):
    """Whatever an expression finds: a string, or nothing. It is not removed, nobody knows where it stood."""

    __slots__ = ("_expression",)

    def __init__(self, expression: Expression) -> None:
        self._expression = expression

    def extract(self, exchange: Exchange) -> str | None:
        try:
            found = self._expression.value(exchange)
        except ExpressionError:
            return None
        return found if isinstance(found, str) and found else None

    def remove(self, exchange: Exchange) -> None:
        return None


BEARER = HeaderSpot("authorization", "Bearer ")
"""Where a credential stands when the configuration names no place (RFC 6750 section 2.1)."""


def _fitting(credential: Secret, allowed: re.Pattern[str], place: str) -> str:
    text = credential.reveal()
    if allowed.fullmatch(text) is None:
        raise InternalError(detail=f"the credential has characters that {place} cannot carry")
    return text


def _others(fields: list[tuple[bytes, bytes]], unwanted: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of other names: the list itself, when those are all."""
    return [field for field in fields if field[0] != unwanted] if unwanted in map(NAME, fields) else fields


def _target(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def _cookies(headers: Headers) -> list[str]:
    return [pair for line in headers.all("cookie") for part in line.split(";") if (pair := part.strip())]


def _write_cookies(headers: Headers, pairs: list[str]) -> None:
    headers.remove("cookie")
    if pairs:
        headers.add("cookie", "; ".join(pairs))
