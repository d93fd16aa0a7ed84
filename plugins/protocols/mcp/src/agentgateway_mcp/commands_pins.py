"""`agentgateway mcp pins`: what is pinned of the tools of each target, what has changed, and saying that it may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import click

from agentgateway.commands import Failure, Gateways, OpenGateway, file_option, pass_gateways
from agentgateway.errors import StoreFailed
from agentgateway_mcp.changes import diff, plain
from agentgateway_mcp.pins import Definition, Ledger, Pin, canonical, holds
from agentgateway_mcp.places import Behind, backend_option, behind, json_option, table

SHOWN = 2000
"""Lines of a diff."""
target_argument = click.argument("target", required=False)
tool_argument = click.argument("tool", required=False)


@dataclass(frozen=True)
class Pinned:
    """The pins of one target."""

    place: Behind
    target: str
    ledger: Ledger

    def rows(self, tool: str | None) -> Iterator[tuple[str, Pin]]:
        for name, pin in self.ledger.tools.items():
            if tool in (None, name):
                yield name, pin

    def state(self, pin: Pin) -> str:
        """In one word."""
        if pin.shown is None or not holds(pin, self.place.backend.pinning.rule(self.target)):
            return "pinned"
        return "new" if pin.pinned is None else "changed"


@click.group()
def pins() -> None:
    """Tools that cannot change silently: what is pinned, what has changed, and approving that.

    Title, description, schemas and annotations of each tool are pinned when a gateway first sees them. One that changes
    is in quarantine: not in lists, and not to be called. TARGET is a name of the file, TOOL the server's own.

    Pins are in the store of the configuration (config.store). By default that is a file in the state folder of the user
    who runs the gateway, so run these commands as the same user, with the same STATE_DIRECTORY or XDG_STATE_HOME; what
    a gateway keeps in memory cannot be seen from here.
    """


@pins.command("list", epilog="\b\nagentgateway mcp pins list -f gateway.yaml files")
@file_option
@backend_option
@target_argument
@json_option
@pass_gateways
def list_pins(gateways: Gateways, file: str, backend: str | None, target: str | None, as_json: bool) -> None:
    """List the pinned tools of all targets, or of TARGET: pinned, changed or new (both in quarantine)."""

    async def read() -> list[dict[str, str]]:
        async with gateways.open(file) as gateway:
            found = await pinned(gateway, backend, target)
            return [row(one, name, pin) for one in found for name, pin in one.rows(None)]

    rows = asyncio.run(read())
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("nothing is pinned: no list of tools has gone through a gateway with this store", err=True)
    else:
        table([["TARGET", "TOOL", "STATE", "SINCE", "HASH"], *([plain(cell) for cell in one.values()] for one in rows)])


def row(one: Pinned, name: str, pin: Pin) -> dict[str, str]:
    since = datetime.fromtimestamp(pin.at, UTC).isoformat(timespec="seconds")
    shown = pin.pinned or pin.shown
    return {"target": one.target, "tool": name, "state": one.state(pin), "since": since, "hash": short(shown)}


def short(one: Definition | None) -> str:
    return sha256(canonical(one.parts).encode()).hexdigest()[:12] if one is not None else ""


@pins.command("diff", epilog="\b\nagentgateway mcp pins diff -f gateway.yaml files read_file")
@file_option
@backend_option
@target_argument
@tool_argument
@json_option
@pass_gateways
def diff_pins(
    gateways: Gateways, file: str, backend: str | None, target: str | None, tool: str | None, as_json: bool
) -> None:
    """Show what has changed about tools in quarantine: all of them, those of TARGET, or TOOL alone."""

    async def read() -> list[dict[str, object]]:
        async with gateways.open(file) as gateway:
            found = await pinned(gateway, backend, target)
            if tool is not None and not any(tool in one.ledger.tools for one in found):
                raise Failure(f"{plain(tool)} is no tool that is pinned: see `agentgateway mcp pins list`")
            return [
                {**row(one, name, pin), "diff": diff(pin.pinned, pin.shown, SHOWN)}
                for one in found
                for name, pin in one.rows(tool)
                if pin.shown is not None and one.state(pin) != "pinned"
            ]

    changes = asyncio.run(read())
    if as_json:
        click.echo(json.dumps(changes, indent=2))
        return
    for change in changes:
        click.echo(plain(f"{change['target']} {change['tool']}: {change['state']} since {change['since']}"))
        lines = change["diff"]
        for line in lines if isinstance(lines, list) else ():
            click.echo(f"  {line}")
    if not changes:
        click.echo("nothing is in quarantine", err=True)


@pins.command(
    epilog="""\b
agentgateway mcp pins approve -f gateway.yaml files read_file
agentgateway mcp pins approve -f gateway.yaml"""
)
@file_option
@backend_option
@target_argument
@tool_argument
@pass_gateways
def approve(gateways: Gateways, file: str, backend: str | None, target: str | None, tool: str | None) -> None:
    """Pin what servers show now: of all tools in quarantine, of those of TARGET, or of TOOL alone.

    Running gateways with this store know within seconds. Look at `diff` first.
    """

    async def approved() -> list[tuple[str, str]]:
        async with gateways.open(file) as gateway:
            found = await pinned(gateway, backend, target)
            return [
                (one.target, name)
                for one in found
                for name in await one.place.backend.pinning.approve(one.target, tool)
            ]

    try:
        names = asyncio.run(approved())
    except StoreFailed as error:
        raise Failure(f"{error.message}: {error.detail}") from error
    for where, name in names:
        click.echo(plain(f"{where} {name}: approved"))
    if not names and tool is not None:
        raise Failure(f"{plain(tool)} is not in quarantine")
    if not names:
        click.echo("nothing is in quarantine", err=True)


async def pinned(gateway: OpenGateway, place: str | None, target: str | None) -> list[Pinned]:
    """The pins of the targets that there are; those that several backends share once. Raises `Failure`."""
    found: dict[str, Pinned] = {}
    for one in behind(gateway, place, target):
        for name in one.names(target):
            try:
                ledger = await one.backend.pinning.ledger(name)
            except StoreFailed as error:
                raise Failure(f"{error.message}: {error.detail}") from error
            if ledger is not None:
                found.setdefault(one.backend.places[name], Pinned(one, name, ledger))
    return list(found.values())
