"""Each official SDK in front of each provider, whole and streamed: a text, and the call of a tool.

The providers are those of the matrix, which has all the rest; here it is the SDKs that read the answers.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anthropic
import boto3
import openai
import pytest
import pytest_asyncio
from botocore.config import Config
from google import genai
from google.genai import types

from agentgateway.testing import Upstream

from .matrix.calls import Call
from .matrix.cases import CASES, WEATHER
from .matrix.facts import Json
from .matrix.served import collected, configuration
from .matrix.transcripts import played
from .matrix.vendors import SPEAKERS, VENDORS
from .sdks import KEY, UNREAD
from .sdks import collected as unread

__all__ = ["unread"]
pytestmark = [pytest.mark.asyncio(loop_scope="module"), UNREAD]
NAME, ABOUT, SCHEMA = WEATHER
HELLO, CALL = "Say hello to Ada.", f"How will the weather be in Paris? Ask {NAME}."
Said = tuple[str, list[tuple[str, Json]]]
"""The text of an answer, and the tools that it calls."""


def asking(tools: bool) -> list[Any]:
    return [{"role": "user", "content": CALL if tools else HELLO}]


class Sdk:
    """An official client. `dialect` is that of its calls in the matrix."""

    dialect: str

    def __init__(self, url: str) -> None:
        raise NotImplementedError

    async def said(self, model: str, *, tools: bool, stream: bool) -> Said:
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of connections."""


class OpenAi(Sdk):
    dialect = "completions"

    def __init__(self, url: str) -> None:
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=20)

    async def said(self, model: str, *, tools: bool, stream: bool) -> Said:
        asked: Json = {"model": model, "messages": asking(tools)}
        if tools:
            function = {"name": NAME, "description": ABOUT, "parameters": SCHEMA}
            asked["tools"] = [{"type": "function", "function": function}]
        if not stream:
            message = (await self.client.chat.completions.create(**asked)).choices[0].message
        else:
            async with self.client.chat.completions.stream(**asked) as events:
                message = (await events.get_final_completion()).choices[0].message
        calls = [one.function for one in message.tool_calls or ()]
        return message.content or "", [(one.name, json.loads(one.arguments)) for one in calls]

    async def close(self) -> None:
        await self.client.close()


class Responses(OpenAi):
    dialect = "responses"

    async def said(self, model: str, *, tools: bool, stream: bool) -> Said:
        asked: Json = {"model": model, "input": asking(tools)}
        if tools:
            asked["tools"] = [{"type": "function", "name": NAME, "description": ABOUT, "parameters": SCHEMA}]
        if not stream:
            answer = await self.client.responses.create(**asked)
        else:
            async with self.client.responses.stream(**asked) as events:
                answer = await events.get_final_response()
        calls = [one for one in answer.output if one.type == "function_call"]
        return answer.output_text, [(one.name, json.loads(one.arguments)) for one in calls]


class Anthropic(Sdk):
    dialect = "messages"

    def __init__(self, url: str) -> None:
        self.client = anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0, timeout=20)

    async def said(self, model: str, *, tools: bool, stream: bool) -> Said:
        asked: Json = {"model": model, "messages": asking(tools), "max_tokens": 300}
        if tools:
            asked["tools"] = [{"name": NAME, "description": ABOUT, "input_schema": SCHEMA}]
        if not stream:
            answer = await self.client.messages.create(**asked)
        else:
            async with self.client.messages.stream(**asked) as events:
                answer = await events.get_final_message()
        calls = [(one.name, dict(one.input)) for one in answer.content if one.type == "tool_use"]
        return "".join(one.text for one in answer.content if one.type == "text"), calls

    async def close(self) -> None:
        await self.client.close()


class Google(Sdk):
    dialect = "gemini"

    def __init__(self, url: str) -> None:
        self.client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url, timeout=20_000))

    async def said(self, model: str, *, tools: bool, stream: bool) -> Said:
        function = types.FunctionDeclaration(name=NAME, description=ABOUT, parameters_json_schema=SCHEMA)
        config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[function])] if tools else None)
        asked: Json = {"model": model, "contents": CALL if tools else HELLO, "config": config}
        models = self.client.aio.models
        if not stream:
            answers = [await models.generate_content(**asked)]
        else:
            answers = [one async for one in await models.generate_content_stream(**asked)]
        parts = [part for one in answers for part in one.parts or () if not part.thought]
        calls = [one.function_call for one in parts if one.function_call]
        return "".join(one.text or "" for one in parts), [(one.name or "", dict(one.args or {})) for one in calls]

    async def close(self) -> None:
        await self.client.aio.aclose()
        self.client.close()


