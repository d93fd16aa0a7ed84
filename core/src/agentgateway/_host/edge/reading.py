"""Bytes to turns: what llhttp finds in what a client sends, where it stops, and how long the rest may be.

A head that is complete is measured where its turn begins (`inbound_head`), trailers field by field as they come, both
by the same limits. What no callback tells of, chunks' extensions and the blanks around values, is measured read by
read: less than a head's size of it for each read is let pass, twice as much is not.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser

from agentgateway._host.edge.repeating import RepeatedHead, repeated_head
from agentgateway._host.edge.wire import request_head
from agentgateway.errors import GatewayError, InvalidRequest

if TYPE_CHECKING:
    from agentgateway._host.edge.turn import Turn
    from agentgateway._host.face import Runtime

CHANCES = 4
"""Heads in a row that are remembered in vain, before a connection is taken to be one on which none comes again."""
UNKNOWN = 2**62
"""In place of a head's size: measure it."""
_METHOD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]*)(?: ([!-~]*)|\Z)")


class Reading:
    """The requests of one connection. `feed` and `refuse` are its owner's, `on_...` the parser's."""

    __slots__ = (
        *("in_head", "incoming", "kept", "last", "open", "ready"),
        *("_begin", "_chances", "_full", "_parser", "_repeated", "_runtime", "_silent"),
    )

    def __init__(self, runtime: Runtime, begin: Callable[[], Turn], full: Callable[[], None]) -> None:
        """`begin` makes a turn; `full` is called when the body that is read has no room for more."""
        self.ready: deque[Turn] = deque()  # turns whose heads are complete, and that nobody has begun to answer
        self.incoming: Turn | None = None  # the request that is being read
        self.in_head = False
        self.open = True  # bytes that come are looked at
        self.last = False  # no request is wanted any more: what has begun is answered, then the connection ends
        self.kept = b""  # bytes that nobody has parsed yet
        self._runtime = runtime
        self._begin = begin
        self._full = full
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._silent = 0  # bytes of a head, or more of chunks' framing than their bodies and trailers account for
        self._repeated: RepeatedHead | None = None  # that of the request before, if it may come again
        self._chances = CHANCES

    # --- the parser --------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        turn = self.incoming = self._begin()
        self.in_head = True
        if not self._silent:
            turn.size = UNKNOWN  # it begins behind another one

    def on_url(self, url: bytes) -> None:
        if self.incoming is not None:
            self.incoming.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        turn = self.incoming
        if turn is not None:
            if self.in_head:
                turn.headers.append((name.lower(), value.rstrip()))
            else:
                self._pass_over(turn, len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        turn, parser = self.incoming, self._parser
        assert turn is not None and parser is not None
        turn.method = parser.get_method().decode("ascii")
        turn.version = parser.get_http_version()
        turn.keep = parser.should_keep_alive()
        turn.size += self._silent
        fields = dict(turn.headers)
        if b"content-length" in fields:
            turn.length = int(fields[b"content-length"])
        if b"transfer-encoding" in fields:
            turn.length = None
            if fields[b"transfer-encoding"].lower() != b"chunked":
                turn.error = InvalidRequest("unknown transfer coding", status=501, code="not_implemented")
        if b"expect" in fields:
            turn.expects = fields[b"expect"].lower() == b"100-continue" and turn.version == "1.1"
        if not turn.keep:
            self._repeated, self._chances = None, 0  # what follows is none of ours
        self.in_head = False
        self._silent = 0
        self.ready.append(turn)

    def on_body(self, chunk: bytes) -> None:
        framing = self._silent - 3 * len(chunk) - 16
        self._silent = framing if framing > 0 else 0
        turn = self.incoming
        if turn is not None and not turn.arrived(chunk):
            self._full()

    def on_message_complete(self) -> None:
        if self.incoming is not None:
            self.incoming.complete = True
            self.incoming = None
            self._silent = 0

    def _pass_over(self, turn: Turn, size: int) -> None:
        """A trailer field, of so many bytes. The error leaves the parser, which reads no further."""
        turn.trailers += 1
        turn.trailing += size
        self._silent = max(0, self._silent - size)
        most = self._runtime.gateway.http.of_heads
        if turn.trailers > most.fields:
            raise too_large("too many trailer fields")
        if turn.trailing > most.size:
            raise too_large("the trailer fields are too large")

    # --- bytes -------------------------------------------------------------------------------------------------------

    def feed(self, data: bytes, first: bool) -> bytes | None:
        """Parse. Returns what begins with an upgrade, if nothing is to be answered before that: `first` says whether
        that holds for what has begun; else it is `kept`."""
        begun, at_rest = self.incoming, not (self._silent or self.ready or self.incoming)
        if at_rest and self._repeated is not None:
            turn = self._begin()
            if self._repeated.begins(data, turn):
                turn.size = UNKNOWN
                self.ready.append(turn)
                self._chances = CHANCES
                return None
        self._silent += len(data)
        while self._parser is not None:
            try:
                self._parser.feed_data(data)
                break
            except HttpParserUpgrade as upgrade:
                turn, rest = self.ready.pop(), data[upgrade.args[0] :]
                if not turn.may_upgrade:
                    data = self._not_upgraded(turn, rest)
                elif first and not self.ready:
                    return request_head(turn) + rest
                else:  # the requests before it come first
                    self.kept = request_head(turn) + rest
                    self._parser = HttpRequestParser(self)
                    break
            except HttpParserError as error:
                self._malformed(error, data, begun)
        if at_rest and self._chances and self.incoming is None and len(self.ready) == 1:
            self._chances -= 1
            self._repeated = repeated_head(data, self.ready[0])
        size = self._runtime.gateway.http.http1_max_head_size
        if self._silent > size and (self.in_head or self._silent > 2 * size):
            self._too_long()
        return None

    def _not_upgraded(self, turn: Turn, rest: bytes) -> bytes:
        """An upgrade that is none, and what came behind its head: what is to be parsed again."""
        if turn.method != "CONNECT":  # the rest of the head counts
            self._parser = HttpRequestParser(self)
            turn.headers = [field for field in turn.headers if field[0] != b"upgrade"]
            return request_head(turn) + rest
        self.stop()  # what follows is meant for somebody else
        self.last = True
        turn.keep = False
        self.ready.append(turn)
        return b""

    # --- the end -----------------------------------------------------------------------------------------------------

    def refuse(self, error: GatewayError) -> None:
        """Read no more, for this reason. A turn says so."""
        parser = self._parser
        self.stop()
        self.last = True
        turn, self.incoming = self.incoming, None
        if turn is None or self.in_head:
            turn = turn or self._begin()
            turn.complete = True  # nothing of a body will be read
            if turn.url and not turn.method and parser is not None:
                turn.method = parser.get_method().decode("ascii")
            self.ready.append(turn)
        self.in_head = False
        turn.error = turn.error or error
        turn.keep = False

    def stop(self) -> None:
        """Look at nothing any more."""
        self._repeated, self._chances = None, 0
        self._parser = None  # it holds our bound methods
        self.open = False

    def close(self) -> None:
        """Stop, and let go of the owner, which holds this object."""
        self.stop()
        self._begin, self._full = _closed, _nothing

    def _malformed(self, error: HttpParserError, data: bytes, begun: Turn | None) -> None:
        """Nothing that follows can be told apart. What came before is answered, and this with the reason. `begun` is
        the turn that was being read before `data` came."""
        if isinstance(error.__context__, InvalidRequest):  # raised in a callback
            self.refuse(error.__context__.with_traceback(None))
        elif isinstance(error, HttpParserInvalidMethodError) and self._is_method(data, begun):
            self.refuse(InvalidRequest("unknown method", status=501, code="not_implemented"))
        elif str(error) == "Invalid HTTP version":
            self.refuse(InvalidRequest("HTTP version not supported", status=505, code="http_version_not_supported"))
        else:
            self.refuse(InvalidRequest("malformed request", code="invalid_request", detail=str(error)))

    def _is_method(self, data: bytes, begun: Turn | None) -> bool:
        """Whether the parser only does not know the method that is in `data`, or goes on there."""
        turn, line = self.incoming, _METHOD.match(data)
        if self.ready or turn is None or turn.url or line is None:
            return False
        if begun is None:
            turn.method, turn.url = line[1].decode(), line[2] or b""
        return begun is turn or bool(line[1])

    def _too_long(self) -> None:
        if self.in_head:
            self.refuse(too_large("the header fields are too large"))
        elif self.incoming is not None and self.incoming.length is None:
            self.refuse(too_large("the trailers or chunk extensions are too large"))


def too_large(what: str) -> InvalidRequest:
    return InvalidRequest(what, status=431, code="header_fields_too_large")


def _closed() -> Turn:
    raise RuntimeError("the connection is gone")


def _nothing() -> None: ...
