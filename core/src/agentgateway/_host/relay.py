"""Messages from one end of a WebSocket to the other, both ways at once, until one of them ends it.

Nothing is read from one end before the other has taken what came before, so each is as fast as the other reads. The one
that ends is told to the other with its code; what a guard or a limit refuses is told to the client, in the words of
whoever speaks there, and then closed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from agentgateway.errors import GatewayError, GuardRejected, UpstreamError
from agentgateway.sockets import FAILED, GOING_AWAY, LOST, NORMAL, REFUSED, Duplex, SocketClosed, sendable

PING_SECONDS = 20.0
"""How often both ends are asked for a sign of life."""
LAST_WORDS = 1.0
"""Seconds in which to read what an upstream sent before it stopped taking anything."""


class ClientClosed(SocketClosed):
    """The client's end has ended."""


async def relay(client: Duplex, upstream: Duplex) -> None:
    """Pass messages on until the upstream ends it. Raises `ClientClosed` when it was the client, and the `GatewayError`
    for any other end; both ends are closed then."""
    try:
        ended = await _until_one_ends(client, upstream)
    except asyncio.CancelledError:
        await asyncio.gather(client.close(GOING_AWAY), upstream.close(GOING_AWAY))
        raise
    if isinstance(ended, ClientClosed):
        await upstream.close(sendable(ended.code), ended.reason)
        raise ended
    if isinstance(ended, SocketClosed) and ended.code != LOST:
        await client.close(sendable(ended.code), ended.reason)
        return
    if isinstance(ended, SocketClosed):
        ended = UpstreamError("the upstream's connection ended")
    await _refuse(client, upstream, ended)
    raise ended


async def _until_one_ends(client: Duplex, upstream: Duplex) -> Exception:
    """Why it ended."""
    down, up, beat = (
        asyncio.create_task(one) for one in (_pump(upstream, client), _pump(client, upstream), _beat(client, upstream))
    )
    tasks = (down, up, beat)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not down.done() and not isinstance(_error(up) or _error(beat), ClientClosed | GatewayError):
            await asyncio.wait((down,), timeout=LAST_WORDS)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    errors = [error for task in tasks if (error := _error(task)) is not None]
    return min(errors, key=_weight)


async def _pump(source: Duplex, sink: Duplex) -> None:
    while True:
        await sink.send(await source.receive())


async def _beat(client: Duplex, upstream: Duplex) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        await upstream.ping()
        await client.ping()


def _error(task: asyncio.Task[None]) -> Exception | None:
    if not task.done() or task.cancelled():
        return None
    error = task.exception()
    return error if isinstance(error, Exception) else None


def _weight(error: Exception) -> int:
    """What says most comes first: a refusal, an end with a code, one without."""
    if not isinstance(error, SocketClosed):
        return 0
    return 2 if error.code == LOST else 1


async def _refuse(client: Duplex, upstream: Duplex, error: Exception) -> None:
    told = error if isinstance(error, GatewayError) else GatewayError()
    with suppress(SocketClosed):
        message = upstream.failure(told.status, told.code, told.message)
        if message is not None:
            await client.send(message)
    code = REFUSED if told.status < 500 or isinstance(told, GuardRejected) else FAILED
    await asyncio.gather(client.close(code, told.message), upstream.close(NORMAL))
