"""Headers on their way to a processor, and what it makes of those that go to servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agentgateway.exchange import HOP_BY_HOP, Headers, Request
from agentgateway_guardrail_ext_mcp.config import HeaderFilter

UNASKED = frozenset(("authorization", "cookie", "proxy-authorization"))
"""Credentials of the client's, shown where `allowed` names them."""
OURS = frozenset(
    (
        *(name.decode() for name in HOP_BY_HOP),
        *("host", "content-length", "content-type", "content-encoding", "accept", "accept-encoding", "expect"),
        *("mcp-session-id", "mcp-protocol-version", "mcp-method", "last-event-id"),
    )
)
"""Headers of the message's framing, and of the protocol's: no processor sets them."""
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
VALUE = re.compile(rb"[\t -~\x80-\xff]*")


class Shown:
    """The headers of a request that pass a filter, with those that HTTP/2 would have."""

    def __init__(self, config: HeaderFilter) -> None:
        self._allowed = frozenset(config.allowed)
        self._disallowed = frozenset(config.disallowed)

    def of(self, request: Request) -> Iterator[tuple[str, bytes]]:
        pseudo = {
            ":method": request.method,
            ":scheme": request.scheme,
            ":authority": request.authority,
            ":path": request.target,
        }
        for name, value in pseudo.items():
            if self._passes(name):
                yield name, value.encode("latin-1", "replace")
        for raw, text in request.headers.raw:
            if self._passes(name := raw.decode("latin-1")):
                yield name, text

    def _passes(self, name: str) -> bool:
        if name in self._disallowed:
            return False
        return name in self._allowed if self._allowed else name not in UNASKED


def edits(mutation: Any) -> dict[str, list[bytes]]:
    """What a `HeaderMutation` does, by name: the values that stand for those of the client's request, none where it is
    taken out. What nobody may set, and what is no header, is left alone."""
    found: dict[str, list[bytes]] = {}
    for one in mutation.set:
        name = one.key.lower()
        if NAME.fullmatch(name) and name not in OURS and VALUE.fullmatch(one.value):
            found.setdefault(name, []).append(one.value.strip(b" \t"))
    for name in map(str.lower, mutation.remove):
        if NAME.fullmatch(name) and name not in OURS:
            found[name] = []
    return found


def apply(edited: dict[str, list[bytes]], headers: Headers) -> None:
    for name, values in edited.items():
        headers.remove(name)
        headers.raw.extend((name.encode(), value) for value in values)
