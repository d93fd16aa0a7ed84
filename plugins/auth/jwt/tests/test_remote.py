"""Keys behind a URL: fetched in the background, by one fetch at a time, the last good ones kept."""

import asyncio
import gc
import logging

import pytest
from agentgateway_auth_jwt.plugin import JwtAuth
from agentgateway_auth_jwt.remote import MAX_BYTES, Pace

from agentgateway.errors import Unauthenticated
from agentgateway.testing import LoopbackHost, Upstream, http
from agentgateway.testing.upstreams import reply

ISSUER = "https://issuer.test"
QUICK = Pace(fresh=30, retry=0.01, floor=0.01, fetch=5, start=5)
CANARY = "canary-8c1f2e"
SILENCE = b""


class Served:
    """What the key server answers next, and how often it was asked."""

    def __init__(self, body: str | bytes) -> None:
        self.body = body

    def __call__(self, request):
        return self.body if isinstance(self.body, bytes) else reply(200, self.body.encode())


class Running:
    """A started policy whose keys are at the upstream."""

    def __init__(self, upstream: Upstream, pace: Pace = QUICK, path: str = "/keys", **config) -> None:
        self.host = LoopbackHost()
        written = {"issuer": ISSUER, "jwks": {"url": upstream.url + path}, **config}
        self.policy = JwtAuth(JwtAuth.Config.model_validate(written), self.host, pace)

    async def __aenter__(self):
        await self.policy.start()
        return self.policy

    async def __aexit__(self, *_):
        await self.policy.stop()
        await self.host.aclose()


def status(policy, token: str) -> int:
    """How the policy answers a request with that token; 200 when it passes."""
    exchange = http(headers={"authorization": f"Bearer {token}"})
    try:
        policy.authn(exchange)
    except Unauthenticated as error:
        return error.status
    return 200 if exchange.principal is not None else 0


async def until(holds) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def test_the_keys_are_there_when_the_start_is_done(rsa_pair, publish):
    async with Upstream(Served(publish(rsa_pair))) as upstream, Running(upstream) as policy:
        assert status(policy, rsa_pair.token()) == 200
        assert len(upstream.received) == 1
        assert upstream.received[0].target == "/keys"


async def test_a_start_does_not_wait_for_a_server_that_hangs(rsa_pair):
    pace = Pace(fetch=30, start=0.01)
    async with Upstream(SILENCE) as upstream, Running(upstream, pace) as policy:
        assert status(policy, rsa_pair.token()) == 503


@pytest.mark.parametrize(
    "answer",
    [
        reply(500, {}),
        reply(302, b"", headers={"location": "http://127.0.0.1:9/"}),
        reply(200, b"nonsense"),
        reply(200, b"\xff\xfe"),
        reply(200, {"keys": []}),
        reply(200, b" " * (MAX_BYTES + 1)),
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"no http\r\n\r\n",
    ],
)
async def test_a_failing_server_does_not_stop_the_start_and_is_asked_again(rsa_pair, publish, answer):
    served = Served(answer)
    async with Upstream(served) as upstream, Running(upstream) as policy:
        assert status(policy, rsa_pair.token()) == 503
        served.body = publish(rsa_pair)
        await until(lambda: status(policy, rsa_pair.token()) == 200)


async def test_what_cannot_be_a_token_is_refused_while_there_are_no_keys():
    async with Upstream(reply(500, {})) as upstream, Running(upstream) as policy:
        assert status(policy, "sk-something") == 401


@pytest.mark.parametrize(("mode", "expected"), [("strict", 503), ("optional", 503), ("permissive", 0)])
async def test_nobody_is_let_in_while_there_are_no_keys(rsa_pair, mode, expected):
    async with Upstream(reply(500, {})) as upstream, Running(upstream, mode=mode) as policy:
        assert status(policy, rsa_pair.token()) == expected


async def test_an_unknown_key_is_refused_now_and_fetched_in_the_background(rsa_pair, other_rsa_pair, publish):
    served = Served(publish(rsa_pair))
    async with Upstream(served) as upstream, Running(upstream) as policy:
        served.body = publish(rsa_pair, other_rsa_pair)
        assert status(policy, other_rsa_pair.token()) == 401
        await until(lambda: status(policy, other_rsa_pair.token()) == 200)
        assert status(policy, rsa_pair.token()) == 200


async def test_a_flood_of_unknown_keys_is_one_fetch(rsa_pair, other_rsa_pair, publish):
    pace = Pace(fresh=60, floor=30)
    async with Upstream(Served(publish(rsa_pair))) as upstream, Running(upstream, pace) as policy:
        for _ in range(200):
            assert status(policy, other_rsa_pair.token()) == 401
        await asyncio.sleep(0.05)
        assert len(upstream.received) == 1


async def test_keys_are_fetched_again_when_they_are_no_longer_fresh(rsa_pair, publish):
    pace = Pace(fresh=0.02, floor=0.01)
    async with Upstream(Served(publish(rsa_pair))) as upstream, Running(upstream, pace):
        await until(lambda: len(upstream.received) >= 3)


async def test_the_last_good_keys_stay_when_a_refresh_fails(rsa_pair, publish):
    served = Served(publish(rsa_pair))
    pace = Pace(fresh=0.02, floor=0.01, retry=0.01)
    async with Upstream(served) as upstream, Running(upstream, pace) as policy:
        served.body = reply(500, {})
        seen = len(upstream.received)
        await until(lambda: len(upstream.received) > seen + 2)
        assert status(policy, rsa_pair.token()) == 200


async def test_a_token_of_a_withdrawn_key_is_forgotten(rsa_pair, other_rsa_pair, publish):
    served = Served(publish(rsa_pair))
    pace = Pace(fresh=0.02, floor=0.01)
    async with Upstream(served) as upstream, Running(upstream, pace) as policy:
        token = rsa_pair.token()
        assert status(policy, token) == 200
        served.body = publish(other_rsa_pair)
        await until(lambda: status(policy, other_rsa_pair.token()) == 200)
        assert status(policy, token) == 401


async def test_a_verified_token_is_not_verified_again_until_the_keys_change(rsa_pair, publish):
    async with Upstream(Served(publish(rsa_pair))) as upstream, Running(upstream) as policy:
        token = rsa_pair.token()
        status(policy, token)
        policy._trust._issuers[0].keys = {}
        assert status(policy, token) == 200


async def test_a_stopped_policy_leaves_no_task(rsa_pair, publish):
    before = asyncio.all_tasks()
    async with Upstream(Served(publish(rsa_pair))) as upstream:
        async with Running(upstream):
            assert len(asyncio.all_tasks() - before) >= 1
        named = [task.get_name() for task in asyncio.all_tasks() - before]
        assert not [name for name in named if name.startswith("keys of")]
    gc.collect()


async def test_it_stops_while_a_fetch_is_under_way():
    async with Upstream(SILENCE) as upstream, Running(upstream, Pace(start=0.01)):
        pass


async def test_the_log_names_the_issuer_and_not_the_url(caplog):
    caplog.set_level(logging.DEBUG, logger="agentgateway.jwt")
    async with Upstream(reply(500, {})) as upstream, Running(upstream, path=f"/keys?key={CANARY}") as policy:
        told = [record for record in caplog.records if record.name == "agentgateway.jwt"]
        assert ISSUER in told[0].getMessage()
        assert CANARY not in "".join(record.getMessage() for record in told)
        assert CANARY not in repr(policy.config) + policy.config.model_dump_json() + str(vars(policy))
