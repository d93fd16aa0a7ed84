"""Many clients on one channel: requests and progress tokens get ids of the gateway's own, and theirs back.

For versions from 2026-07-28 on, which have neither sessions nor requests from servers.
"""

from __future__ import annotations

import logging
from itertools import count
from typing import Any

from pydantic_core import from_json, to_json

from agentgateway_mcp import rpc
from agentgateway_mcp.correspondence import Correspondence, Pending, Send
from agentgateway_mcp.errors import METHOD_NOT_FOUND
from agentgateway_mcp.inbox import Letter
from agentgateway_mcp.servers import Ask

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"

logger = logging.getLogger("agentgateway.mcp")


class Multiplexed(Correspondence):
    """What names no request of a client's is nobody's: it may tell one client what another one does."""

    def __init__(self, reply: Send, room: int) -> None:
        super().__init__(reply, room)
        self._numbers = count(1)

    def withdraw(self, ask: Ask) -> None:
        """An id alone says nothing here: whoever wants no answer closes the stream."""

    def _enter(self, ask: Ask, cancel: Send) -> Pending:
        pending = super()._enter(ask, cancel)
        pending.key = b'"agw-%d"' % next(self._numbers)
        return pending

    def _outbound(self, pending: Pending) -> bytes:
        ours = from_json(pending.key)
        document = {**pending.asked.document, "id": ours}
        if pending.token is not None:
            meta = {**document["params"]["_meta"], "progressToken": ours}
            document["params"] = {**document["params"], "_meta": meta}
        return to_json(document)

    def _cancellation(self, pending: Pending) -> bytes:
        return rpc.cancelled(from_json(pending.key))

    def _inbound(self, pending: Pending, document: dict[str, Any], raw: bytes) -> bytes:
        return restored(document, raw, pending)

    def _unasked(self, document: dict[str, Any], raw: bytes) -> None:
        if "id" in document:
            refusal = "requests of servers are no part of this version"
            self._reply(rpc.failure(document["id"], METHOD_NOT_FOUND, refusal))
            return
        pending = self._meant(document)
        if pending is None:
            logger.debug("a notification that names no request is dropped: %.100s", document["method"])
            return
        pending.inbox.put(Letter(restored(document, raw, pending)))

    def _meant(self, document: dict[str, Any]) -> Pending | None:
        named = rpc.inside(document, "params", "progressToken") or rpc.inside(document, "params", "_meta", SUBSCRIPTION)
        if named is not None:
            return self._pending.get(to_json(named))
        if len(self._pending) == 1 and document["method"] == "notifications/message":
            (only,) = self._pending.values()
            if rpc.inside(only.asked.document, "params", "_meta", LOG_LEVEL) is not None:
                return only
        return None


def restored(document: dict[str, Any], raw: bytes, pending: Pending) -> bytes:
    """The message in the client's terms. Where our id stands once, its bytes alone are replaced."""
    ours, token = from_json(pending.key), pending.token
    if document.get("id") == ours and raw.count(pending.key) == 1:
        return raw.replace(pending.key, to_json(pending.id))
    if "id" in document:
        document["id"] = pending.id
    for holder in (document.get("params"), document.get("result")):
        if type(holder) is not dict:
            continue
        if token is not None and holder.get("progressToken") == ours:
            holder["progressToken"] = from_json(token)
        meta = holder.get("_meta")
        if type(meta) is dict and meta.get(SUBSCRIPTION) == ours:
            meta[SUBSCRIPTION] = pending.id
    return to_json(document)
