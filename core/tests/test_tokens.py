"""Tokens that end, and are fetched anew before they do."""

from __future__ import annotations

import asyncio

import pytest

from agentgateway.errors import InternalError
from agentgateway.tokens import Fresh, Token


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.made = 0

    def __call__(self) -> float:
        return self.now

    async def obtain(self) -> Token:
        self.made += 1
        return Token(f"token-{self.made}", self.now + 3600)


async def test_a_token_is_renewed_ahead_while_the_old_one_serves() -> None:
    clock = Clock()
    fresh = Fresh(clock.obtain, clock)
    assert (await fresh.token()).value == "token-1"
    clock.now += 3600 - 200
    assert (await fresh.token()).value == "token-1"
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await fresh.token()).value == "token-2"
    assert clock.made == 2


async def test_a_token_at_its_end_is_not_shown_any_more() -> None:
    clock = Clock()
    fresh = Fresh(clock.obtain, clock)
    await fresh.token()
    clock.now += 3600 - 20
    assert (await fresh.token()).value == "token-2"


async def test_a_refresh_that_fails_ahead_of_time_is_nobodys_error_and_is_not_tried_by_every_request() -> None:
    clock = Clock()
    fresh = Fresh(clock.obtain, clock)
    await fresh.token()
    clock.now += 3600 - 200
    tried = 0

    async def failing() -> Token:
        nonlocal tried
        tried += 1
        raise InternalError

    fresh._obtain = failing
    for _ in range(5):
        assert (await fresh.token()).value == "token-1"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert tried == 1


async def test_stopping_ends_what_is_under_way() -> None:
    async def never() -> Token:
        await asyncio.Event().wait()
        raise AssertionError

    fresh = Fresh(never)
    waiting = asyncio.create_task(fresh.token())
    await asyncio.sleep(0)
    await fresh.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_login_that_gives_the_same_token_again_is_not_asked_by_every_request() -> None:
    clock = Clock()
    same = Token("token", 1000.0 + 200)
    asked = 0

    async def obtain() -> Token:
        nonlocal asked
        asked += 1
        return same

    fresh = Fresh(obtain, clock)
    for _ in range(5):
        await fresh.token()
        await asyncio.sleep(0)
    assert asked == 1
    clock.now += 31
    for _ in range(5):
        await fresh.token()
        await asyncio.sleep(0)
    assert asked == 2
