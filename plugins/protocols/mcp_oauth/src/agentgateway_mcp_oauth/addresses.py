"""Addresses of OAuth: where documents stand below `/.well-known`, and which URLs the gateway may send anybody to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import quote, urlsplit

from agentgateway.exchange import Request

BEFORE = "/.well-known/oauth-"
"""What all paths that this package answers begin with."""
RESOURCE = "/.well-known/oauth-protected-resource"  # RFC 9728 section 3
SERVER = "/.well-known/oauth-authorization-server"  # RFC 8414 section 3

Operation = Literal["client-registration", "authorize", "token", "callback"]
"""What the gateway does on behalf of an identity provider; each stands below the document that names it."""

_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")  # RFC 3986 section 3.3
_PRINTABLE = re.compile(r"[!-\[\]-~]+")  # no backslash either: browsers read it as a slash, we do not
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a path below `/.well-known` asks for, and of which resource: `path` is empty or begins with a slash."""

    what: Literal["resource", "server"] | Operation
    path: str


def asked(path: str, operations: frozenset[Operation]) -> Asked | None:
    """What is asked for. None for what nobody answers."""
    if (of_resource := _below(RESOURCE, path)) is not None:
        return Asked("resource", of_resource)
    of_server = _below(SERVER, path)
    if of_server is None:
        return None
    head, _, last = of_server.rpartition("/")
    for operation in operations:
        if last == operation or (operation == "callback" and last.startswith("callback-")):
            return Asked(operation, head)
    return Asked("server", of_server)


def _below(prefix: str, path: str) -> str | None:
    rest = path[len(prefix) :]
    plain = path.startswith(prefix) and _PATH.fullmatch(rest) and not {"..", "."} & set(rest.split("/"))
    return rest if plain else None


def own_path(request: Request) -> str:
    """The path of the resource that a request is for, as it stands in a document's address."""
    return "" if request.path == "/" else quote(request.path, safe="/!$&'()*+,;=:@%~")


def own_origin(request: Request) -> str:
    """Where the client sees the gateway; empty when it does not say (HTTP/1.0)."""
    return f"{request.scheme}://{request.authority}" if request.authority else ""


def origin(url: str) -> str:
    """Scheme and authority of an absolute URL, its port left out where it is the scheme's own. Raises `ValueError` for
    what is no http(s) URL, or may be read as more than one."""
    parts = urlsplit(url)
    if not _PRINTABLE.fullmatch(url) or parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an absolute http or https URL")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port
    return f"{parts.scheme}://{host}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def trustworthy(url: str) -> bool:
    """Whether nobody on the way can change what stands there: https, or this machine."""
    host = urlsplit(url).hostname or ""
    if url.startswith("https://") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def belongs(url: object, home: str) -> bool:
    """Whether it is a URL at that origin."""
    try:
        return isinstance(url, str) and "#" not in url and origin(url) == home
    except ValueError:
        return False
