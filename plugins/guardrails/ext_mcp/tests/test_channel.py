"""The connection to a processor: TLS, a processor that was away, one that is stopped while it is asked."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from agentgateway_mcp.errors import McpError

UNSEEN = "a guardrail could not be evaluated"


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client = authority.issue_cert("gateway.test")
    client.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    return authority


def of_server(authority: trustme.CA, name: str, *, mutual: bool = False) -> Any:
    cert = authority.issue_cert(name)
    pair = (cert.private_key_pem.bytes(), cert.cert_chain_pems[0].bytes())
    root = authority.cert_pem.bytes() if mutual else None
    return grpc.ssl_server_credentials([pair], root, mutual)


async def test_a_processor_behind_tls_is_verified(
    served: Any, asked: Any, authority: trustme.CA, tmp_path: Path
) -> None:
    root = {"root": str(tmp_path / "ca.pem")}
    pair = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    async with served(credentials=of_server(authority, "localhost", mutual=True)) as port:
        place = f"localhost:{port}"
        async with asked(place, policies={"backendTLS": {**root, **pair}}) as ask:
            assert await ask() is None
        for tls in ({}, root, pair):
            async with asked(f"https://{place}", policies={"backendTLS": tls}, timeout="2s") as ask:
                with pytest.raises(McpError, match=UNSEEN):
                    await ask()


async def test_the_name_that_is_verified_can_be_another(
    served: Any, asked: Any, authority: trustme.CA, tmp_path: Path
) -> None:
    root = str(tmp_path / "ca.pem")
    async with served(credentials=of_server(authority, "guard.test")) as port:
        async with asked(f"127.0.0.1:{port}", policies={"backendTLS": {"root": root, "hostname": "guard.test"}}) as ask:
            assert await ask() is None
        async with asked(f"127.0.0.1:{port}", policies={"backendTLS": {"root": root}}, timeout="2s") as ask:
            with pytest.raises(McpError, match=UNSEEN):
                await ask()


async def test_a_processor_that_was_away_is_asked_again(served: Any, asked: Any) -> None:
    async with served() as port, asked(f"127.0.0.1:{port}") as ask:
        assert await ask() is None
    async with asked(f"127.0.0.1:{port}", timeout="2s") as ask:
        with pytest.raises(McpError, match=UNSEEN):
            await ask()
        async with served(port), asyncio.timeout(20):
            while True:
                try:
                    assert await ask() is None
                except McpError:
                    await asyncio.sleep(0.05)
                else:
                    break


async def test_what_is_being_asked_when_it_stops_is_answered(served: Any, asked: Any) -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def held(raw: bytes) -> bytes:
        begun.set()
        await released.wait()
        return b"\x0a\x00"

    async with served(answer=held) as port:
        async with asked(f"127.0.0.1:{port}") as ask:
            question = asyncio.create_task(ask())
            await begun.wait()
            asyncio.get_running_loop().call_later(0.05, released.set)
        assert await question is None


@pytest.mark.parametrize(("answer", "counted"), [(b"\x0a\x00", "Allow"), (b"\x12\x02{}", "Mask"), (b"", "FailOpen")])
async def test_verdicts_are_counted(served: Any, asked: Any, answer: bytes, counted: str) -> None:
    async with served(answer=lambda raw: answer) as port, asked(f"127.0.0.1:{port}", failureMode="failOpen") as ask:
        await ask()
        assert ask.host.counters["guardrail_checks"].counts == {("Request", counted): 1}


async def test_who_leaves_while_a_processor_is_asked_leaves(served: Any, asked: Any) -> None:
    begun = asyncio.Event()

    async def held(raw: bytes) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    async with served(answer=held) as port, asked(f"127.0.0.1:{port}") as ask:
        question = asyncio.create_task(ask())
        await begun.wait()
        question.cancel()
        with pytest.raises(asyncio.CancelledError):
            await question
