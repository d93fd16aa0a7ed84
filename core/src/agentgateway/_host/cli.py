"""The commands of the core: serve (the default), validate, schema, plugins, explain."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from agentgateway import __version__
from agentgateway._host.program import OwnGateways, Program
from agentgateway.commands import Failure
from agentgateway.errors import ConfigError

EPILOG = """
Try it without any key:

\b
    agentgateway -f conf/demo.yaml
    curl localhost:4000/v1/chat/completions -H 'content-type: application/json' \\
         -d '{"model": "demo", "messages": [{"role": "user", "content": "hello"}]}'

`agentgateway COMMAND --help` tells more about a command.
"""

FILE = click.option("-f", "--file", metavar="FILE", help="The configuration file; `-` reads standard input.")


@click.group(
    cls=Program, invoke_without_command=True, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@FILE
@click.option("--validate-only", is_flag=True, help="Check the configuration and exit.")
@click.version_option(__version__, "-V", "--version", prog_name="agentgateway")
@click.pass_context
def main(context: click.Context, file: str | None, validate_only: bool) -> None:
    """A gateway between AI agents and the models, tools and agents they call.

    Without a command it serves FILE: it listens where the file says, reloads the file when it changes, and drains on
    SIGTERM.
    """
    context.obj = OwnGateways()
    if context.invoked_subcommand is not None:
        if file is not None:
            raise click.UsageError(f"put -f behind the command: agentgateway {context.invoked_subcommand} -f {file}")
        return
    if file is None:
        raise click.UsageError("which configuration? agentgateway -f FILE (or see agentgateway --help)")
    if validate_only:
        check(file)
    else:
        sys.exit(serve(file))


@main.command()
@FILE
@click.argument("path", required=False)
def validate(file: str | None, path: str | None) -> None:
    """Check a configuration: exit code 0 when it could be served, 1 with every error otherwise."""
    check(one_file(file, path))


@main.command()
@FILE
@click.argument("path", required=False)
def explain(file: str | None, path: str | None) -> None:
    """Print each route's compiled chain by phase, and which line of the file put each participant there."""
    from agentgateway._host.explain import explain as lines

    for line in lines(compiled(one_file(file, path))):
        click.echo(line)


@main.command()
def schema() -> None:
    """Print one JSON Schema of everything installed, for editors and CI."""
    from agentgateway._host.schema import schema as make

    try:
        click.echo(json.dumps(make(), indent=2))
    except ConfigError as error:
        raise Failure(str(error)) from error


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def plugins(as_json: bool) -> None:
    """List what is installed: name, kind, distribution, version, and the phases it takes part in."""
    from agentgateway._host.listing import listed

    rows = list(listed())
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
        return
    widths = [max(len(str(row[i])) for row in [rows[0]._fields, *rows]) for i in range(len(rows[0]))]
    for row in [tuple(name.upper() for name in rows[0]._fields), *rows]:
        click.echo("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def one_file(file: str | None, path: str | None) -> str:
    chosen = file or path
    if chosen is None or (file and path):
        raise click.UsageError("name one configuration file")
    return chosen


def check(file: str) -> None:
    gateway = compiled(file)
    click.echo(f"{file}: ok ({len(gateway.binds)} ports, {len(gateway.routes)} routes)")


def compiled(file: str) -> Any:
    """The gateway of a file, not started. Exits with the errors, file and line, when there is none."""
    from agentgateway._host.load import ENVIRON, read
    from agentgateway._host.runtime import Runtime
    from agentgateway._host.serving import settings_of

    try:
        document = read(file)
        return Runtime(file, document, ENVIRON, settings_of(document)).gateway
    except ConfigError as error:
        raise Failure(str(error)) from error


def serve(file: str) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    from agentgateway._host.load import ENVIRON, read
    from agentgateway._host.serving import serve_document

    try:
        return serve_document(file, read(file), ENVIRON)
    except ConfigError as error:
        raise Failure(str(error)) from error
