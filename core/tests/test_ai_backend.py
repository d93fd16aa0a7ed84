"""What the backend `ai` makes of a call before it is sent."""

from typing import Any

from agentgateway.exchange import Exchange, Outgoing
from agentgateway.testing import LoopbackHost, chat, make


async def prepared(exchange: Exchange, config: dict[str, Any], environ: dict[str, str] | None = None) -> Outgoing:
    backend = make("agentgateway.backends", "ai", config, LoopbackHost(environ=environ))
    (exchange.target,) = backend.targets()
    await backend.prepare(exchange)
    for participant in backend.participants(exchange.target):
        participant.hooks.upstream(exchange)
    assert exchange.outgoing is not None
    return exchange.outgoing


OPENAI = {"provider": {"openAI": {}}}


async def test_what_belongs_to_the_client_alone_stays_here():
    client = {
        "origin": "https://app.example",
        "referer": "https://app.example/x",
        "access-control-request-headers": "x",
        "sec-fetch-mode": "cors",
        "cookie": "session=canary",
        "accept-encoding": "gzip",
        "connection": "x-hop, keep-alive",
        "x-hop": "1",
        "anthropic-version": "2023-06-01",
        "user-agent": "sdk/1",
    }
    outgoing = await prepared(chat(headers=client), OPENAI)
    assert dict(outgoing.headers) == {
        "user-agent": "sdk/1",
        "content-type": "application/json",
        "accept-encoding": "identity",
    }


async def test_the_operators_key_takes_the_place_of_the_clients():
    client = {"authorization": "Bearer canary", "x-api-key": "canary", "api-key": "canary"}
    outgoing = await prepared(chat(headers=client), OPENAI, {"OPENAI_API_KEY": "sk-operator"})
    assert outgoing.headers.get("authorization") == "Bearer sk-operator"
    assert "canary" not in str(outgoing.headers.raw)


async def test_without_an_operators_key_the_clients_one_goes_on_and_only_one():
    client = {"authorization": "Bearer mine", "x-api-key": "other"}
    outgoing = await prepared(chat(headers=client), OPENAI)
    assert [value for name, value in outgoing.headers if name in ("authorization", "x-api-key")] == ["Bearer mine"]


async def test_addresses_can_be_changed_in_part_or_whole():
    for change, url, target in (
        ({}, "https://api.openai.com", "/v1/chat/completions"),
        ({"hostOverride": "127.0.0.1:9"}, "http://127.0.0.1:9", "/v1/chat/completions"),
        ({"hostOverride": "a.test:443"}, "https://a.test:443", "/v1/chat/completions"),
        ({"pathPrefix": "/api"}, "https://api.openai.com", "/api/chat/completions"),
        ({"pathOverride": "/x"}, "https://api.openai.com", "/x"),
        ({"baseUrl": "http://b.test:8/v2"}, "http://b.test:8", "/v2/chat/completions"),
        ({"baseUrl": "http://b.test:8"}, "http://b.test:8", "/chat/completions"),
    ):
        outgoing = await prepared(chat(), {**OPENAI, **change})
        assert (outgoing.url, outgoing.target) == (url, target), change


async def test_equal_dialects_send_the_clients_own_bytes():
    exchange = chat(unknown={"b": 1, "a": [None]})
    before = exchange.request.body.data
    outgoing = await prepared(
        exchange, {"provider": {"custom": {"formats": [{"type": "completions"}]}}, "hostOverride": "h:1"}
    )
    assert outgoing.body == before


async def test_a_stream_is_asked_for_its_usage_unless_the_client_said_otherwise():
    outgoing = await prepared(chat(stream=True), OPENAI)
    assert b'"stream_options":{"include_usage":true}' in outgoing.body  # type: ignore[operator]
    outgoing = await prepared(chat(stream=True, stream_options={"include_usage": False}), OPENAI)
    assert b'"include_usage":false' in outgoing.body.replace(b" ", b"")  # type: ignore[union-attr]


async def test_a_client_that_did_not_ask_for_usage_gets_no_event_of_it_and_is_counted_all_the_same():
    backend = make("agentgateway.backends", "ai", {"provider": {"simulator": {}}})
    for asked in ({}, {"stream_options": {"include_usage": True}}):
        exchange = chat(stream=True, **asked)
        (exchange.target,) = backend.targets()
        await backend.prepare(exchange)
        reply = await backend.send(exchange)
        events = [chunk async for chunk in reply.body]  # type: ignore[union-attr]
        assert (b'"choices":[]' in b"".join(events)) is bool(asked)
        assert events[-1].endswith(b"data: [DONE]\n\n")
        assert exchange.usage is not None and exchange.usage.output_tokens and not exchange.usage.estimated
