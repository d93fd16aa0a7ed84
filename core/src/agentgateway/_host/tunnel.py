"""The way through an HTTP proxy: CONNECT, and from then on a connection to the origin (RFC 9110 section 9.3.6)."""

from __future__ import annotations

import asyncio
import re
from typing import cast

from agentgateway._host.request_head import encode_head
from agentgateway.endpoints import Origin, Proxy, bracketed
from agentgateway.errors import ConnectFailed

_LONGEST_HEAD = 16384
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r\n|$)")


async def open_tunnel(transport: asyncio.Transport, answer: ProxyAnswer, proxy: Proxy, origin: Origin) -> None:
    """Ask the proxy at the other end of `transport` for a tunnel. Raises `ConnectFailed` if it opens none."""
    target = f"{bracketed(origin.host)}:{origin.port}"
    head = encode_head("CONNECT", target, target, (), content_length=None, chunked=False)
    if proxy.authorization is not None:
        credential = proxy.authorization.reveal().encode("ascii")
        head = b"%b\r\nproxy-authorization: %b\r\n\r\n" % (head[:-4], credential)
    transport.write(head)
    status = await answer.status
    if not 200 <= status < 300:
        raise ConnectFailed(detail=f"proxy {proxy.authority}: CONNECT was answered {status}")


class ProxyAnswer(asyncio.Protocol):
    """Reads the head of the proxy's answer, and not a byte beyond it: what follows belongs to somebody else."""

    def __init__(self, proxy: Proxy) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._proxy = proxy
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, excess = self._received.partition(b"\r\n\r\n")
        if len(head) > _LONGEST_HEAD:
            self._fail("the head of its answer is too large")
        elif end and excess:
            self._fail("it sent more than its answer")
        elif end:
            self._transport.pause_reading()
            self._read_status(head)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(str(error or "connection closed"))

    def _read_status(self, head: bytes) -> None:
        line = _STATUS_LINE.match(head)
        if line is None:
            self._fail("it does not speak HTTP/1")
        elif not self.status.done():
            self.status.set_result(int(line[1]))

    def _fail(self, reason: str) -> None:
        if not self.status.done():
            self.status.set_exception(ConnectFailed(detail=f"proxy {self._proxy.authority}: {reason}"))
