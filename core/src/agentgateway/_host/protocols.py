"""Hypercorn's protocols where a gateway needs them otherwise: sizes are bounded however they come, and what one request
does wrong is between it and us.
"""

from __future__ import annotations

from typing import Any

from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

from agentgateway._host.h11_protocol import H11
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
