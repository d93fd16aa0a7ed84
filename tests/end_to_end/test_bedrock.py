"""Amazon Bedrock on both sides of the gateway: boto3 as a client of any vendor, and Bedrock as the vendor of any SDK.

The vendor is a fake one on loopback that refuses wrong signatures, by a verifier written from AWS's own pages.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import boto3
import httpx
import openai
import pytest
from agentgateway_auth_aws.testing import WrongSignature
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

from .amazons import AMBIENT, ENDPOINT, EVENT_STREAM, NOTHING, as_yaml, frames, refused
from .matrix.transcripts import pieces, streamed, whole
from .sdks import UNREAD, collected, connect, events, result

__all__ = ["collected"]
pytestmark = UNREAD
MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
PATH = "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
USAGE = {"inputTokens": 12, "outputTokens": 5, "totalTokens": 27, "cacheReadInputTokens": 10}
TEXT = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello, Ada."}]}},
    "stopReason": "end_turn",
    "usage": USAGE,
    "metrics": {"latencyMs": 7},
}
ENDING = [
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": USAGE, "metrics": {"latencyMs": 7}}},
]
SPOKEN = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"delta": {"text": "Hello, "}, "contentBlockIndex": 0, "p": "abcd"}},
    {"contentBlockDelta": {"delta": {"text": "Ada."}, "contentBlockIndex": 0, "p": "abcdefgh"}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    *ENDING,
]
CALLED = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "Look it up."}}, "contentBlockIndex": 0}},
    {"contentBlockDelta": {"delta": {"reasoningContent": {"signature": "c2ln"}}, "contentBlockIndex": 0}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "t1", "name": "lookup"}}, "contentBlockIndex": 1}},
    {"contentBlockDelta": {"delta": {"toolUse": {"input": '{"q":'}}, "contentBlockIndex": 1}},
    {"contentBlockDelta": {"delta": {"toolUse": {"input": '"Ada"}'}}, "contentBlockIndex": 1}},
    {"contentBlockStop": {"contentBlockIndex": 1}},
    {"messageStop": {"stopReason": "tool_use"}},
    {"metadata": {"usage": USAGE, "metrics": {"latencyMs": 7}}},
]
USER = [{"role": "user", "content": [{"text": "Hi"}]}]
TOOLS = {"tools": [{"toolSpec": {"name": "lookup", "inputSchema": {"json": {"type": "object"}}}}]}


@dataclass
class Bedrock:
    """The fake vendor: `whole` for Converse, `stream` for ConverseStream in pieces of `size` bytes."""

    whole: Any = field(default_factory=lambda: TEXT)
    stream: list[Any] = field(default_factory=lambda: SPOKEN)
    size: int = 4096
    refusal: bytes | None = None
    cut: int | None = None
    signer: str | None = None
    bearer: str | None = None

    def __call__(self, request: Received) -> bytes | AsyncIterator[bytes]:
        if self.bearer is not None:
            assert request.headers["authorization"] == f"Bearer {self.bearer}"
            assert "x-amz-date" not in request.headers
        else:
            try:
                self.signer = ENDPOINT.verify(request.method, request.target, request.headers, request.body)
            except WrongSignature as error:
                return refused(403, "InvalidSignatureException", str(error))
        if self.refusal is not None:
            return self.refusal
        if request.target.endswith("-stream"):
            assert request.headers["accept"] == EVENT_STREAM
            return self._pieces()
        return reply(200, self.whole)

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield stream_head(EVENT_STREAM)
        data = frames(self.stream)[: self.cut]
        for i in range(0, len(data), self.size):
            yield chunk(data[i : i + self.size])
        yield LAST


def configuration(address: str, **model: Any) -> str:
    entry = {
        "name": "*",
        "provider": model.pop("provider", None) or {"bedrock": {"region": "eu-west-1", **model.pop("bedrock", {})}},
    }
    params = {"hostOverride": address, "model": MODEL, **model.pop("params", {})}
    return json.dumps(
        {
            "config": {"adminAddr": "off", "statsAddr": "off", "readinessAddr": "off", "logging": {"level": "debug"}},
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "llm": {"gateways": "default", "models": [{**entry, "params": params, **model}]},
        }
    )


def amazon(url: str) -> Any:
    """The official client, with keys that are nobody's."""
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIDCLIENT",
        aws_secret_access_key="canary-of-the-client",
        aws_session_token="canary-client-session",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=20),
    )


