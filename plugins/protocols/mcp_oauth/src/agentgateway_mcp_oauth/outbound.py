"""Requests to an identity provider: bounded in time and size, redirects not followed, and nothing of them in a log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from agentgateway.errors import UpstreamError

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 1024 * 1024
SECONDS = 10.0
ALWAYS = {"accept": "application/json", "accept-encoding": "identity"}  # so that MAX_BYTES is what is held
PASSED_BACK = ("www-authenticate", "retry-after")


class ProviderFailed(UpstreamError):
    """The identity provider did not answer, or not as it should. `said` is the status of an answer without a document
    in it."""

    said: int | None = None

    code = "authorization_server_unavailable"
    default_message = "the authorization server cannot be asked"
    retryable = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the identity provider says: a status other than a redirect, and a JSON object, which may hold tokens."""

    status: int
    document: dict[str, Any] = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()


async def ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request. Raises `ProviderFailed`, which quotes neither the URL nor what was sent or came."""
    import httpx

    sent = {**ALWAYS, **(headers or {})}
    content = bytearray()
    try:
        async with (
            asyncio.timeout(SECONDS),
            client.stream(method, url, content=body or None, headers=sent, follow_redirects=False) as response,
        ):
            async for chunk in response.aiter_raw():  # what comes compressed all the same is not unpacked
                content += chunk
                if len(content) > MAX_BYTES:
                    raise ProviderFailed(detail=f"more than {MAX_BYTES} bytes")
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise ProviderFailed(detail=type(error).__name__) from None
    passed = tuple((name, response.headers[name]) for name in PASSED_BACK if name in response.headers)
    return Answer(response.status_code, _document(response.status_code, bytes(content)), passed)


def _document(status: int, content: bytes) -> dict[str, Any]:
    if not (200 <= status < 300 or status >= 400):
        raise _said(status, f"status {status}")
    try:
        document = from_json(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _said(status, f"status {status}, and not a JSON object")
    return document


def _said(status: int, detail: str) -> ProviderFailed:
    error = ProviderFailed(detail=detail)
    error.said = status
    return error
