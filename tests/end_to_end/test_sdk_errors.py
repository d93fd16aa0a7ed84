"""Errors as the official SDKs raise them: those of either vendor, and the gateway's own refusals."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio
from google.genai import errors

from agentgateway.testing import Upstream
from agentgateway.testing.upstreams import reply

from .googles import Sdk
from .matrix.transcripts import END, pieces, played, streamed
from .sdks import ANTHROPIC, KEY, OPENAI, UNREAD, closed, collected, connect, events, old_style, result

__all__ = ["collected"]
pytestmark = [pytest.mark.asyncio(loop_scope="module"), UNREAD]
SDKS = (*OPENAI, *ANTHROPIC)
BOB, STRANGER = "sk-bob", "sk-stranger"
CARD = "My card is 4111 1111 1111 1111."


@dataclass
class Front:
    """A gateway that knows its clients and refuses much, in front of one upstream."""

    url: str
    gateway: Any
    upstream: Upstream


def configuration(address: str) -> str:
    vendor = {"hostOverride": address, "apiKey": "sk-of-the-operator"}
    keys = [
        {"key": KEY, "metadata": {"name": "ada"}},
        {"key": BOB, "metadata": {"name": "bob"}, "allowedModels": ["demo"]},
        *({"key": poor(sdk), "metadata": {"name": poor(sdk)}} for sdk in SDKS),
    ]
    cards = {"regex": {"action": "reject", "rules": [{"builtin": "creditCard"}]}, "rejection": {"body": "No cards."}}
    llm = {
        "gateways": "default",
        "policies": {
            "apiKey": {"mode": "strict", "keys": keys},
            "guardrails": {"request": [cards]},
            "localRateLimit": [
                {"type": "tokens", "maxTokens": 20_000, "tokensPerFill": 1, "fillInterval": "1h", "key": "apiKey.name"}
            ],
        },
        "models": [
            {"name": "gpt-5.1", "provider": "openAI", "params": vendor},
            {"name": "claude-haiku-4-5", "provider": "anthropic", "params": vendor},
            {"name": "demo", "provider": "simulator"},
            {"name": "nowhere", "provider": "openAI", "params": vendor | {"hostOverride": "127.0.0.1:1"}},
        ],
    }
    return f"""
gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
frontendPolicies: {{http: {{maxBufferSize: 65536}}}}
llm: {json.dumps(llm)}
"""


def poor(sdk: Any) -> str:
    """A key whose tokens one call spends, for each client."""
    return f"sk-poor-{sdk.__name__}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(serve_all: Any) -> AsyncIterator[Front]:
    async with Upstream(b"") as upstream:
        gateway = await serve_all(configuration(upstream.address))
        yield Front(gateway.url, gateway, upstream)


async def refused(front: Front, sdk: Any, model: str, text: str = "hi", *, key: str = KEY, **asked: Any) -> Any:
    """The error that a call ends with."""
    client = connect(sdk, front.url, key)
    try:
        with pytest.raises((openai.APIError, anthropic.APIError)) as caught:
            await result(client, lambda: call(client, model, text, **asked))
    finally:
        await closed(client)
    return caught.value


def call(client: Any, model: str, text: str, **asked: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    if isinstance(client, OPENAI):
        return client.chat.completions.create(model=model, messages=messages, **asked)
    return client.messages.create(model=model, messages=messages, **{"max_tokens": 2000, **asked})


def named(sdk: Any, name: str) -> type[Exception]:
    """An exception of the SDK's own, as that SDK calls it."""
    found: type[Exception] = getattr(openai if sdk in OPENAI else anthropic, name)
    return found


every_sdk = pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.__name__)


# --- vendors' errors -------------------------------------------------------------------------------------------------

STATUSES = [
    (400, "BadRequestError", "invalid_request_error", "invalid_request_error"),
    (401, "AuthenticationError", "invalid_request_error", "authentication_error"),
    (403, "PermissionDeniedError", "invalid_request_error", "permission_error"),
    (404, "NotFoundError", "invalid_request_error", "not_found_error"),
    (429, "RateLimitError", "rate_limit_error", "rate_limit_error"),
    (500, "InternalServerError", "server_error", "api_error"),
]


