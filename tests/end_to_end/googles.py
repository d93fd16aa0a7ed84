"""Google on loopback: a fake vendor that answers as its documentation shows, and its official client.

The vendor holds what it is asked against the SDK's own types.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from google import genai
from google.genai import types

from agentgateway.testing import Received
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

Json = dict[str, Any]
HELLO = "Hello Ada ☕, schön dich zu sehen."
HEAD = {"modelVersion": "gemini-2.5-flash-001", "responseId": "rEsP0nSe"}
USAGE = {
    "promptTokenCount": 120,
    "candidatesTokenCount": 9,
    "thoughtsTokenCount": 22,
    "cachedContentTokenCount": 64,
    "totalTokenCount": 151,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 120}],
}
SIGNED = "CpcBAdHtim8rc2lnKzE="
TEXT = [
    [{"text": "Say ", "thought": True}],
    [{"text": "Hello"}],
    [{"text": " Ada ☕"}, {"text": ", schön dich zu sehen."}],
]
CALLED = [
    [{"text": "Both.", "thought": True}],
    [
        {"functionCall": {"name": "get_weather", "args": {"city": "Paris", "days": 3}}, "thoughtSignature": SIGNED},
        {"functionCall": {"name": "get_weather", "args": {"city": "Oslo", "days": 3}}},
    ],
]


def candidate(parts: list[Json], finish: str | None = None) -> Json:
    made: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    return made | ({} if finish is None else {"finishReason": finish})


@dataclass
class Google:
    """The fake vendor. `says` are the parts of each event, one after the other in a whole answer."""

    says: list[list[Json]] = field(default_factory=lambda: TEXT)
    finish: str = "STOP"
    refusal: bytes | None = None
    dies: bool = False
    size: int = 29

    def __call__(self, request: Received) -> Any:
        check_asked(request)
        if self.refusal is not None:
            return self.refusal
        if "stream" in request.target:
            assert request.target.endswith(":streamGenerateContent?alt=sse")
            return self._pieces()
        parts = [part for event in self.says for part in event]
        return reply(200, {"candidates": [candidate(parts, self.finish)], "usageMetadata": USAGE, **HEAD})

    async def _pieces(self) -> AsyncIterator[bytes]:
        last = len(self.says) - 1
        documents = [
            {"candidates": [candidate(parts, self.finish if i == last else None)], "usageMetadata": USAGE, **HEAD}
            for i, parts in enumerate(self.says)
        ]
        data = b"".join(b"data: %b\r\n\r\n" % json.dumps(one, ensure_ascii=False).encode() for one in documents)
        yield stream_head("text/event-stream")
        if self.dies:
            yield chunk(data[: data.index(b"\r\n\r\n", data.index(b"Hello")) + 4])
            raise ConnectionError("the vendor dies here")
        for at in range(0, len(data), self.size):
            yield chunk(data[at : at + self.size])
        yield LAST


def check_asked(request: Received) -> None:
    """The vendor's own types know no other fields than the published ones."""
    document = request.json()
    assert request.method == "POST"
    known = {
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "generationConfig",
        "safetySettings",
        "serviceTier",
    }
    assert document.keys() <= known
    for content in document["contents"]:
        types.Content.model_validate(content)
    for tool in document.get("tools", ()):
        types.Tool.model_validate(tool)
    types.GenerationConfig.model_validate(document.get("generationConfig", {}))
    types.ToolConfig.model_validate(document.get("toolConfig", {}))


class Sdk:
    """Google's client, asked in the same way whether it is sync or async."""

    def __init__(
        self, url: str, version: str | None = None, waits: bool = True, key: str = "AIza-of-the-client"
    ) -> None:
        options = types.HttpOptions(base_url=url, timeout=20_000, api_version=version)
        self.client = genai.Client(api_key=key, http_options=options, vertexai=False)
        self.waits = waits

    async def generate(self, **asked: Any) -> types.GenerateContentResponse:
        asked.setdefault("contents", "Say hello to Ada.")
        if self.waits:
            return await self.client.aio.models.generate_content(**asked)
        return await asyncio.to_thread(lambda: self.client.models.generate_content(**asked))

    async def stream(self, **asked: Any) -> list[types.GenerateContentResponse]:
        asked.setdefault("contents", "Say hello to Ada.")
        if self.waits:
            return [one async for one in await self.client.aio.models.generate_content_stream(**asked)]
        return await asyncio.to_thread(lambda: list(self.client.models.generate_content_stream(**asked)))

    async def close(self) -> None:
        await self.client.aio.aclose()
        self.client.close()


def joined(answers: list[types.GenerateContentResponse]) -> str:
    return "".join(one.text or "" for one in answers)


def called(answers: list[types.GenerateContentResponse]) -> list[types.FunctionCall]:
    return [call for one in answers for call in one.function_calls or ()]
