"""The official clients as tests use them: sync or async, asked in the same way, never retrying.

Sync clients run in a thread, for the vendors that they reach through the gateway live in the test's event loop.
"""

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest

KEY = "sk-of-the-client"
OPENAI = (openai.OpenAI, openai.AsyncOpenAI)
ANTHROPIC = (anthropic.Anthropic, anthropic.AsyncAnthropic)


def connect(sdk: Any, url: str, key: str = KEY, **more: Any) -> Any:
    base = f"{url}/v1" if sdk in OPENAI else url
    return sdk(base_url=base, api_key=key, max_retries=0, timeout=20, **more)


def old_style(sdk: Any, url: str, key: str = KEY, **more: Any) -> Any:
    """Anthropic's client as it was until version 1: the key in a header of its own."""
    headers = {"x-api-key": key, "authorization": anthropic.Omit()}
    return connect(sdk, url, key, default_headers=headers, **more)


def waits(client: Any) -> bool:
    return isinstance(client, openai.AsyncOpenAI | anthropic.AsyncAnthropic)


async def closed(client: Any) -> None:
    await client.close() if waits(client) else client.close()


async def result(client: Any, ask: Callable[[], Any]) -> Any:
    """What a call returns."""
    return await ask() if waits(client) else await asyncio.to_thread(ask)


async def events(client: Any, ask: Callable[[], Any]) -> list[Any]:
    """What a call that returns a stream, or a page, yields."""
    if not waits(client):
        return await asyncio.to_thread(lambda: list(ask()))
    source = ask()
    return [event async for event in (await source if asyncio.iscoroutine(source) else source)]


async def told(client: Any, open_stream: Callable[[], Any], final: str) -> tuple[list[Any], Any]:
    """The events of one of the clients' stream helpers, and what it puts together in the end."""
    if waits(client):
        async with open_stream() as stream:
            return [event async for event in stream], await getattr(stream, final)()

    def listen() -> tuple[list[Any], Any]:
        with open_stream() as stream:
            return list(stream), getattr(stream, final)()

    return await asyncio.to_thread(listen)


UNREAD = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_generator object:pytest.PytestUnraisableExceptionWarning"
)
"""An SDK that raises in the middle of a stream leaves its HTTP library's nested generators to the collector, which may
close an outer one while it still closes the inner one ("already executing"). Any of the library's generators may be
the one that complains; ours run in the gateway's process."""


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """What the SDKs left unread is found here, and not in somebody else's test."""
    yield
    gc.collect()