@every_sdk
@pytest.mark.parametrize("model", ["gpt-5.1", "claude-haiku-4-5"])
@pytest.mark.parametrize(("status", "name", "of_openai", "of_anthropic"), STATUSES, ids=lambda value: str(value))
async def test_vendors_errors_are_the_sdks_own(
    front: Front, sdk: Any, model: str, status: int, name: str, of_openai: str, of_anthropic: str
) -> None:
    error: Any = {"type": of_anthropic, "message": "so sorry"}
    document = {"type": "error", "error": error, "request_id": "req_1"}
    if model.startswith("gpt"):
        document = {"error": {"message": "so sorry", "type": of_openai, "param": None, "code": None}}
    front.upstream.answer = reply(status, document, headers={"retry-after": "3"} if status == 429 else None)
    caught = await refused(front, sdk, model)
    assert type(caught) is named(sdk, name)
    assert caught.status_code == status and "so sorry" in str(caught)
    assert caught.response.headers.get("retry-after") == ("3" if status == 429 else None)
    assert caught.type == (of_openai if sdk in OPENAI else of_anthropic)


@every_sdk
@pytest.mark.parametrize("model", ["gpt-5.1", "claude-haiku-4-5"])
async def test_a_stream_that_fails_midway_raises_what_the_vendor_said(front: Front, sdk: Any, model: str) -> None:
    folder = "completions" if model.startswith("gpt") else "messages"
    front.upstream.answer = lambda request: played(pieces(*streamed((folder,), "overloaded")))
    await check_midway(front, sdk, model, "The engine is currently overloaded")


@every_sdk
@pytest.mark.parametrize("model", ["gpt-5.1", "claude-haiku-4-5"])
async def test_a_stream_whose_vendor_dies_raises_too(front: Front, sdk: Any, model: str) -> None:
    folder = "completions" if model.startswith("gpt") else "messages"
    head, body = streamed((folder,), "overloaded")
    whole_events = body[: body.index(b" Ada") + 1]
    whole_events = whole_events[: whole_events.rindex(b"\n\n") + 2]
    front.upstream.answer = lambda request: played(pieces(head, whole_events, END))
    await check_midway(front, sdk, model, "cut short")


async def check_midway(front: Front, sdk: Any, model: str, message: str) -> None:
    client = connect(sdk, front.url)
    with pytest.raises((openai.APIError, anthropic.APIError), match=message) as caught:
        await events(client, lambda: call(client, model, "hi", stream=True))
    await closed(client)
    assert isinstance(caught.value, named(sdk, "APIError"))
    assert not isinstance(caught.value, named(sdk, "APIConnectionError"))


# --- the gateway's own -----------------------------------------------------------------------------------------------


@every_sdk
async def test_an_unknown_key(front: Front, sdk: Any) -> None:
    caught = await refused(front, sdk, "demo", key=STRANGER)
    assert type(caught) is named(sdk, "AuthenticationError")
    assert caught.type == ("invalid_request_error" if sdk in OPENAI else "authentication_error")
    assert STRANGER not in str(caught) and STRANGER not in front.gateway.log


@pytest.mark.parametrize("connected", [connect, old_style])
@pytest.mark.parametrize("sdk", ANTHROPIC, ids=lambda sdk: sdk.__name__)
async def test_anthropic_keys_old_and_new(front: Front, sdk: Any, connected: Any) -> None:
    known, stranger = connected(sdk, front.url, BOB), connected(sdk, front.url, STRANGER)
    answer = await result(known, lambda: call(known, "demo", "hi"))
    assert answer.content[0].text == "You said: hi"
    with pytest.raises(anthropic.AuthenticationError):
        await result(stranger, lambda: call(stranger, "demo", "hi"))
    await closed(known)
    await closed(stranger)


async def test_googles_key_opens_the_same_door(front: Front) -> None:
    known, stranger = Sdk(front.url, key=BOB), Sdk(front.url, key=STRANGER)
    assert (await known.generate(model="demo", contents="hi")).text == "You said: hi"
    for sdk, model, code in ((stranger, "demo", 401), (known, "gpt-5.1", 403)):
        with pytest.raises(errors.ClientError) as caught:
            await sdk.generate(model=model, contents="hi")
        assert caught.value.code == code
    assert STRANGER not in front.gateway.log
    await known.close()
    await stranger.close()


@every_sdk
async def test_a_model_that_the_key_does_not_allow(front: Front, sdk: Any) -> None:
    front.upstream.received.clear()
    caught = await refused(front, sdk, "gpt-5.1", key=BOB)
    assert type(caught) is named(sdk, "PermissionDeniedError")
    check_words(caught, sdk, "model_not_allowed", "permission_error")
    assert front.upstream.received == []


@every_sdk
async def test_a_model_that_there_is_not(front: Front, sdk: Any) -> None:
    caught = await refused(front, sdk, "gpt-2")
    assert type(caught) is named(sdk, "NotFoundError")
    check_words(caught, sdk, "model_not_found", "not_found_error")
    assert "gpt-2" in str(caught)


