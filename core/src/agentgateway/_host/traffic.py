"""What comes and goes by the ports: connections, bytes, TLS handshakes (the reference's section 9.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agentgateway._host.metrics import Histogram, Labels, Metrics

if TYPE_CHECKING:
    from agentgateway._host.gateway import Bind

LABELS = ("bind", "gateway", "listener", "protocol")
HANDSHAKE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class Traffic:
    """One port's share. Connections add to it as they go."""

    __slots__ = ("_handshakes", "_labels", "connections", "received", "sent")

    def __init__(self, labels: Labels = (), handshakes: Histogram | None = None) -> None:
        self.connections = 0
        self.received = 0
        self.sent = 0
        self._labels = labels
        self._handshakes = handshakes

    def shook_hands(self, seconds: float) -> None:
        if self._handshakes is not None:
            self._handshakes.observe(self._labels, seconds)


class Meters:
    """The metrics that the shares of all ports make together."""

    def __init__(self, metrics: Metrics) -> None:
        self._ports: dict[Labels, Traffic] = {}
        self._handshakes = metrics.histogram(
            "agentgateway_tls_handshake_duration_seconds", "TLS handshakes with clients", LABELS, HANDSHAKE_BUCKETS
        )
        for name, text in (
            ("connections", "Connections from clients"),
            ("received", "Bytes from clients"),
            ("sent", "Bytes to clients"),
        ):
            unit = "" if name == "connections" else "_bytes"
            metrics.reading(f"agentgateway_downstream_{name}{unit}_total", "counter", text, LABELS, self._reader(name))

    def traffic(self, bind: Bind) -> Traffic:
        """The share of a bind; the same one after it was closed and opened again."""
        first = bind.listeners[0]
        place = first.listener.place
        labels = (place.bind, place.gateway, "unknown", "HTTPS" if first.tls is not None else "HTTP")
        return self._ports.setdefault(labels, Traffic(labels, self._handshakes))

    def _reader(self, name: str) -> _Reader:
        return _Reader(self._ports, name)


class _Reader:
    def __init__(self, ports: Mapping[Labels, Traffic], name: str) -> None:
        self._ports = ports
        self._name = name

    def __call__(self) -> dict[Labels, float]:
        return {labels: getattr(traffic, self._name) for labels, traffic in self._ports.items()}
