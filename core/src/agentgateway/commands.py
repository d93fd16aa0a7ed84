"""What a command of a plugin builds on: a click command in the entry-point group `agentgateway.commands`, which is
`agentgateway NAME` then. It is imported when it is named, or when somebody asks for the list of commands.

    @click.command()
    @file_option
    @pass_gateways
    def count(gateways: Gateways, file: str) -> None:
        \"\"\"Print how many targets FILE has.\"\"\"

        async def targets() -> int:
            async with gateways.open(file) as gateway:
                return len(gateway.targets)

        click.echo(asyncio.run(targets()))

A `ConfigError`, and whatever is raised as a `Failure`, is printed as `error: …`, with exit code 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import click

from agentgateway.exchange import Target


@dataclass(frozen=True)
class OpenGateway:
    """A configuration whose plugins are started, and which serves nobody. `targets` are those of all its routes, each
    once, with the policies that stand on them compiled."""

    targets: Sequence[Target]


class Gateways:
    """Opens configurations. The one of this process is in the context of every command."""

    def open(self, file: str) -> AbstractAsyncContextManager[OpenGateway]:
        """Read, compile and start one; stop it at the end. Raises `ConfigError`."""
        raise NotImplementedError


class Failure(click.ClickException):
    """It cannot be done: exit code 1, the message as it is."""

    def show(self, file: Any = None) -> None:
        click.echo(f"error: {self.message}", err=True)


pass_gateways = click.make_pass_decorator(Gateways)
file_option = click.option(
    "-f", "--file", metavar="FILE", required=True, help="The configuration file; `-` reads standard input."
)

__all__ = ["Failure", "Gateways", "OpenGateway", "file_option", "pass_gateways"]
