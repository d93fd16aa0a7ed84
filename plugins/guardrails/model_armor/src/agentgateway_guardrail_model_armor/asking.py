"""Questions to Model Armor by Google's own package over gRPC, several at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import google.auth
import grpc
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud.modelarmor_v1 import DataItem, ModelArmorAsyncClient
from google.cloud.modelarmor_v1 import SanitizeModelResponseRequest as ModelResponse
from google.cloud.modelarmor_v1 import SanitizeUserPromptRequest as UserPrompt
from google.cloud.modelarmor_v1.services.model_armor.transports import ModelArmorGrpcAsyncIOTransport as Transport

from agentgateway.errors import GuardFailed
from agentgateway.interfaces import GuardPhase
from agentgateway_guardrail_model_armor.api import found, pieces
from agentgateway_guardrail_model_armor.config import ModelArmorConfig

AT_ONCE = 8
"""Questions under way about one message."""
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class ModelArmor:
    """One template. The connection is opened with the first question, when credentials have been found."""

    def __init__(self, config: ModelArmorConfig, phase: GuardPhase) -> None:
        logging.getLogger("google").setLevel(logging.INFO)  # at `debug` it quotes what it sends
        self._config = config
        self._phase = phase
        self._opening = asyncio.Lock()
        self._client: ModelArmorAsyncClient | None = None

    async def first_found(self, texts: Iterable[str]) -> str:
        """What is wrong with one of those texts, or nothing. The first finding ends it for all, also when another
        question failed: what was found must not pass because a guard fails open.

        Raises `GuardFailed`. How long it may take is the caller's to say.
        """
        client = await self._opened()
        room = asyncio.Semaphore(AT_ONCE)

        async def ask(text: str) -> str:
            async with room:
                return await self._found(client, text)

        asked = dict.fromkeys(piece for text in texts for piece in pieces(text))
        tasks = [asyncio.create_task(ask(text)) for text in asked]
        failure: GuardFailed | None = None
        try:
            for done in asyncio.as_completed(tasks):
                try:
                    if wrong := await done:
                        return wrong
                except GuardFailed as error:
                    failure = error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if failure is not None:
            raise failure
        return ""

    async def stop(self) -> None:
        if self._client is not None:
            transport: Any = self._client.transport
            await transport.close()

    async def _found(self, client: ModelArmorAsyncClient, text: str) -> str:
        """Raises `GuardFailed`, with a detail that has nothing of what was sent or received."""
        name, item = self._config.template, DataItem(text=text)
        try:
            if self._phase == "request":
                prompt = UserPrompt(name=name, user_prompt_data=item)
                answer: Any = await client.sanitize_user_prompt(prompt, retry=None, timeout=None)
            else:
                response = ModelResponse(name=name, model_response_data=item)
                answer = await client.sanitize_model_response(response, retry=None, timeout=None)
        except (GoogleAPIError, GoogleAuthError, grpc.RpcError) as error:
            raise GuardFailed(detail=f"Model Armor cannot be asked: {type(error).__name__}") from None
        return found(answer.sanitization_result)

    async def _opened(self) -> ModelArmorAsyncClient:
        async with self._opening:
            if self._client is None:
                self._client = ModelArmorAsyncClient(transport=await self._transport())
            return self._client

    async def _transport(self) -> Transport:
        config = self._config
        url = urlsplit(config.endpoint or f"https://modelarmor.{config.location}.rep.googleapis.com")
        if url.scheme == "http":
            return Transport(channel=grpc.aio.insecure_channel(url.netloc))
        try:
            credentials, _ = await asyncio.to_thread(google.auth.default, scopes=SCOPES)
        except (GoogleAuthError, OSError, ValueError) as error:
            raise GuardFailed(detail=f"no Google credentials: {type(error).__name__}") from None
        return Transport(host=url.netloc, credentials=credentials)
