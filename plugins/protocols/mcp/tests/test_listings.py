"""Lists that are remembered, and lists that have changed."""

from __future__ import annotations

from typing import Any

from agentgateway_mcp.listings import Listings, Part, distinct, response
from pydantic_core import from_json, to_json

KEY = ("one", "tools/list", "2026-07-28", None)


def part(*names: str, **rest: Any) -> Part:
    return Part.of({"tools": [{"name": name, "inputSchema": {}} for name in names], **rest}, "tools", "name")


def test_a_part_is_what_the_server_listed_each_name_once() -> None:
    one = part("a", "b", "a", ttlMs=5)
    assert one.names == {"a", "b"} and one.rest == {"ttlMs": 5}
    assert one.result("tools") == part("a", "b").result("tools") | {"ttlMs": 5}
    assert Part.of({}, "tools", "name") == Part(b"", frozenset(), {})
    assert Part.of({"tools": "none"}, "tools", "name").entries == b""


def test_a_list_is_known_by_all_of_its_bytes() -> None:
    known, one = Listings(), part("a")
    known.keep(KEY, b"raw", one)
    assert known.get(KEY, b"raw") is one
    assert known.get(KEY, b"raw ") is None and known.get(KEY, b"ram") is None
    for place, other in enumerate(("two", "prompts/list", "2025-11-25", "page")):
        assert known.get(KEY[:place] + (other,) + KEY[place + 1 :], b"raw") is None


def test_the_list_unused_for_longest_makes_room() -> None:
    one = part("a")
    known = Listings(3 * (100 + len(one.entries)))
    keys = [("one", "tools/list", "", str(number)) for number in range(4)]
    for key in keys[:3]:
        known.keep(key, b"x" * 100, one)
    for _ in range(100):
        known.keep(keys[1], b"y" * 100, one)
    assert known.get(keys[0], b"x" * 100)
    known.keep(keys[3], b"x" * 100, one)
    assert known.get(keys[2], b"x" * 100) is None
    assert known.get(keys[0], b"x" * 100) and known.get(keys[1], b"y" * 100) and known.get(keys[3], b"x" * 100)
    known.keep(keys[0], b"z" * 10_000, one)
    assert known.get(keys[0], b"z" * 10_000) is None
    known.keep(keys[0], b"x" * 100, one)
    assert known.get(keys[0], b"x" * 100)


def test_one_response_is_made_of_all_parts() -> None:
    parts = [part("a"), part(), part("b", "c")]
    assert distinct(parts) and not distinct([*parts, part("c")]) and distinct([])
    document = from_json(response('an "id"', "tools", parts, {"nextCursor": "x", "ttlMs": 0}))
    tools = [{"name": name, "inputSchema": {}} for name in "abc"]
    assert document == {
        "jsonrpc": "2.0",
        "id": 'an "id"',
        "result": {"tools": tools, "nextCursor": "x", "ttlMs": 0},
    }
    assert from_json(response(1, "tools", [], {})) == {"jsonrpc": "2.0", "id": 1, "result": {"tools": []}}
    assert to_json(tools[:1])[1:-1] == parts[0].entries
