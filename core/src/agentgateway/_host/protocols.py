"""Hypercorn's protocols where a gateway needs them otherwise: sizes are bounded however they come, and what one request
does wrong is between it and us.
"""

from __future__ import annotations

from typing import Any

import h11
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

from agentgateway._host.inbound_head import Limits

DECODED = 4
"""Times the size of a head that HPACK may make of one: so far it is read, and answered 431 like any other. Above it the
connection ends, since what is not read leaves the two sides with unlike tables (RFC 9113 section 10.5.1)."""


class Protocols(ProtocolWrapper):
    """What a connection speaks at present; it may begin with HTTP/1.1 and go on with HTTP/2."""

    def __init__(self, most: Limits, *known: Any) -> None:
        """`most` bounds heads and trailers; `known` is what Hypercorn's takes, to the protocol of ALPN."""
        self._most = most
        super().__init__(*known)
        if isinstance(self.protocol, H11Protocol):
            self.protocol = H11(most, *known[:-1])

    @property
    def protocol(self) -> H11Protocol | H2Protocol:
        return self._spoken

    @protocol.setter
    def protocol(self, spoken: H11Protocol | H2Protocol) -> None:
        if isinstance(spoken, H2Protocol):
            spoken.connection.decoder.max_header_list_size = DECODED * self._most.size
        self._spoken = spoken


class Streams(dict[int, Any]):
    """The streams of an HTTP/2 connection. What still comes for one that has ended is let go, where Hypercorn would
    end the connection, and with it every other stream."""

    def __missing__(self, stream_id: int) -> Streams:
        return self

    async def handle(self, event: object) -> None:
        """Stand in for a stream that has ended."""


class BoundedTrailers(h11.Connection):
    """h11 measures what is incomplete: trailers that come at once would be as many and as long as they like."""

    def __init__(self, most: Limits) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=most.size + len(b"\r\n"))  # of the empty line
        self._most = most

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.EndOfMessage) and event.headers:
            size = sum([len(name) + len(value) + 4 for name, value in event.headers])
            if len(event.headers) > self._most.fields or size > self._most.size:
                raise h11.RemoteProtocolError("too many trailer fields, or too large", error_status_hint=431)
        return event


class H11(H11Protocol):
    """HTTP/1.1 as Hypercorn has it, but for an upgrade that comes with a CONNECT: it is ignored (RFC 9110 section 7.8).
    Hypercorn would refuse it in HTTP/2, and wait for ever for a refusal that nobody has begun to send."""

    target = b""
    """The present request's, as it came."""

    def __init__(self, most: Limits, *known: Any) -> None:
        super().__init__(*known)
        self.connection = BoundedTrailers(most)

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.method != b"CONNECT":
            await super()._check_protocol(event)

    async def _create_stream(self, request: h11.Request) -> None:
        self.target = request.target
        await super()._create_stream(request)
