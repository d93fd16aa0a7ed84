"""Resuming TLS sessions towards upstreams: a new connection to a known server skips the certificates (RFC 8446 section
2.2, RFC 5246 section 7.3)."""

from __future__ import annotations

import ssl
from typing import ClassVar

_MOST_SERVERS = 256


class _Resumable(ssl.SSLObject):
    """The TLS of a connection, which offers the session of an earlier one to the same server name.

    A session was verified by the settings of its own context and is offered in no other. Neither event loop has a way
    to hand a session in; both make the object by `SSLContext.sslobject_class` and call `do_handshake` on it.
    """

    sessions: ClassVar[dict[str | None, ssl.SSLSession]]
    _offered = False

    def do_handshake(self) -> None:
        if not self._offered:
            self._offered = True
            known = self.sessions.get(self.server_hostname)
            if known is not None:
                self.session = known
        super().do_handshake()

    def keep(self) -> None:
        session = self.session
        if session is None or not session.has_ticket:
            return
        if len(self.sessions) >= _MOST_SERVERS:
            self.sessions.clear()
        self.sessions[self.server_hostname] = session


def resume_sessions(context: ssl.SSLContext) -> None:
    """Have the client connections of a context share their sessions, as far as they are told to `keep_session`."""
    context.sslobject_class = type("Resumable", (_Resumable,), {"sessions": {}})


def keep_session(connection: object) -> None:
    """Remember the session of an `ssl_object` that has proven good. By then its answer is in, and with it the tickets
    that TLS 1.3 sends after the handshake."""
    if isinstance(connection, _Resumable):
        connection.keep()