class Amazon(Sdk):
    dialect = "converse"

    def __init__(self, url: str) -> None:
        config = Config(retries={"total_max_attempts": 1}, read_timeout=20)
        keys = {"aws_access_key_id": "AKIDCLIENT", "aws_secret_access_key": KEY}
        self.client = boto3.client("bedrock-runtime", endpoint_url=url, region_name="x", config=config, **keys)

    async def said(self, model: str, *, tools: bool, stream: bool) -> Said:
        content = [{"text": CALL if tools else HELLO}]
        asked: Json = {"modelId": model, "messages": [{"role": "user", "content": content}]}
        if tools:
            tool = {"name": NAME, "description": ABOUT, "inputSchema": {"json": SCHEMA}}
            asked["toolConfig"] = {"tools": [{"toolSpec": tool}]}
        return await asyncio.to_thread(self._streamed if stream else self._whole, asked)

    def _whole(self, asked: Json) -> Said:
        content = self.client.converse(**asked)["output"]["message"]["content"]
        calls = [(one["toolUse"]["name"], one["toolUse"]["input"]) for one in content if "toolUse" in one]
        return "".join(one.get("text", "") for one in content), calls

    def _streamed(self, asked: Json) -> Said:
        text, names, inputs = "", {}, {}
        for event in self.client.converse_stream(**asked)["stream"]:
            if "contentBlockStart" in event and "toolUse" in event["contentBlockStart"]["start"]:
                begun = event["contentBlockStart"]
                names[begun["contentBlockIndex"]] = begun["start"]["toolUse"]["name"]
            elif "contentBlockDelta" in event:
                at, delta = event["contentBlockDelta"]["contentBlockIndex"], event["contentBlockDelta"]["delta"]
                text += delta.get("text", "")
                inputs[at] = inputs.get(at, "") + delta.get("toolUse", {}).get("input", "")
        return text, [(name, json.loads(inputs[at])) for at, name in names.items()]

    async def close(self) -> None:
        self.client.close()


class AmazonsBodies(Amazon):
    """`invoke_model`, with the bodies that Bedrock publishes for Anthropic's models."""

    dialect = "invoke"

    async def said(self, model: str, *, tools: bool, stream: bool) -> Said:
        body: Json = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 300, "messages": asking(tools)}
        if tools:
            body["tools"] = [{"name": NAME, "description": ABOUT, "input_schema": SCHEMA}]
        asked: Json = {"modelId": model, "body": json.dumps(body)}
        return await asyncio.to_thread(self._streamed if stream else self._whole, asked)

    def _whole(self, asked: Json) -> Said:
        content = json.loads(self.client.invoke_model(**asked)["body"].read())["content"]
        calls = [(one["name"], one["input"]) for one in content if one["type"] == "tool_use"]
        return "".join(one.get("text", "") for one in content), calls

    def _streamed(self, asked: Json) -> Said:
        text, names, inputs = "", {}, {}
        for chunk in self.client.invoke_model_with_response_stream(**asked)["body"]:
            event = json.loads(chunk["chunk"]["bytes"])
            if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use":
                names[event["index"]] = event["content_block"]["name"]
            elif event["type"] == "content_block_delta":
                text += event["delta"].get("text", "")
                inputs[event["index"]] = inputs.get(event["index"], "") + event["delta"].get("partial_json", "")
        return text, [(name, json.loads(inputs[at])) for at, name in names.items()]


SDKS: Sequence[type[Sdk]] = (OpenAi, Responses, Anthropic, Google, Amazon, AmazonsBodies)


@dataclass
class Stage:
    url: str
    upstream: Upstream

    def play(self, call: Call) -> None:
        said = [] if call.vendor.simulated else call.answer()[0]
        self.upstream.answer = lambda request: played(said)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(serve_all: Callable[..., Awaitable[Any]]) -> AsyncIterator[Stage]:
    async with Upstream(b"") as upstream:
        yield Stage((await serve_all(configuration(upstream.address))).url, upstream)


@pytest.mark.parametrize("kind", SDKS, ids=lambda kind: kind.__name__)
async def test_an_sdk_drives_every_provider(stage: Stage, kind: type[Sdk]) -> None:
    sdk = kind(stage.url)
    vendors = [vendor for vendor in VENDORS if kind.dialect in vendor.clients]
    assert {name for vendor in vendors for name in vendor.provider} == {n for v in VENDORS for n in v.provider}
    with collected(kind.__name__) as attempt:
        for vendor in vendors:
            for name, stream in (("text", False), ("text", True), ("tools", False), ("tools", True)):
                call = Call(SPEAKERS[kind.dialect], vendor, name, stream)
                stage.play(call)
                with attempt(call):
                    text, calls = await sdk.said(call.asks, tools=name == "tools", stream=stream)
                    assert calls == list(CASES[name].seen.calls)
                    assert text == CASES[name].seen.text
    await sdk.close()
