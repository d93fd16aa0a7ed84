"""The whole life of a request. Everything else in the gateway exists to fill in one of these lines.

`run` knows neither sockets nor ASGI: a face gives it an `Exchange`, the listener it came in by, and `write`, which
puts the reply on the wire. It suspends only where a coroutine participant, the body, the upstream or the client make
it wait. For the first of these it asks for a task (`in_a_task`), so that a face may drive everything else without one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from agentgateway._host.chains import Chain, Step, Steps
from agentgateway._host.inline import in_a_task
from agentgateway._host.routes import Listener
from agentgateway._host.upstream import attempts
from agentgateway.errors import Disconnected, GatewayError, InternalError, RequestTimeout
from agentgateway.exchange import ClientGone, Exchange, Reply
from agentgateway.hookspecs import Later
from agentgateway.streams import aclose

logger = logging.getLogger("agentgateway.pipeline")

Write = Callable[[Exchange], Awaitable[None]]


async def run(exchange: Exchange, listener: Listener, write: Write) -> None:
    """Take a request through its eight phases and write its reply. Raises nothing but cancellation."""
    chain = listener.chain
    try:
        try:
            if not listener.inline:
                await in_a_task()
            reply = await before_routing(chain, exchange) if chain.decides else None
            if reply is None:
                chain = (await listener.find(exchange)).chain
                if not chain.inline:
                    await in_a_task()
                reply = (
                    await phase(chain.admission, exchange)
                    or await phase(chain.pre_request, readable(exchange))
                    or await attempts(exchange, chain, phase)
                )
        except Exception as error:
            reply = refusal(exchange, error)
        exchange.reply = reply
        if steps := returning(chain, exchange):
            await respond(steps, exchange)
        finish(exchange)
        await write(exchange)
    except ClientGone:
        left(exchange)
    except asyncio.CancelledError:
        left(exchange)
        raise
    except Exception as error:
        exchange.error = exchange.error or known(error)
    finally:
        await settle(chain, exchange)
        if exchange.error is not None:
            without_frames(exchange.error)


async def before_routing(chain: Chain, exchange: Exchange) -> Reply | None:
    """The policies of phase `gateway`, which decide before there is a route."""
    return await phase(chain.admission, exchange) or await phase(chain.pre_request, exchange)


async def phase(steps: Steps, exchange: Exchange) -> Reply | None:
    """Run participants in order, until one answers or raises."""
    for call, awaits, name in steps:
        try:
            answer = call(exchange)
            if awaits:
                answer = await (answer if exchange.deadline is None else in_time(answer, exchange))
        except GatewayError as error:
            error.by = error.by or name
            raise
        except (ClientGone, asyncio.CancelledError):
            raise
        except Exception as error:
            raise InternalError(detail=f"{name}: {type(error).__name__}") from error
        if answer is None:
            continue
        if isinstance(answer, Later):
            await in_a_task()
            answer = await phase((Step(answer.hook, True, name),), exchange)
            if answer is None:
                continue
        return checked(answer, name)
    return None


def readable(exchange: Exchange) -> Exchange:
    """Raise now what was wrong with the body: a caller who may not be here learns nothing about it."""
    if exchange.unread is not None:
        raise exchange.unread
    return exchange


def returning(chain: Chain, exchange: Exchange) -> Steps:
    """Who takes part in the way back: what belongs to the target alone is nearest to it."""
    target = exchange.target
    return chain.post_response if target is None or not target.returns else (*target.returns, *chain.post_response)


async def respond(steps: Steps, exchange: Exchange) -> None:
    """The way back, participants in reverse: each edits the reply, or replaces it by what it raises."""
    for call, awaits, name in steps:
        try:
            answer = call(exchange)
            if awaits:
                answer = await (answer if exchange.deadline is None else in_time(answer, exchange))
            if answer is not None:
                checked(answer, name)
                raise TypeError("post_response edits `exchange.reply` and returns None")
        except (ClientGone, asyncio.CancelledError):
            await discard(exchange.reply)
            raise
        except Exception as error:
            if isinstance(error, GatewayError):
                error.by = error.by or name
            await discard(exchange.reply)
            exchange.reply = refusal(exchange, error)


def finish(exchange: Exchange) -> None:
    """The bytes of whatever was changed, and the header fields that participants have for any reply."""
    reply = exchange.reply
    if reply is not None:
        if reply.content is not None and reply.content.changed and exchange.protocol is not None:
            exchange.protocol.render(exchange)
        if exchange.reply_headers:
            reply.headers.update(exchange.reply_headers)


def settle(chain: Chain, exchange: Exchange) -> Awaitable[None]:
    """The log phase: every participant, whatever happened before and whatever happens to the others."""
    exchange.ended = time.monotonic()
    if exchange.attempt.under_way is not None:
        exchange.attempt.release()
    telling = tell(chain.log, exchange)
    return asyncio.shield(telling) if chain.log_awaits else telling


async def tell(steps: Steps, exchange: Exchange) -> None:
    for call, awaits, name in steps:
        try:
            answer = call(exchange)
            if awaits:
                await answer
        except Exception:
            logger.exception("%s failed in the log phase", name)


def left(exchange: Exchange) -> None:
    """The client is gone. That is no error when it had the protocol's own end of its answer."""
    if not exchange.finished and exchange.error is None:
        exchange.error = Disconnected()


def refusal(exchange: Exchange, error: Exception) -> Reply:
    """An error as a reply in the client's own dialect."""
    if isinstance(error, ClientGone):
        raise error
    exchange.error = told = known(error)
    if exchange.protocol is None:
        return Reply.text(told.status, told.message, told.headers)
    return exchange.protocol.error(exchange, told)


def known(error: Exception) -> GatewayError:
    """The error, or what stands for a bug: the client learns nothing of it, the log everything."""
    if isinstance(error, GatewayError):
        told = error
    else:
        told = InternalError(detail=type(error).__name__)
        told.__cause__ = error
    if isinstance(told, InternalError) and told.__cause__ is not None:
        logger.error("%s", told.detail, exc_info=told.__cause__)
    return told


async def in_time(waiting: Awaitable[Any], exchange: Exchange) -> Any:
    """Await a participant, no longer than the request has left."""
    left = (exchange.deadline or 0.0) - time.monotonic()
    try:
        async with asyncio.timeout(left):
            return await waiting
    except TimeoutError:
        raise RequestTimeout from None


def without_frames(error: BaseException) -> None:
    """Forget by which way an error came: it leads to the exchange, which has the error, and the two would be in memory
    until the collector of cycles comes. Servers that die bring hundreds of them at once."""
    for one in (error, error.__cause__, error.__context__):
        if one is not None:
            one.__traceback__ = None


def checked(answer: object, name: str) -> Reply:
    if isinstance(answer, Reply):
        return answer
    close = getattr(answer, "close", None)
    if close is not None:
        close()
    raise InternalError(detail=f"{name} returned {type(answer).__name__}, not a Reply or None")


async def discard(reply: Reply | None) -> None:
    """Let go of a stream that nobody will read any more, and of the connection it comes from. A reply keeps nothing of
    it: streams know their exchange, and the two would be in memory until the collector of cycles comes."""
    if reply is None or isinstance(reply.body, bytes):
        return
    stream, reply.body = reply.body, b""
    await aclose(stream)
