"""One question to the webhook over HTTP."""

from __future__ import annotations

import httpx

from agentgateway.errors import GuardFailed

PLAIN = (b"content-type", b"application/json"), (b"accept", b"application/json"), (b"accept-encoding", b"identity")
"""Headers of every question; the reply comes uncompressed, so that its limit is what is held."""


async def answered(
    client: httpx.AsyncClient, method: str, url: str, headers: list[tuple[bytes, bytes]], body: bytes, limit: int
) -> bytes:
    """The body of a 2xx reply, of at most `limit` bytes. How long it may take is the caller's to say.

    Raises `GuardFailed`, with a detail that has nothing of what was sent or received.
    """
    answer = bytearray()
    try:
        request = client.build_request(method, url, headers=[*PLAIN, *headers], content=body, timeout=None)
        response = await client.send(request, stream=True)
        try:
            if not response.is_success:
                raise GuardFailed(detail=f"the webhook answered with status {response.status_code}")
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > limit:
                    raise GuardFailed(detail=f"the webhook's reply has more than {limit} bytes")
        finally:
            await response.aclose()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise GuardFailed(detail=f"the webhook cannot be asked: {type(error).__name__}") from None
    return bytes(answer)
