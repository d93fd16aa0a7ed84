"""The MCP backends of a configuration, for commands: which there are, and asking their targets one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import click

from agentgateway.commands import Failure, OpenGateway
from agentgateway.errors import GatewayError
from agentgateway.exchange import Target
from agentgateway_mcp.changes import plain
from agentgateway_mcp.plugin import McpBackend
from agentgateway_mcp.visit import Refused, Visit

T = TypeVar("T")

backend_option = click.option(
    "--backend", metavar="PLACE", help="Only the backend at that place of the file, as `inspect` names it."
)
target_option = click.option("--target", metavar="NAME", help="Only that target.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@dataclass(frozen=True)
class Behind:
    """A backend `mcp`, with its compiled target."""

    backend: McpBackend
    chosen: Target

    @property
    def place(self) -> str:
        return self.backend.host.at

    def names(self, wanted: str | None) -> list[str]:
        return [name for name in self.backend.names.targets if wanted in (None, name)]


def behind(gateway: OpenGateway, place: str | None, target: str | None = None) -> list[Behind]:
    """Raises `Failure` when there is none."""
    found: dict[str, Behind] = {}
    for chosen in gateway.targets:
        if isinstance(chosen.backend, McpBackend):
            one = Behind(chosen.backend, chosen)
            found.setdefault(one.place, one)
    if not found:
        raise Failure("there are no MCP servers in this configuration")
    if place is not None and place not in found:
        raise Failure(f"no MCP backend at {plain(place)}; there is: {', '.join(found)}")
    kept = [one for one in found.values() if place in (None, one.place) and one.names(target)]
    if not kept:
        known = sorted({name for one in found.values() for name in one.names(None)})
        raise Failure(f"no target is called {plain(str(target))}; there is: {', '.join(known)}")
    return kept


@dataclass(frozen=True)
class Visited(Generic[T]):
    """What came of asking one target: what was found, or why nothing was."""

    behind: Behind
    name: str
    found: T | None
    failure: str = ""


async def visited(
    backends: Sequence[Behind], target: str | None, seconds: float, work: Callable[[Visit], Awaitable[T]]
) -> list[Visited[T]]:
    """Ask every target, all at once; in the order of the file."""

    async def one(place: Behind, name: str) -> Visited[T]:
        try:
            async with asyncio.timeout(seconds), Visit(place.backend, place.chosen, name) as visit:
                return Visited(place, name, await work(visit))
        except (GatewayError, Refused, TimeoutError) as error:
            return Visited(place, name, None, reason(error, seconds))

    return await asyncio.gather(*(one(place, name) for place in backends for name in place.names(target)))


def reason(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    if isinstance(error, GatewayError):
        return plain(": ".join(part for part in (error.message, error.detail) if part))
    return plain(str(error))


def complain(results: Sequence[Visited[Any]]) -> bool:
    """Say which targets failed; whether any did."""
    failed = [one for one in results if one.found is None]
    for one in failed:
        click.echo(f"error: {one.name}: {one.failure}", err=True)
    return bool(failed)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print columns; what stands in the last one may be long."""
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(max(map(len, rows), default=0))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())
