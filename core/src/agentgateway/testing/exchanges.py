"""Valid exchanges in one call; a test names only what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from agentgateway.exchange import Body, Exchange, Headers, Reply, Request, Source
from agentgateway.llm.calls import ChatCall, LlmCall, LlmReply, Message, Text
from agentgateway.llm.dialects import dialect

USER = [{"role": "user", "content": "hello"}]
SPELLED = ("completions", "messages")
"""Dialects whose usual call is spelled out here; those of others are their own words for `HI`."""
HI = ChatCall("test-model", (Message("user", (Text("hello"),)),), max_tokens=64)


def http(
    method: str = "GET",
    target: str = "/",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    source: Source | None = None,
) -> Exchange:
    """A plain request, as a face hands it to the pipeline."""
    fields = {"host": "gateway.test", **{name.lower(): value for name, value in (headers or {}).items()}}
    request = Request(method, target, Headers.of(fields), Body(body), authority=fields["host"])
    return Exchange(request, source or Source("127.0.0.1", 50000))


def chat(
    document: Mapping[str, Any] | None = None,
    *,
    speaks: str = "completions",
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Exchange:
    """A model call in a dialect, already decoded: `chat(messages=[...], stream=True)`."""
    spoken = dialect(speaks)
    usual = {"model": "test-model", "messages": USER, "max_tokens": 64} if speaks in SPELLED else spoken.encode_call(HI)
    asked = {**usual, **(document or {}), **fields}
    path = spoken.path(HI.model)
    body = to_json(asked)
    exchange = http("POST", path, headers={"content-type": "application/json", **(headers or {})}, body=body)
    exchange.call = LlmCall.read(spoken, body, path)
    return exchange


def chat_reply(exchange: Exchange, document: Mapping[str, Any]) -> Reply:
    """A buffered upstream reply to that exchange, decoded; sets `exchange.reply`."""
    call = exchange.call
    assert isinstance(call, LlmCall)
    reply = Reply.json(200, dict(document))
    reply.upstream = True
    reply.content = LlmReply.read(call.dialect, reply.body if isinstance(reply.body, bytes) else b"")
    exchange.reply = reply
    return reply
