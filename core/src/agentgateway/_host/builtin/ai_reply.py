"""What becomes of an upstream's reply to a model call: the client's dialect, its usage, nothing of the credential."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from agentgateway._host.builtin.ai_kept import Ledger, ending, made, once, told
from agentgateway._host.builtin.ai_request import CREDENTIAL_FIELDS
from agentgateway.errors import UpstreamError
from agentgateway.exchange import Exchange, Outgoing, Reply
from agentgateway.llm.beginnings import begun
from agentgateway.llm.calls import Dialect, LlmCall, LlmReply, PlainReply
from agentgateway.llm.counting import COUNTING
from agentgateway.llm.dialects.resources import Resource
from agentgateway.llm.realtime import RealtimeCall, RealtimeSession
from agentgateway.llm.replies import LlmStream, decompressed, learn, translated_error
from agentgateway.llm.resources import ResourceCall
from agentgateway.llm.watched import WatchedStream, look_at
from agentgateway.sockets import Duplex

NOT_RETURNED = frozenset((b"set-cookie", b"alt-svc", b"strict-transport-security", b"server", b"via"))
"""What a vendor's edge says to its own clients; `alt-svc` would lead ours around the gateway."""
UNCODED = (b"", b"identity")
PLAIN = (b"text/", b"application/x-subrip")


async def incoming(exchange: Exchange, reply: Reply, call: LlmCall, outbound: LlmCall, ledger: Ledger) -> Reply:
    """The upstream's reply in the client's dialect, with an eye on its usage."""
    fields = first_of_each(reply.headers.raw)
    if not NOT_RETURNED.isdisjoint(fields):
        reply.headers.raw = [field for field in reply.headers.raw if field[0] not in NOT_RETURNED]
    source, target = outbound.dialect, call.dialect
    if reply.status < 400 and (outbound.passes == "opaque" or source.unread):
        return reply if outbound.passes == "opaque" else await watched(exchange, reply, source, fields)
    if reply.status < 400 and not source.replies:
        if isinstance(call, RealtimeCall) and isinstance(reply.body, Duplex):
            reply.body = RealtimeSession(exchange, reply.body, call, outbound.model)
        if isinstance(outbound, ResourceCall):
            await told(exchange, reply, outbound, ledger)
        return await localised(reply, source) if isinstance(source, Resource) and source.links else reply
    if reply.status < 400 and fields.get(b"content-type", b"").startswith(source.stream_content_type.encode()):
        reply.headers.remove("content-length")
        if isinstance(reply.body, bytes):
            reply.body = once(reply.body)
        if source.name != target.name:
            reply.headers.set("content-type", target.stream_content_type)
        if exchange.attempt.others:
            reply.body = await begun(reply.body, source)
        reply.body = LlmStream(exchange, reply.body, source, target, call, hides_usage=outbound.prepared)
        if "background" in outbound.document and in_background(outbound) and source.name == target.name:
            reply.body = ending(exchange, reply.body, ledger, made_here=True)
        return reply
    plain = source.plain_replies and fields.get(b"content-type", b"").lower().startswith(PLAIN)
    if reply.status < 400 and not (call.whole or plain) and b"json" not in fields.get(b"content-type", b""):
        return reply
    reply.body = await whole(reply.body)
    if (coding := fields.get(b"content-encoding", b"")) not in UNCODED:
        reply.body = decompressed(reply, coding.decode("latin-1"))
    if reply.status >= 400:
        conceal(reply, exchange.outgoing)
        if source.name != target.name:
            translated_error(reply, source, target)
        return reply
    content = (PlainReply if plain else LlmReply).read(source, reply.body)
    source.read_headers(content.document, reply.headers)
    exchange.usage = source.usage(content.document)
    exchange.response_model = source.reply_model(content.document)
    if "background" in outbound.document and in_background(outbound):
        await made(exchange, content.document, ledger)
    exchange.first_token_at = exchange.answered_at
    if COUNTING.watched:
        learn(exchange, call)
    reply.content = content if source.name == target.name else content.translated(target, call.canonical())
    return reply


def in_background(call: LlmCall) -> bool:
    """Whether a call asks for a response that goes on by itself, and is asked for later."""
    return call.dialect.name == "responses" and call.document["background"] is True


async def localised(reply: Reply, source: Resource) -> Reply:
    """A document that tells paths at the vendor, without the vendor's address in front of them."""
    kind = (reply.headers.get("content-type") or "").partition(";")[0].strip()
    if source.links is not None and kind == "application/json":
        reply.body = source.links.sub(rb"\1", await whole(reply.body))
        reply.headers.remove("content-length")
    return reply


async def watched(exchange: Exchange, reply: Reply, dialect: Dialect, fields: Mapping[bytes, bytes]) -> Reply:
    """A reply in a format that nobody knows, as it came; what it cost is told if it says so in the usual words."""
    kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind == dialect.stream_content_type.encode():
        body = once(reply.body) if isinstance(reply.body, bytes) else reply.body
        reply.headers.remove("content-length")
        reply.body = WatchedStream(exchange, body, dialect)
    elif kind == b"application/json":
        reply.body = await whole(reply.body)
        look_at(exchange, reply.body, dialect)
    return reply


def conceal(reply: Reply, outgoing: Outgoing | None) -> None:
    """Take the credential that was sent out of an error that quotes it: some vendors do, and it is not the client's."""
    assert isinstance(reply.body, bytes)
    for name, value in outgoing.headers.raw if outgoing is not None else ():
        secret = value.rpartition(b" ")[2]
        if name in CREDENTIAL_FIELDS and len(secret) >= SHORTEST_SECRET and secret in reply.body:
            reply.body = reply.body.replace(secret, b"***")
            reply.headers.remove("content-length")


SHORTEST_SECRET = 8
"""Shorter ones would be found in words."""


def first_of_each(fields: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Header fields by name; of those that came more than once, the first."""
    return dict(reversed(fields))


LONGEST = 64 * 1024 * 1024


async def whole(body: bytes | AsyncIterator[bytes]) -> bytes:
    """All of a body. Raises `UpstreamError` for one that is too large."""
    if isinstance(body, bytes):
        return body
    chunks, size = [], 0
    async for chunk in body:
        size += len(chunk)
        if size > LONGEST:
            raise UpstreamError("the upstream's reply is too large", detail=f"over {LONGEST} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
