"""One question to Bedrock over HTTP."""

from __future__ import annotations

import httpx

from agentgateway.errors import GuardFailed
from agentgateway.exchange import Outgoing

LONGEST = 4 * 1024 * 1024
"""Bytes of an answer."""


async def answered(client: httpx.AsyncClient, outgoing: Outgoing, body: bytes) -> bytes:
    """The body of a 200. How long it may take is the caller's to say.

    Raises `GuardFailed`, with a detail that has nothing of what was sent or received.
    """
    headers = list(outgoing.headers)
    if outgoing.authority is not None:
        headers.append(("host", outgoing.authority))
    url = outgoing.url + outgoing.target
    answer = bytearray()
    try:
        async with client.stream("POST", url, headers=headers, content=body, timeout=None) as response:
            if response.status_code != 200:
                raise GuardFailed(detail=f"Bedrock answered with status {response.status_code}")
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > LONGEST:
                    raise GuardFailed(detail=f"an answer of more than {LONGEST} bytes")
    except httpx.HTTPError as error:
        raise GuardFailed(detail=f"Bedrock cannot be asked: {type(error).__name__}") from None
    return bytes(answer)
