"""`agentgateway mcp`: what the servers of a configuration have, without a running gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from agentgateway.commands import Failure, Gateways, file_option, pass_gateways
from agentgateway.errors import GatewayError, InvalidRequest
from agentgateway_mcp.changes import plain
from agentgateway_mcp.commands_pins import pins
from agentgateway_mcp.envelope import member
from agentgateway_mcp.inspecting import inspect
from agentgateway_mcp.modern_words import INPUT_REQUIRED
from agentgateway_mcp.places import (
    Behind,
    Visited,
    backend_option,
    behind,
    complain,
    json_option,
    reason,
    table,
    target_option,
    visited,
)
from agentgateway_mcp.replies import LISTS
from agentgateway_mcp.visit import Json, Refused, Visit

KINDS = {
    "tools": "tools/list",
    "prompts": "prompts/list",
    "resources": "resources/list",
    "templates": "resources/templates/list",
}
SECONDS = 60.0
seconds_option = click.option(
    "--timeout", "seconds", type=click.FloatRange(min=0.1), default=SECONDS, show_default=True, help="Seconds to wait."
)


@click.group(epilog="`agentgateway mcp COMMAND --help` tells more, with examples.")
def mcp() -> None:
    """Ask the MCP servers of a configuration, and look after the pins of their tools.

    No gateway has to run: each command compiles FILE as a gateway would, and asks the servers itself, with the
    credentials and other policies of their targets, and by the names that clients know. What stands on routes (who may
    ask, guards, limits) has no say.
    """


mcp.add_command(inspect)
mcp.add_command(pins)


@mcp.command(
    "list",
    epilog="""\b
agentgateway mcp list -f gateway.yaml
agentgateway mcp list -f gateway.yaml --kind prompts --target files --json""",
)
@file_option
@backend_option
@target_option
@click.option("--kind", type=click.Choice(list(KINDS)), default="tools", show_default=True, help="What to list.")
@seconds_option
@json_option
@pass_gateways
def list_things(
    gateways: Gateways,
    file: str,
    backend: str | None,
    target: str | None,
    kind: str,
    seconds: float,
    as_json: bool,
) -> None:
    """List what clients see: tools, or prompts, resources, templates of resources.

    Tools in quarantine are not in it (see `agentgateway mcp pins`). With --json each entry is as clients get it. Exit
    code 1 when a server could not be asked; what the others have is listed all the same.
    """
    method = KINDS[kind]
    key = LISTS[method][2]

    async def listed() -> list[Visited[list[Json]]]:
        async with gateways.open(file) as gateway:
            places = behind(gateway, backend, target)
            found = await visited(places, target, seconds, lambda visit: visit.listed(method))
            return shadowed(places, found) if kind == "tools" else found

    results = asyncio.run(listed())
    things = distinct(results, key)
    if as_json:
        click.echo(json.dumps(things, indent=2))
    else:
        table([[plain(str(thing.get(key, "")))[:100], first_line(thing)] for thing in things])
    if complain(results):
        sys.exit(1)


def shadowed(places: Sequence[Behind], results: Sequence[Visited[list[Json]]]) -> list[Visited[list[Json]]]:
    """Without the tools that clients do not see because the first of their name is in quarantine."""
    kept: list[Visited[list[Json]]] = []
    for place in places:
        own = [one for one in results if one.behind is place]
        lists = {one.name: {"tools": one.found} for one in own if one.found is not None}
        if not place.backend.names.prefixed:
            place.backend.pinning.shadow(lists)
        kept.extend(replace(one, found=lists[one.name]["tools"] if one.name in lists else None) for one in own)
    return kept


def distinct(results: Sequence[Visited[list[Json]]], key: str) -> list[Json]:
    """Of things of one name in one backend the first: the one that a call goes to."""
    found: dict[tuple[str, str], Json] = {}
    for one in results:
        for thing in one.found or ():
            found.setdefault((one.behind.place, str(thing.get(key))), thing)
    return list(found.values())


def first_line(thing: Json) -> str:
    text = str(thing.get("description") or thing.get("title") or "").strip()
    line = plain(text.partition("\n")[0])
    return line if len(line) <= 100 else f"{line[:99]}…"


@mcp.command(
    epilog="""\b
