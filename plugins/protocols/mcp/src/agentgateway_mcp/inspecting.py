"""`agentgateway mcp inspect`: what each target is, and what the file makes of it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click

from agentgateway.commands import Gateways, file_option, pass_gateways
from agentgateway_mcp.changes import plain
from agentgateway_mcp.config import TargetConfig
from agentgateway_mcp.places import Visited, backend_option, behind, complain, json_option, target_option, visited
from agentgateway_mcp.replies import LISTS
from agentgateway_mcp.visit import Json, Visit

SECONDS = 60.0


@click.command(
    epilog="""\b
agentgateway mcp inspect -f gateway.yaml
agentgateway mcp inspect -f gateway.yaml --target files --json"""
)
@file_option
@backend_option
@target_option
@json_option
@pass_gateways
def inspect(gateways: Gateways, file: str, backend: str | None, target: str | None, as_json: bool) -> None:
    """Show each target: where it is, what it speaks and can do, how many things clients see, what the file edits, and
    which of its tools are in quarantine.

    Exit code 1 when a server could not be asked.
    """

    async def asked() -> list[tuple[Visited[Json], Json]]:
        async with gateways.open(file) as gateway:
            results = await visited(behind(gateway, backend, target), target, SECONDS, found)
            return [(one, await configured(one)) for one in results]

    results = asyncio.run(asked())
    if as_json:
        click.echo(json.dumps([{**known, **(one.found or {"error": one.failure})} for one, known in results], indent=2))
    else:
        for _, (one, known) in enumerate(results):
            show(known, one)
    if complain([one for one, _ in results]):
        sys.exit(1)


async def found(visit: Visit) -> Json:
    """What the server says."""
    counts = {LISTS[method][0]: len(await visit.listed(method)) for method in LISTS if method != "tasks/list"}
    told = visit.told
    meta = told.get("_meta")
    info = told.get("serverInfo") or (
        meta.get("io.modelcontextprotocol/serverInfo") if isinstance(meta, dict) else None
    )
    return {
        "version": visit.server.version,
        "server": info if isinstance(info, dict) else {},
        "capabilities": told.get("capabilities", {}),
        "counts": counts,
    }


async def configured(one: Visited[Any]) -> Json:
    """What the file says, and the store."""
    backend, name = one.behind.backend, one.name
    config = next(target for target in backend.config.targets if target.name == name)
    member = next(member for member in one.behind.chosen.members if member.name == name)
    ledger = await backend.pinning.ledger(name)
    return {
        "backend": one.behind.place,
        "target": name,
        "kind": config.kind[0],
        "endpoint": member.endpoint,
        "edits": edits(config),
        "toolPinning": backend.pinning.rule(name).model_dump(by_alias=True),
        "pinned": len(ledger.tools) if ledger is not None else 0,
        "quarantine": sorted(ledger.held(backend.pinning.rule(name))) if ledger is not None else [],
    }


def edits(config: TargetConfig) -> list[str]:
    """The keys that make clients see something else than there is."""
    told: list[str] = []
    for kind in ("tools", "prompts", "resources"):
        given: dict[str, Any] = getattr(config, kind).model_dump(by_alias=True, exclude_defaults=True)
        told.extend(f"{kind}.{key}.{name}" for key, value in given.items() for name in value)
    return told


def show(known: Json, one: Visited[Json]) -> None:
    click.echo(f"{known['target']}  {known['kind']} {plain(known['endpoint'])}  ({known['backend']})")
    if one.found is not None:
        server, counts = one.found["server"], one.found["counts"]
        click.echo(f"  speaks        {plain(one.found['version'])}")
        click.echo(
            f"  server        {plain(str(server.get('name', '?')))} {plain(str(server.get('version', '')))}".rstrip()
        )
        click.echo(f"  capabilities  {plain(', '.join(one.found['capabilities'])) or 'none'}")
        click.echo(f"  clients see   {', '.join(f'{number} {kind}' for kind, number in counts.items())}")
    if known["edits"]:
        click.echo(f"  edits         {plain(', '.join(known['edits']))}")
    held = ", ".join(map(plain, known["quarantine"]))
    click.echo(f"  pins          {known['pinned']}" + (f", in quarantine: {held}" if held else ""))
