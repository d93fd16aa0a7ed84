"""What a configuration comes to, for people: each route's chain by phase, and the line each participant comes from."""

from __future__ import annotations

from collections.abc import Iterator

from agentgateway._host.gateway import Gateway
from agentgateway._host.routes import Match
from agentgateway.hookspecs import PHASES


def explain(gateway: Gateway) -> Iterator[str]:
    """Lines of text."""
    document = gateway.document
    for bind in gateway.binds.values():
        edge = gateway.settings.server.edge if bind.edge is None else bind.edge
        for bound in bind.listeners:
            listener = bound.listener
            scheme = "https" if bound.tls else "http"
            face = "" if edge else ", edge off"
            yield f"{scheme}://{bind.address or '*'}:{bind.port}  gateway {bind.name}, listener {listener.name}{face}"
            yield from _chain("  before routing", listener.chain.origins, document.source.file)
            for hostname, match, route in listener.entries():
                yield ""
                yield f"  route {route.name}  {said(match, hostname)}"
                yield from _chain("    ", route.chain.origins, document.source.file)
            yield ""


def _chain(margin: str, origins: tuple[tuple[str, str, str, int | None], ...], file: str) -> Iterator[str]:
    for phase in PHASES:
        members = [origin for origin in origins if origin[0] == phase]
        for index, (_, name, at, line) in enumerate(members):
            place = f"{file}:{line}" if line else "built in"
            yield f"{margin}  {phase if index == 0 else '':14}{name:28} {place:24} {at}".rstrip()


def said(match: Match, hostname: str) -> str:
    """A match in one line."""
    path = match.path
    parts = [f"host {hostname}"] if hostname not in ("", "*") else []
    prefix = (path.path_prefix or "").rstrip("/") + "/*"
    parts.append(f"path {path.exact or (path.regex and f'~{path.regex}') or prefix}")
    if match.model is not None:
        parts.append(f"model {match.model.text}")
    if match.method is not None:
        parts.append(f"method {match.method}")
    parts.extend(f"header {field.name}" for field in match.headers)
    parts.extend(f"query {field.name}" for field in match.query)
    return ", ".join(parts)