async def ask(url: str, method: str = "converse", model: str = "smart", **more: Any) -> Any:
    def call() -> Any:
        client = amazon(url)
        try:
            answer = getattr(client, method)(modelId=model, **{"messages": USER, **more})
            if "stream" in answer:
                with_events = answer["stream"]
                try:
                    return list(with_events)
                finally:
                    with_events.close()
            return answer
        finally:
            client.close()

    return await asyncio.to_thread(call)


def said(shown: list[Any]) -> str:
    return "".join(one.get("contentBlockDelta", {}).get("delta", {}).get("text", "") for one in shown)


@dataclass
class Stage:
    gateway: Any
    upstream: Upstream
    vendor: Bedrock

    @property
    def url(self) -> str:
        return str(self.gateway.url)

    @property
    def sent(self) -> Received:
        return self.upstream.received[-1]

    async def checked(self) -> None:
        """Nothing of anybody's secrets was said."""
        await self.gateway.stop()
        text = self.gateway.log + "".join(self.gateway.access)
        assert "canary" not in text
        assert "AWS4-HMAC" not in text


Begin = Callable[..., Any]


@pytest.fixture
async def begin(serve: Any) -> AsyncIterator[Begin]:
    """`await begin(vendor, …)`: a gateway in front of that fake Bedrock."""
    stages: list[Stage] = []

    async def start(vendor: Bedrock | None = None, *, env: dict[str, str] = AMBIENT, **model: Any) -> Stage:
        vendor = vendor or Bedrock()
        upstream = Upstream(vendor)
        await upstream.__aenter__()
        gateway = await serve(as_yaml(configuration(upstream.address, **model)), env=env)
        stages.append(Stage(gateway, upstream, vendor))
        return stages[-1]

    yield start
    for stage in stages:
        await stage.checked()
        await stage.upstream.__aexit__()


# boto3 to Bedrock


async def test_boto3_reaches_bedrock_signed_by_the_gateway(begin: Begin) -> None:
    stage = await begin()
    answer = await ask(stage.url)
    assert answer["output"]["message"]["content"] == [{"text": "Hello, Ada."}]
    assert (answer["usage"], answer["metrics"]) == (USAGE, {"latencyMs": 7})
    assert (stage.sent.target, stage.vendor.signer) == (PATH, "AKIDOPERATOR")
    assert stage.sent.json() == {"messages": USER}
    assert not {"amz-sdk-request", "amz-sdk-invocation-id", "x-api-key"} & set(stage.sent.headers)
    line = await stage.gateway.logged("smart")
    assert "gen_ai.usage.input_tokens=22" in line
    assert "gen_ai.usage.cache_read.input_tokens=10" in line


async def test_boto3_streams_from_bedrock_byte_for_byte(begin: Begin) -> None:
    for size in (1, 4096):
        stage = await begin(Bedrock(size=size))
        shown = await ask(stage.url, "converse_stream")
        assert said(shown) == "Hello, Ada."
        assert shown[-1]["metadata"]["usage"] == USAGE
        assert stage.sent.target == f"{PATH}-stream"
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{stage.url}/model/smart/converse-stream", json={"messages": USER})
        assert answer.headers["content-type"] == EVENT_STREAM
        assert answer.content == frames(SPOKEN)
        assert "gen_ai.usage.output_tokens=5" in await stage.gateway.logged("smart")


@pytest.mark.parametrize("model", ["arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.x.y-v1:0", "a.b:0"])
async def test_model_ids_and_arns_are_signed_as_they_are_sent(begin: Begin, model: str) -> None:
    stage = await begin(params={"model": None})
    await ask(stage.url, model=model)
    assert stage.sent.target == "/model/" + model.replace(":", "%3A").replace("/", "%2F") + "/converse"
    assert stage.vendor.signer == "AKIDOPERATOR"


async def test_the_region_may_stand_among_the_params(begin: Begin) -> None:
    stage = await begin(provider="bedrock", params={"awsRegion": "eu-west-1"})
    await ask(stage.url)
    assert stage.vendor.signer == "AKIDOPERATOR"


async def test_the_operators_guardrail_is_asked_for(begin: Begin) -> None:
    stage = await begin(bedrock={"guardrailIdentifier": "gr1", "guardrailVersion": "2"})
    await ask(stage.url, guardrailConfig={"guardrailIdentifier": "weak", "guardrailVersion": "1"})
    assert stage.sent.json()["guardrailConfig"] == {"guardrailIdentifier": "gr1", "guardrailVersion": "2"}


# credentials


async def test_keys_of_the_file_win_over_those_of_the_machine(begin: Begin) -> None:
    auth = {"aws": {"accessKeyId": "AKIDFILE", "secretAccessKey": "canary-in-the-file"}}
    stage = await begin(auth=auth)
    await ask(stage.url)
    assert stage.vendor.signer == "AKIDFILE"


