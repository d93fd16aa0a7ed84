"""Questions to Azure over HTTP, several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import httpx
from pydantic_core import to_json

from agentgateway.errors import GuardFailed
from agentgateway.settings import Secret
from agentgateway_guardrail_azure_content_safety.api import Operation

AT_ONCE = 8
"""Questions under way about one message."""
LONGEST = 1024 * 1024
"""Bytes of an answer."""


class Azure:
    """One resource."""

    def __init__(self, client: httpx.AsyncClient, endpoint: str, key: Secret) -> None:
        self._client = client
        self._endpoint = endpoint
        self._key = key

    async def first_found(self, questions: Iterable[tuple[Operation, str]]) -> str:
        """What is wrong with one of those texts, or nothing. The first finding ends it for all, also when another
        question failed: what was found must not pass because a guard fails open.

        Raises `GuardFailed`. How long it may take is the caller's to say.
        """
        room = asyncio.Semaphore(AT_ONCE)

        async def ask(operation: Operation, text: str) -> str:
            async with room:
                return operation.found(await self._answered(operation, text))

        tasks = [asyncio.create_task(ask(operation, text)) for operation, text in questions]
        failure: GuardFailed | None = None
        try:
            for done in asyncio.as_completed(tasks):
                try:
                    if found := await done:
                        return found
                except GuardFailed as error:
                    failure = error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if failure is not None:
            raise failure
        return ""

    async def _answered(self, operation: Operation, text: str) -> bytes:
        """The body of a 200. Raises `GuardFailed`, with a detail that has nothing of what was sent or received."""
        headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",  # so that LONGEST is what is held
            "ocp-apim-subscription-key": self._key.reveal(),
        }
        body = to_json({"text": text, **operation.fields})
        url = self._endpoint + operation.target
        answer = bytearray()
        try:
            async with self._client.stream("POST", url, headers=headers, content=body, timeout=None) as response:
                if response.status_code != 200:
                    raise GuardFailed(detail=f"{operation.name}: Azure answered with status {response.status_code}")
                async for chunk in response.aiter_bytes():
                    answer += chunk
                    if len(answer) > LONGEST:
                        raise GuardFailed(detail=f"{operation.name}: an answer of more than {LONGEST} bytes")
        except httpx.HTTPError as error:
            raise GuardFailed(detail=f"{operation.name}: cannot be asked: {type(error).__name__}") from None
        return bytes(answer)
