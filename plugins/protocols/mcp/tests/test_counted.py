"""The metric of messages, and the names that it has labels for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from agentgateway_mcp import shown
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.plugin import Counted
from agentgateway_mcp.servers import Answer, Ask, Said
from agentgateway_mcp.shown import Shown
from agentgateway_mcp.streamable import Events, event
from pydantic_core import to_json

from agentgateway.testing.exchanges import http
from agentgateway.testing.hosts import CountedLabels

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def listed(*names: str, id: int = 1, key: str = "tools") -> bytes:
    return to_json({"jsonrpc": "2.0", "id": id, "result": {key: [{"name": name} for name in names]}})


def ask(document: dict[str, Any]) -> Ask:
    return Ask("send", to_json(document), document)


def see(known: Shown, raw: bytes, document: dict[str, Any] = LIST) -> None:
    assert known.watched("a", ask(document), Answer(200, whole=raw), 10_000).whole is raw


def test_what_clients_make_up_is_one_series_whatever_becomes_of_it() -> None:
    counter, known = CountedLabels(), Shown()
    see(known, listed("real"))
    counted = Counted(counter, known.has)

    def log(method: str, name: str | None = None, target: str | None = "a", error: int | None = None) -> None:
        exchange = http("POST", "/mcp")
        exchange.call = call = McpCall("send", b"", {"jsonrpc": "2.0", "id": 1, "method": method})
        call.name, call.target, call.error_code = name, target, error
        counted.log(exchange)

    for number in range(3000):
        for error in (None, -32602):
            log("tools/call", f"x{number}", error=error)
            log("prompts/get", f"x{number}", error=error)
            log("resources/read", f"x://{number}", error=error)
            log("tools/call", "real", None, error)
            log(f"notifications/x{number}", target=None, error=error)
            log(f"x{number}", target=None, error=error)
    for error in (None, -32602):
        log("tools/call", "real", error=error)
        log("tools/list", target=None, error=error)
    assert counter.counts == {
        ("tools/call", "tool", "a", "real"): 2,
        ("tools/call", "tool", "a", ""): 6000,
        ("tools/call", "tool", "", ""): 6000,
        ("prompts/get", "prompt", "a", ""): 6000,
        ("resources/read", "resource", "a", ""): 6000,
        ("tools/list", "", "", ""): 2,
        ("", "", "", ""): 12000,
    }


@pytest.mark.parametrize("how", ["whole", "bytes", "messages"])
async def test_the_names_in_a_list_are_known_however_it_comes(how: str) -> None:
    known, raw = Shown(), listed("one", "two")
    tells = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"tools":[{"name":"three"}]}}'

    async def pieces() -> AsyncIterator[bytes]:
        data = event(Said(tells)) + event(Said(raw))
        for at in range(0, len(data), 7):
            yield data[at : at + 7]

    async def messages() -> AsyncIterator[Said]:
        yield Said(tells)
        yield Said(raw)

    answer = {
        "whole": lambda: Answer(200, whole=raw),
        "bytes": lambda: Answer(200, messages=Events(pieces(), 10_000)),
        "messages": lambda: Answer(200, messages=messages()),
    }[how]()
    watched = known.watched("a", ask(LIST), answer, 10_000)
    if watched.messages is not None:
        assert [said.data async for said in watched.messages] == [tells, raw]
    assert [name for name in ("one", "two", "three") if known.has("a", "tool", name)] == ["one", "two"]
    assert not known.has("b", "tool", "one") and not known.has("a", "prompt", "one")


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"no JSON", b"[]", b'{"result":[]}', b'{"result":{"tools":{"name":"x"}}}', b'{"error":{"code":1}}'),
        b'{"result":{"tools":["x",{"name":["x"]},{}]}}',
    ],
)
def test_what_is_no_list_has_no_names(raw: bytes) -> None:
    known = Shown()
    see(known, raw)
    see(known, listed("x"), {**LIST, "method": "tools/call"})
    assert not known.has("a", "tool", "x")


def test_names_and_lists_that_are_remembered_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "MOST", 3)
    known = Shown()
    for number in range(1000):
        see(known, listed(f"x{number}", id=number), {**LIST, "id": number})
        see(known, listed("same", id=number, key="prompts"), {**LIST, "id": number, "method": "prompts/list"})
    assert [known.has("a", "tool", name) for name in ("x0", "x2", "x3", "x999")] == [True, True, False, False]
    assert known.has("a", "prompt", "same") and len(known._read) <= shown.READ