async def test_a_wrong_secret_is_the_vendors_to_refuse(begin: Begin) -> None:
    auth = {"aws": {"accessKeyId": "AKIDFILE", "secretAccessKey": "canary-wrong"}}
    stage = await begin(auth=auth)
    with pytest.raises(ClientError) as caught:
        await ask(stage.url)
    assert caught.value.response["Error"]["Message"] == "the signature does not match"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


async def test_without_any_credentials_a_call_fails_and_nothing_is_sent(begin: Begin) -> None:
    stage = await begin(env=NOTHING)
    with pytest.raises(ClientError) as caught:
        await ask(stage.url)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("InternalServerException", "internal error")
    assert stage.upstream.received == []
    assert "no AWS credentials" in await stage.gateway.logged("smart")


@pytest.mark.parametrize("place", ["environment", "file"])
async def test_a_bedrock_api_key_is_a_bearer_token(begin: Begin, place: str) -> None:
    vendor = Bedrock(bearer="canary-api-key")
    if place == "environment":
        stage = await begin(vendor, env={**AMBIENT, "AWS_BEARER_TOKEN_BEDROCK": "canary-api-key"})
    else:
        stage = await begin(vendor, params={"apiKey": "canary-api-key"})
    assert (await ask(stage.url))["stopReason"] == "end_turn"
    assert said(await ask(stage.url, "converse_stream")) == "Hello, Ada."


async def test_clients_credentials_stay_here(begin: Begin) -> None:
    stage = await begin(env=NOTHING | {"AWS_ACCESS_KEY_ID": "AKIDFILE", "AWS_SECRET_ACCESS_KEY": "canary-in-the-file"})
    headers = {"x-api-key": "canary-a", "authorization": "Bearer canary-b", "x-amz-security-token": "canary-c"}
    async with httpx.AsyncClient(headers=headers) as client:
        answer = await client.post(f"{stage.url}/model/smart/converse", json={"messages": USER})
    assert answer.status_code == 200
    assert not any(f"canary-{letter}" in value for letter in "abc" for value in stage.sent.headers.values())


async def test_any_other_provider_can_be_signed_for(begin: Begin) -> None:
    """As Bedrock's own endpoint for chat completions wants it. The client's credential goes nowhere."""
    auth = {"accessKeyId": "AKIDFILE", "secretAccessKey": "canary-in-the-file", "region": "eu-west-1"}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    stage = await begin(
        Bedrock(whole={"id": "i", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}),
        provider={"custom": {"formats": [{"type": "completions", "path": "/openai/v1/chat/completions"}]}},
        auth={"aws": {**auth, "serviceName": "bedrock"}},
    )
    async with httpx.AsyncClient(headers={"x-api-key": "canary-a"}) as client:
        answer = await client.post(
            f"{stage.url}/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
        )
    assert (answer.status_code, stage.vendor.signer) == (200, "AKIDFILE")
    assert "x-api-key" not in stage.sent.headers


# other SDKs to Bedrock


async def test_openais_sdk_talks_to_bedrock(begin: Begin) -> None:
    stage = await begin()
    client = connect(openai.AsyncOpenAI, stage.url)
    answer = await client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "Hi"}])
    assert (answer.choices[0].message.content, answer.model) == ("Hello, Ada.", "gpt")
    assert (answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens) == (22, 10)
    assert stage.sent.json() == {"messages": USER}
    await client.close()


@pytest.mark.parametrize("size", [1, 4096])
async def test_openais_sdk_streams_tools_from_bedrock(begin: Begin, size: int) -> None:
    stage = await begin(Bedrock(stream=CALLED, size=size))
    client = connect(openai.AsyncOpenAI, stage.url)
    tools = [{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}]

    def open_stream() -> Any:
        return client.chat.completions.create(
            model="gpt",
            messages=[{"role": "user", "content": "Who?"}],
            tools=tools,
            stream=True,
            stream_options={"include_usage": True},
        )

    shown = await events(client, open_stream)
    calls = [call for one in shown for choice in one.choices for call in choice.delta.tool_calls or []]
    assert (calls[0].id, calls[0].function.name) == ("t1", "lookup")
    assert "".join(call.function.arguments or "" for call in calls) == '{"q":"Ada"}'
    assert shown[-1].usage.completion_tokens == 5
    assert stage.sent.json()["toolConfig"] == {
        "tools": [{"toolSpec": {"name": "lookup", "inputSchema": {"json": {"type": "object"}}}}]
    }
    await client.close()


