"""What the system tells of a connection's socket while nobody reads it."""

from __future__ import annotations

import os
import socket

_CLOSED = (7, 8)  # CLOSE, CLOSE_WAIT


def has_bytes(descriptor: int) -> bool:
    """Whether something has come that was not read yet."""
    if descriptor < 0:
        return False
    with socket.socket(fileno=os.dup(descriptor)) as same:
        try:
            return bool(same.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False


def peer_closed(descriptor: int) -> bool:
    """Whether the other end of a TCP connection has said its last (`tcpi_state` of Linux's tcp(7))."""
    with socket.socket(fileno=os.dup(descriptor)) as same:
        try:
            return same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _CLOSED
        except OSError:  # no TCP
            return False
