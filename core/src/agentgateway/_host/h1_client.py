"""One upstream connection in HTTP/1.1: writes requests, parses answers with llhttp, knows when it can be reused."""

import asyncio
import math
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from agentgateway._host.suspension import Watchdog
from agentgateway._host.upstream_response import UpstreamResponse
from agentgateway.errors import ConnectFailed, UpstreamError, UpstreamTimeout

_COPY_LIMIT = 65536
"""Up to this size a body is copied behind its head, to go out in one system call."""


_VERSION = b"HTTP/1."


class Owner(Protocol):
    """The pool of a connection."""

    def opened(self, connection: "H1Connection") -> None: ...
    def proven(self, connection: "H1Connection") -> None:
        """The connection has brought its first whole answer."""

    def release(self, connection: "H1Connection") -> None:
        """The connection is fit for another request."""

    def lost(self, connection: "H1Connection") -> None: ...


class _Refused(Exception):
    """The answer parses and is still not acceptable. Raised in parser callbacks, which wrap it."""


class _Stale(ConnectFailed):
    """A connection used before was closed under the next request, without a byte of an answer."""

    sent = True
    default_message = "the upstream closed the connection"


def is_stale(error: Exception | None) -> bool:
    return isinstance(error, _Stale)


def check_coding(headers: list[tuple[bytes, bytes]], version: str) -> None:
    """Raise `_Refused` unless the one transfer coding of an answer is `chunked`."""
    if [value.strip().lower() for name, value in headers if name == b"transfer-encoding"] != [b"chunked"]:
        raise _Refused("a transfer coding other than chunked")
    if version != "1.1":
        raise _Refused("a transfer coding in HTTP/1.0")  # RFC 9112 section 6.1