async def test_anthropics_sdk_talks_to_bedrock(begin: Begin) -> None:
    stage = await begin(Bedrock(stream=CALLED, size=5))
    client = connect(anthropic.AsyncAnthropic, stage.url)
    asked = {
        "model": "claude",
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": "Who?"}],
        "tools": [{"name": "lookup", "input_schema": {"type": "object"}}],
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    }
    answer = await client.messages.create(**asked, extra_headers={"anthropic-beta": "interleaved-thinking-2025-05-14"})
    assert (answer.content[0].text, answer.model) == ("Hello, Ada.", "claude")
    assert stage.sent.json()["additionalModelRequestFields"] == {
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "anthropic_beta": ["interleaved-thinking-2025-05-14"],
    }
    async with client.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    assert [(one.type, getattr(one, "input", None) or one.thinking) for one in final.content] == [
        ("thinking", "Look it up."),
        ("tool_use", {"q": "Ada"}),
    ]
    assert (final.content[0].signature, final.stop_reason) == ("c2ln", "tool_use")
    assert (final.usage.input_tokens, final.usage.cache_read_input_tokens) == (12, 10)
    await client.close()


# boto3 to other vendors


def other(vendor: str) -> Callable[[Received], bytes | AsyncIterator[bytes]]:
    """A vendor that answers with the transcripts of the matrix."""

    def answer(request: Received) -> bytes | AsyncIterator[bytes]:
        document = request.json()
        name = "tools" if document.get("tools") else "text"
        if not document.get("stream"):
            return b"".join(whole((vendor,), name))
        return sent(pieces(*streamed((vendor,), name)))

    return answer