@every_sdk
async def test_a_body_that_is_too_large(front: Front, sdk: Any) -> None:
    caught = await refused(front, sdk, "demo", "x" * 70_000)
    assert caught.status_code == 413
    assert type(caught) is (openai.APIStatusError if sdk in OPENAI else anthropic.RequestTooLargeError)
    check_words(caught, sdk, "request_body_too_large", "request_too_large")


@every_sdk
async def test_a_limit_that_is_spent(front: Front, sdk: Any) -> None:
    client = connect(sdk, front.url, poor(sdk))
    await result(client, lambda: call(client, "demo", "[[simulate tokens=25000]]", max_tokens=30_000))
    await closed(client)
    caught = await refused(front, sdk, "demo", key=poor(sdk))
    assert type(caught) is named(sdk, "RateLimitError")
    check_words(caught, sdk, "rate_limit_exceeded", "rate_limit_error")
    assert 0 < int(caught.response.headers["retry-after"]) <= 3600 * 200


@every_sdk
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_text_that_a_guard_refuses(front: Front, sdk: Any, stream: bool) -> None:
    caught = await refused(front, sdk, "demo", CARD, stream=stream)
    assert type(caught) is named(sdk, "PermissionDeniedError")
    check_words(caught, sdk, "guardrail_intervention", "permission_error")
    assert "No cards." in str(caught) and "4111" not in str(caught)


@every_sdk
async def test_a_call_that_makes_no_sense(front: Front, sdk: Any) -> None:
    caught = await refused(front, sdk, "demo", max_tokens="many")
    assert type(caught) is named(sdk, "BadRequestError")
    assert "max_tokens" in str(caught)
    if sdk in OPENAI:
        assert caught.param == "max_tokens"


@pytest.mark.parametrize(
    ("sdk", "model", "asked", "field"),
    [
        (openai.OpenAI, "claude-haiku-4-5", {"logprobs": True}, "logprobs"),
        (openai.OpenAI, "claude-haiku-4-5", {"n": 2}, "n"),
        (anthropic.Anthropic, "gpt-5.1", {"container": "box"}, "container"),
    ],
)
async def test_what_the_other_vendor_has_no_words_for_is_named(
    front: Front, sdk: Any, model: str, asked: Any, field: str
) -> None:
    front.upstream.received.clear()
    caught = await refused(front, sdk, model, **asked)
    assert type(caught) is named(sdk, "BadRequestError")
    assert f"{field}: `{field}`" in str(caught) or f"{field}: " in str(caught)
    check_words(caught, sdk, "unsupported_parameter", "invalid_request_error")
    assert front.upstream.received == []


@every_sdk
async def test_a_vendor_that_cannot_be_reached(front: Front, sdk: Any) -> None:
    caught = await refused(front, sdk, "nowhere")
    assert caught.status_code == 503
    assert type(caught) is (openai.InternalServerError if sdk in OPENAI else anthropic.ServiceUnavailableError)
    assert "127.0.0.1" not in str(caught)


def check_words(caught: Any, sdk: Any, code: str, of_anthropic: str) -> None:
    """OpenAI's errors have a code; Anthropic's have a type, and no more."""
    if sdk in OPENAI:
        assert caught.code == code
    else:
        assert caught.type == of_anthropic


@pytest.mark.parametrize("sdk", OPENAI, ids=lambda sdk: sdk.__name__)
async def test_openai_lists_what_the_key_may_use(front: Front, sdk: Any) -> None:
    client = connect(sdk, front.url, BOB)
    assert [model.id for model in await events(client, lambda: client.models.list())] == ["demo"]
    with pytest.raises(openai.NotFoundError) as caught:
        await result(client, lambda: client.models.retrieve("gpt-5.1"))
    assert caught.value.code == "model_not_found"
    await closed(client)


@pytest.mark.parametrize("connected", [connect, old_style])
@pytest.mark.parametrize("sdk", ANTHROPIC, ids=lambda sdk: sdk.__name__)
async def test_anthropic_lists_what_the_key_may_use(front: Front, sdk: Any, connected: Any) -> None:
    client = connected(sdk, front.url, BOB)
    assert [model.id for model in await events(client, lambda: client.models.list())] == ["demo"]
    with pytest.raises(anthropic.NotFoundError) as caught:
        await result(client, lambda: client.models.retrieve("gpt-5.1"))
    assert caught.value.type == "not_found_error"
    await closed(client)
