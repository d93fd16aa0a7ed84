"""The connection to one processor. Loads gRPC, some 100 ms of CPU: before the first request, not in it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from agentgateway.errors import GuardFailed
from agentgateway_guardrail_ext_mcp import wire
from agentgateway_guardrail_ext_mcp.config import ProcessorConfig, ProcessorTls

OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
)
"""A processor that comes back is asked again within seconds; in grpc's own opinion it may be two minutes."""


class Channel:
    """Asks. `limit` is the largest answer, in bytes."""

    def __init__(self, config: ProcessorConfig, limit: int) -> None:
        scheme, _, place = config.host.partition("://")
        policies = config.policies
        tls = policies.backend_tls or (ProcessorTls() if scheme == "https" else None)
        options: list[tuple[str, Any]] = [
            *OPTIONS,
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),
        ]
        place = place if ":" in place.rpartition("]")[2] else f"{place}:{443 if tls is not None else 80}"
        if tls is None:
            self._channel = grpc.aio.insecure_channel(place, options)
        else:
            if tls.hostname is not None:
                options.append(("grpc.ssl_target_name_override", tls.hostname))
            self._channel = grpc.aio.secure_channel(place, credentials(tls), options)
        auth = policies.backend_auth
        self._metadata = (("authorization", f"Bearer {auth.key.reveal()}"),) if auth is not None else ()
        self._timeout = config.timeout
        self.messages = wire.classes()

    async def ask(self, procedure: str, question: Any, answer: str) -> Any:
        """The answer, a message of that name. Raises `GuardFailed`, whose detail quotes nobody."""
        ask = self._channel.unary_unary(f"/{wire.PACKAGE}.ExtMcp/{procedure}")
        try:
            raw = await ask(question.SerializeToString(), timeout=self._timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise GuardFailed(detail=f"{procedure}: {error.code().name}") from None
        except asyncio.CancelledError:  # so it is told also when the channel was closed
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise GuardFailed(detail=f"{procedure}: the channel was closed") from None
        try:
            return self.messages[answer].FromString(raw)
        except Exception as error:  # each implementation of protobuf has its own
            raise GuardFailed(detail=f"{procedure}: the answer is malformed: {type(error).__name__}") from None

    async def close(self) -> None:
        """What is being asked may still be answered."""
        await self._channel.close(self._timeout)


def credentials(tls: ProcessorTls) -> Any:
    root = tls.root or ssl.get_default_verify_paths().cafile
    return grpc.ssl_channel_credentials(
        Path(root).read_bytes() if root is not None else None,
        Path(tls.key).read_bytes() if tls.key is not None else None,
        Path(tls.cert).read_bytes() if tls.cert is not None else None,
    )