async def sent(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize(("provider", "folder"), [("openAI", "completions"), ("anthropic", "messages")])
async def test_boto3_talks_to_other_vendors(serve: Any, provider: str, folder: str) -> None:
    async with Upstream(other(folder)) as upstream:
        config = json.loads(configuration(upstream.address, params={"model": None, "apiKey": "k"}))
        config["llm"]["models"][0]["provider"] = provider
        gateway = await serve(as_yaml(json.dumps(config)))
        answer = await ask(gateway.url, inferenceConfig={"maxTokens": 100, "temperature": 0.5})
        shown = await ask(gateway.url, "converse_stream")
        text = answer["output"]["message"]["content"][0]["text"]
        assert text and said(shown) == text
        assert shown[0] == {"messageStart": {"role": "assistant"}}
        assert shown[-1]["metadata"]["usage"] == answer["usage"]
        assert answer["usage"]["totalTokens"] > 0
        called = await ask(gateway.url, toolConfig=TOOLS)
        (use,) = [one["toolUse"] for one in called["output"]["message"]["content"] if "toolUse" in one]
        shown = await ask(gateway.url, "converse_stream", toolConfig=TOOLS)
        told = [one["contentBlockDelta"]["delta"] for one in shown if "contentBlockDelta" in one]
        assert json.loads("".join(one["toolUse"]["input"] for one in told if "toolUse" in one)) == use["input"]
        assert called["stopReason"] == "tool_use"
        assert {"messageStop": {"stopReason": "tool_use"}} in shown
        assert not any("canary" in value for one in upstream.received for value in one.headers.values())


# errors


async def test_errors_of_bedrock_in_everybodys_words(begin: Begin) -> None:
    stage = await begin(Bedrock(refusal=refused(429, "ThrottlingException", "Too many requests, please wait.")))
    for method in ("converse", "converse_stream"):
        with pytest.raises(ClientError) as caught:
            await ask(stage.url, method)
        assert caught.value.response["Error"] == {
            "Code": "ThrottlingException",
            "Message": "Too many requests, please wait.",
        }
    client = connect(openai.OpenAI, stage.url)
    with pytest.raises(openai.RateLimitError, match="Too many requests, please wait"):
        await result(client, lambda: client.chat.completions.create(model="m", messages=[]))
    client.close()
    claude = connect(anthropic.Anthropic, stage.url)
    with pytest.raises(anthropic.RateLimitError, match="Too many requests, please wait"):
        await result(claude, lambda: claude.messages.create(model="m", max_tokens=5, messages=[]))
    claude.close()


async def test_errors_of_the_gateway_in_boto3s_words(begin: Begin) -> None:
    stage = await begin(name="only-this")
    with pytest.raises(ClientError) as caught:
        await ask(stage.url, model="something.else")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{stage.url}/model/only-this/invoke", json={})
        assert answer.status_code == 400 and "ValidationException" in answer.text
        bodies = {"input": {"invokeModel": {"body": "e30="}}}
        answer = await client.post(f"{stage.url}/model/only-this/count-tokens", json=bodies)
        assert answer.status_code == 400 and "input.converse" in answer.text
    assert stage.upstream.received == []


async def test_an_error_of_another_vendor_is_an_exception_of_bedrock(serve: Any) -> None:
    limit = {"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}
    async with Upstream(reply(429, limit)) as upstream:
        config = json.loads(configuration(upstream.address, params={"model": None, "apiKey": "k"}))
        config["llm"]["models"][0]["provider"] = "openAI"
        gateway = await serve(as_yaml(json.dumps(config)))
        with pytest.raises(ClientError) as caught:
            await ask(gateway.url)
        assert caught.value.response["Error"] == {"Code": "ThrottlingException", "Message": "slow down"}


async def test_an_exception_in_the_middle_of_a_stream(begin: Begin) -> None:
    throttled = [*SPOKEN[:2], {"throttlingException": {"message": "Too many tokens."}}]
    stage = await begin(Bedrock(stream=throttled, size=3))
    with pytest.raises(EventStreamError, match="Too many tokens"):
        await ask(stage.url, "converse_stream")
    client = connect(openai.OpenAI, stage.url)
    with pytest.raises(openai.APIError, match="Too many tokens"):
        await events(client, lambda: client.chat.completions.create(model="m", messages=[], stream=True))
    client.close()


@pytest.mark.parametrize("inside", [True, False])
async def test_a_stream_that_dies_tells_boto3_where_it_can(begin: Begin, inside: bool) -> None:
    """At the end of a frame an exception can follow; inside one nothing can, and the connection is cut."""

    class Dying(Bedrock):
        async def _pieces(self) -> AsyncIterator[bytes]:
            yield stream_head(EVENT_STREAM)
            data = frames(SPOKEN[:2])
            yield chunk(data[:-3] if inside else data)
            await asyncio.sleep(0.05)
            raise ConnectionError

    stage = await begin(Dying())
    with pytest.raises(Exception, match="." if inside else "upstream") as caught:
        await ask(stage.url, "converse_stream")
    assert isinstance(caught.value, EventStreamError) != inside


# guards


def guarded(action: str) -> dict[str, Any]:
    return {"guardrails": {"response": [{"regex": {"action": action, "rules": [{"pattern": "Ada"}]}}]}}


@pytest.mark.parametrize("size", [1, 4096])
async def test_guards_mask_a_stream_of_frames(begin: Begin, size: int) -> None:
    stage = await begin(Bedrock(size=size), **guarded("mask"))
    shown = await ask(stage.url, "converse_stream")
    assert said(shown).startswith("Hello, ")
    assert "Ada" not in said(shown)
    assert shown[-1]["metadata"]["usage"] == USAGE


@pytest.mark.parametrize("size", [1, 4096])
async def test_guards_block_a_stream_of_frames(begin: Begin, size: int) -> None:
    stage = await begin(Bedrock(size=size), **guarded("reject"))
    with pytest.raises(EventStreamError, match="inappropriate"):
        await ask(stage.url, "converse_stream")
    with pytest.raises(ClientError):
        await ask(stage.url)


# counting tokens


async def count(url: str, model: str = "smart") -> int:
    def call() -> int:
        client = amazon(url)
        try:
            asked = {"converse": {"messages": USER, "system": [{"text": "Be kind."}]}}
            return int(client.count_tokens(modelId=model, input=asked)["inputTokens"])
        finally:
            client.close()

    return await asyncio.to_thread(call)


async def test_boto3_counts_tokens_with_bedrock(begin: Begin) -> None:
    stage = await begin(Bedrock(whole={"inputTokens": 23}))
    assert await count(stage.url) == 23
    assert stage.sent.target == PATH.removesuffix("/converse") + "/count-tokens"
    assert json.loads(stage.sent.body)["input"]["converse"]["system"] == [{"text": "Be kind."}]


async def test_anthropics_sdk_counts_tokens_with_bedrock(begin: Begin) -> None:
    stage = await begin(Bedrock(whole={"inputTokens": 23}))
    client = connect(anthropic.AsyncAnthropic, stage.url)
    async with client:
        counted = await client.messages.count_tokens(
            model="smart", messages=[{"role": "user", "content": "Hi"}], system="Be kind."
        )
    assert counted.input_tokens == 23
    converse = json.loads(stage.sent.body)["input"]["converse"]
    assert converse == {"messages": USER, "system": [{"text": "Be kind."}]}


async def test_what_bedrock_does_not_count_is_estimated_without_a_request(begin: Begin) -> None:
    stage = await begin(params={"model": "amazon.nova-pro-v1:0"})
    assert 5 <= await count(stage.url) <= 15
    assert not stage.upstream.received