class H1Connection(asyncio.Protocol):
    """At most one exchange at a time: `begin`, perhaps `write`, and then the response's own methods.

    llhttp refuses by itself: Content-Length with Transfer-Encoding, repeated or malformed lengths, malformed chunks,
    folded headers, bare CR or LF, NUL. Added here: transfer codings other than `chunked` or in HTTP/1.0, versions other
    than HTTP/1, 101, statuses above 599, a head over `max_head`.
    One parser serves all answers of a connection; it must never see a byte beyond an answer, so any such byte ends the
    connection.
    """

    __slots__ = (
        *("transport", "used", "idle_since", "retire_at", "uploading"),
        *("_owner", "_loop", "_max_head", "_label", "_parser", "_watchdog", "_parts", "on_body"),
        *("_response", "_headers", "_bodiless", "_until_close", "_interim", "_done", "_keep", "_received", "_silent"),
        *("_body_timeout", "_drained"),
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, *, max_head: int, label: str) -> None:
        self._owner = owner
        self._loop = loop
        self._max_head = max_head
        self._label = label  # for the details of errors
        self._watchdog = Watchdog(loop, self._expired)
        self._parts: list[bytes] = []
        self.on_body = self._parts.append  # a parser callback without a Python frame
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._response: UpstreamResponse | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._drained: asyncio.Future[None] | None = None
        self._done = self._bodiless = self._until_close = self._interim = False
        self._keep = self.uploading = False
        self._received = self._silent = 0
        self._body_timeout: float | None = None
        self.transport: asyncio.Transport  # from `connection_made` on; nobody knows a connection before
        self.used = False
        self.idle_since = 0.0
        self.retire_at = math.inf

    @property
    def usable(self) -> bool:
        return not self.transport.is_closing()

    # What the pool calls.

    def begin(
        self,
        response: UpstreamResponse,
        head: bytes,
        body: bytes | None,
        method: bytes,
        head_timeout: float | None,
        body_timeout: float | None,
        uploading: bool = False,
    ) -> None:
        """Write a request whose answer goes to `response`. With `uploading`, its body follows by `write`."""
        self._response = response
        self._done = self._until_close = False
        self._bodiless = method == b"HEAD"
        self.uploading = uploading
        self._received = self._silent = 0
        self._body_timeout = body_timeout
        transport = self.transport
        if not body:
            transport.write(head)
        elif len(body) <= _COPY_LIMIT:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        if head_timeout is not None:
            self._watchdog.start(head_timeout)

    def write(self, chunk: bytes) -> None:
        """More of a streamed body."""
        self.transport.write(chunk)

    async def drained(self, within: float | None) -> None:
        """Wait until the upstream has taken enough of what was written, or is gone."""
        while self._drained is not None:
            self.watch(within)
            await self._drained
            if self._response is not None and self._response.awaited:
                self._watchdog.stop()

    def watch(self, seconds: float | None) -> None:
        """The upstream has the next move, and that long to make it."""
        if seconds is not None and self._response is not None:
            self._watchdog.start(seconds)

    def fail(self, error: Exception) -> None:
        """Close at once; the running exchange, if any, ends with `error`."""
        response, self._response = self._response, None
        self._watchdog.stop()
        self.close()
        if response is not None:
            response.failed(error)

    def close(self) -> None:
        """Close at once. `Owner.lost` follows from the event loop."""
        self.transport.abort()

    def pause(self) -> None:
        self._watchdog.stop()  # the silence to come is ours
        if self.usable:  # uvloop refuses a closed one
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.usable:
            self.transport.resume_reading()
        if self._body_timeout is not None:
            self._watchdog.start(self._body_timeout)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        response, parser = self._response, self._parser
        if response is None or parser is None:  # nobody asked: RFC 9112 section 9.2 has us close
            self.close()
            return
        if not response.status:
            if not self._received and data[:7] != _VERSION and not _VERSION.startswith(data[:7]):
                self._refuse(_Refused("not HTTP/1"))
                return
            self._received += len(data)
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self._done:
                self._refuse(error)
                return
            self._keep = False  # the answer is whole, what follows it is not ours to understand
        parts = self._parts
        if len(parts) == 1:
            chunk = parts.pop()
        else:
            chunk = b"".join(parts)
            parts.clear()
        if self._done:
            if self._bodiless:
                self._end_bodiless(data, chunk)
                chunk = b""
            self._settle(response)
            response.finished(chunk)
        elif not response.status:
            if self._received > self._max_head:
                self._refuse(_Refused("the head is too large"))
        elif not chunk and self._silent + len(data) > self._max_head:
            self._refuse(_Refused("trailers or chunk extensions are too large"))
        else:
            # Bytes since the last of the body: llhttp collects a trailer whole, so it must not be endless.
            self._silent = 0 if chunk else self._silent + len(data)
            if self._body_timeout is not None:
                self._watchdog.start(self._body_timeout)
            response.arrived(chunk)

    def eof_received(self) -> None:
        self._closed(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._parser = None  # it holds our bound methods
        self._watchdog.close()
        self.resume_writing()
        self._owner.lost(self)
        self._closed(error)

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # What the parser calls; `on_body` is an attribute.

    def on_message_begin(self) -> None:
        if self._done:
            raise _Refused("bytes after the end of the answer")
        self._headers.clear()  # of the last answer's trailers, which are nobody's

    def on_status(self, reason: bytes) -> None:
        response = self._response
        if response is not None:
            response.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        response, parser = self._response, self._parser
        assert response is not None and parser is not None
        headers, self._headers = self._headers, []  # trailers, if any, go to the new list
        status: int = parser.get_status_code()
        if status < 200:
            if status == 101 or status < 100:
                raise _Refused(f"status {status} was not asked for")
            response.reason = b""
            self._interim = True
            return
        if status > 599:
            raise _Refused(f"status {status}")  # RFC 9110 section 15: invalid, to be treated as a 5xx
        if self._received > self._max_head and sum(len(n) + len(v) + 4 for n, v in headers) > self._max_head:
            raise _Refused("the head is too large")
        fields = dict(headers)
        if b"transfer-encoding" in fields:
            check_coding(headers, parser.get_http_version())
        elif b"content-length" in fields:
            response.content_length = int(fields[b"content-length"])
        else:
            self._until_close = True
        self._watchdog.stop()
        response.status = status
        response.headers = headers
        if self._bodiless:
            self._keep = parser.should_keep_alive()
            self._done = True

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        elif not self._bodiless:
            self._done = True
            # Only here: llhttp forgets it as soon as this callback returns.
            self._keep = self._parser.should_keep_alive() if self._parser is not None else False

    # Ends.

    def _end_bodiless(self, data: bytes, excess: bytes) -> None:
        """llhttp now waits for the body that HEAD has not: start afresh, and reuse only if the head ended the bytes."""
        if excess or data.find(b"\r\n\r\n") != len(data) - 4:
            self._keep = False
        self._parser = HttpResponseParser(self)

    def _settle(self, response: UpstreamResponse) -> None:
        """Part from a finished exchange: back to the pool, before anybody is told and may want a connection."""
        self._response = None
        if self._body_timeout is not None:
            self._watchdog.stop()
        transport = self.transport
        if self._keep and not self.uploading and not transport.get_write_buffer_size():
            if response.paused:
                transport.resume_reading()
            if not self.used:
                self.used = True
                self._owner.proven(self)
            self._owner.release(self)
        else:
            transport.abort()

    def _closed(self, error: Exception | None) -> None:
        """The other side will send no more."""
        response = self._response
        if response is None:
            return
        if response.status and self._until_close and error is None:
            self._keep = False
            self._settle(response)
            response.finished(b"")
            return
        self.fail(self._cut_error(response, error))

    def _cut_error(self, response: UpstreamResponse, error: Exception | None) -> UpstreamError:
        detail = f"{self._label}: {error or 'connection closed'}"
        if response.status:
            return UpstreamError("the upstream's answer was cut short", detail=detail)
        if self._received:
            return UpstreamError("the upstream closed the connection within its answer's head", detail=detail)
        if not self.used:
            return UpstreamError("the upstream closed the connection without an answer", detail=detail)
        return _Stale(detail=f"{detail} (it had been used before)")

    def _refuse(self, error: Exception) -> None:
        reason = error.__context__ if isinstance(error.__context__, _Refused) else error
        text = "status 101 was not asked for" if isinstance(reason, HttpParserUpgrade) else str(reason)
        self.fail(UpstreamError("the upstream sent an invalid answer", detail=f"{self._label}: {text}"))

    def _expired(self) -> None:
        response = self._response
        if response is None:
            return
        what = "stopped in the middle of its answer" if response.status else "did not answer in time"
        self.fail(UpstreamTimeout(f"the upstream {what}", detail=self._label))