agentgateway mcp call -f gateway.yaml time_convert source=Europe/Berlin hour=7
agentgateway mcp call -f gateway.yaml files_write --json '{"path": "/a", "lines": ["one", "two"]}'"""
)
@file_option
@backend_option
@click.argument("tool")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--json", "given", metavar="ARGS", help="All arguments, as a JSON object.")
@click.option("--raw", is_flag=True, help="Print the whole result as JSON.")
@seconds_option
@pass_gateways
def call(
    gateways: Gateways,
    file: str,
    backend: str | None,
    tool: str,
    pairs: tuple[str, ...],
    given: str | None,
    raw: bool,
    seconds: float,
) -> None:
    """Call TOOL, by the name that `list` shows.

    A VALUE is a text where the tool's schema says so, and otherwise read as JSON if it is any: `hour=7` is a number.
    Prints the texts of the result, and other content as JSON. Exit code 1 when the tool says that it failed, or wants
    to know something first: nobody is asked here.
    """
    if pairs and given is not None:
        raise click.UsageError("give arguments as KEY=VALUE or by --json, not both")

    async def called() -> Json:
        async with gateways.open(file) as gateway:
            one, target = await owner(behind(gateway, backend), tool, seconds)
            try:
                async with asyncio.timeout(seconds), Visit(one.backend, one.chosen, target) as visit:
                    return await visit.ask(
                        "tools/call", name=tool, arguments=await arguments(visit, tool, pairs, given)
                    )
            except InvalidRequest as error:
                raise Failure(plain(error.message) + await why_not(one, target, tool)) from error
            except (GatewayError, Refused, TimeoutError) as error:
                raise Failure(f"{target}: {reason(error, seconds)}") from error

    result = asyncio.run(called())
    wanted = questions(result)
    if raw or not wanted:
        click.echo(json.dumps(result, indent=2) if raw else said(result))
    if wanted:
        raise Failure("\n  ".join(["the tool was not called, as its server wants to know first:", *wanted]))
    if result.get("isError"):
        sys.exit(1)


def questions(result: Json) -> list[str]:
    """What a server wants to know, a line each; nothing where it has answered."""
    if result.get("resultType") != INPUT_REQUIRED:
        return []
    asked = member(result, "inputRequests")
    lines = [question(key, one if isinstance(one, dict) else {}) for key, one in asked.items()]
    return lines or ["nothing, but to be asked again"]


def question(key: str, asked: Json) -> str:
    params = member(asked, "params")
    told = [params[name] for name in ("message", "url") if isinstance(params.get(name), str)]
    return plain(": ".join([key, str(asked.get("method", "")), *told]))[:1000]


async def owner(backends: Sequence[Behind], tool: str, seconds: float) -> tuple[Behind, str]:
    """The one backend and target that a name leads to. Raises `Failure`."""
    found: list[tuple[Behind, str]] = []
    for one in backends:
        names = one.backend.names
        target, _ = names.inward(tool)
        if target is not None:
            found.append((one, target))
        elif not names.prefixed and len(names.targets) > 1:
            for each in await visited([one], None, seconds, lambda visit: visit.listed("tools/list")):
                listed = any(thing.get("name") == tool for thing in each.found or ())
                if listed or await one.backend.pinning.holds(each.name, tool):
                    found.append((one, each.name))
                    break
    if not found:
        raise Failure(f"Unknown tool: {plain(tool)}")
    if len(found) > 1:
        raise Failure(
            f"several backends may have it, say which: --backend {' or '.join(one.place for one, _ in found)}"
        )
    return found[0]


async def why_not(one: Behind, target: str, tool: str) -> str:
    """What to add to `Unknown tool`."""
    held = await one.backend.pinning.holds(target, one.backend.names.inward(tool)[1])
    return ": it is in quarantine, see `agentgateway mcp pins diff`" if held else ""


async def arguments(visit: Visit, tool: str, pairs: Sequence[str], given: str | None) -> Json:
    """What the tool is called with. Raises `Failure`."""
    if given is not None:
        try:
            read = json.loads(given)
        except ValueError as error:
            raise Failure(f"--json is no JSON: {error}") from None
        if not isinstance(read, dict):
            raise Failure("--json must be an object")
        return read
    if not pairs:
        return {}
    things = await visit.listed("tools/list")
    schema = next((thing.get("inputSchema") for thing in things if thing.get("name") == tool), None)
    known = schema.get("properties") if isinstance(schema, dict) else None
    found: Json = {}
    for pair in pairs:
        key, value = argument(pair, known if isinstance(known, dict) else {})
        if key in found:
            raise Failure(f"{plain(key)} is given twice: write a list as {plain(key)}=[1,2]")
        found[key] = value
    return found


def argument(pair: str, known: Json) -> tuple[str, Any]:
    key, mark, value = pair.partition("=")
    if not mark or not key:
        raise Failure(f"expected KEY=VALUE, not {plain(pair)}")
    schema = known.get(key)
    if isinstance(schema, dict) and schema.get("type") == "string":
        return key, value
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def said(result: Json) -> str:
    """A result for people. Only texts that go to a terminal are made harmless."""
    parts = result.get("content")
    shown = [
        str(part["text"])
        if isinstance(part, dict) and part.get("type") == "text" and "text" in part
        else json.dumps(part)
        for part in (parts if isinstance(parts, list) else ())
    ]
    text = "\n".join(shown) or json.dumps(result.get("structuredContent", result), indent=2)
    if sys.stdout.isatty():
        return "\n".join(plain(line) for line in text.split("\n"))
    return text
