"""Sending a streamed request body while the answer may already be coming."""

import asyncio
from collections.abc import AsyncIterator

from agentgateway._host.h1_client import H1Connection
from agentgateway._host.suspension import until_done
from agentgateway._host.upstream_response import UpstreamResponse
from agentgateway.errors import InvalidRequest


async def upload(
    connection: H1Connection,
    response: UpstreamResponse,
    body: AsyncIterator[bytes],
    length: int | None,
    head_timeout: float | None,
) -> None:
    """Send `body`, as chunks when it has no `length`, until `response` has something to say; the rest is not sent.

    The body is read in a task, because the answer may come while it has nothing to give. `head_timeout` runs only
    while the upstream has the next move: to take bytes, or to answer. What `body` raises ends the exchange and is
    `response.failure`; `InvalidRequest` says that its size was not `length`.
    """
    sending = asyncio.create_task(_send(connection, response, body, length, head_timeout))
    try:
        if not response.ready:
            await response.suspend()
    finally:
        sending.cancel()
        await until_done(sending)


async def _send(
    connection: H1Connection,
    response: UpstreamResponse,
    body: AsyncIterator[bytes],
    length: int | None,
    head_timeout: float | None,
) -> None:
    sent = 0
    try:
        async for chunk in body:
            if not response.awaited:
                return
            sent += len(chunk)
            if length is not None and sent > length:
                raise InvalidRequest("the request body is longer than announced")
            if chunk:
                connection.write(chunk if length is not None else b"%x\r\n%b\r\n" % (len(chunk), chunk))
            if sent == length:
                connection.uploading = False
            await connection.drained(head_timeout)
        if length is not None and sent < length:
            raise InvalidRequest("the request body is shorter than announced")
    except Exception as error:  # the body is somebody else's code
        if response.awaited:
            connection.fail(error)
        return
    if response.awaited:
        if length is None:
            connection.write(b"0\r\n\r\n")
        connection.uploading = False
        connection.watch(head_timeout)
