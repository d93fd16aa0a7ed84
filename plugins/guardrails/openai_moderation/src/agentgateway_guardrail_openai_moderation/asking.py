"""Questions to OpenAI by its own package, on the gateway's connections."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import httpx
from openai import APIStatusError, AsyncOpenAI, OpenAIError

from agentgateway.errors import GuardFailed
from agentgateway.settings import Secret
from agentgateway_guardrail_openai_moderation.api import found

AT_ONCE = 32
"""Texts of one question."""
LONGEST_ANSWER = 1024 * 1024
"""Bytes."""


class Moderations:
    """The moderation endpoint of one account."""

    def __init__(self, client: Any, base_url: str, key: Secret, model: str) -> None:
        logging.getLogger("openai").setLevel(logging.INFO)  # at `debug` it quotes what it sends
        self._model = model
        self._openai = AsyncOpenAI(
            api_key=key.reveal(),
            base_url=base_url,
            http_client=client,
            max_retries=0,
            timeout=None,
            default_headers={"accept-encoding": "identity"},  # so that LONGEST_ANSWER is what is held
        )

    async def first_found(self, texts: Sequence[str]) -> str:
        """What is wrong with one of those texts, or nothing. What was found counts also when another question failed:
        it must not pass because a guard fails open.

        Raises `GuardFailed`. How long it may take is the caller's to say.
        """
        failure: GuardFailed | None = None
        for start in range(0, len(texts), AT_ONCE):
            asked = texts[start : start + AT_ONCE]
            try:
                if wrong := found(await self._answered(asked), len(asked)):
                    return wrong
            except GuardFailed as error:
                failure = error
        if failure is not None:
            raise failure
        return ""

    async def _answered(self, texts: Sequence[str]) -> bytes:
        """The body of a 2xx. Raises `GuardFailed`, with a detail that has nothing of what was sent or received."""
        answer = bytearray()
        asking = self._openai.moderations.with_streaming_response.create(input=list(texts), model=self._model)
        try:
            async with asking as response:
                async for chunk in response.iter_bytes():
                    answer += chunk
                    if len(answer) > LONGEST_ANSWER:
                        raise GuardFailed(detail=f"an answer of more than {LONGEST_ANSWER} bytes")
        except APIStatusError as error:
            raise GuardFailed(detail=f"OpenAI answered with status {error.status_code}") from None
        except (OpenAIError, httpx.HTTPError) as error:
            raise GuardFailed(detail=f"OpenAI cannot be asked: {type(error).__name__}") from None
        return bytes(answer)
