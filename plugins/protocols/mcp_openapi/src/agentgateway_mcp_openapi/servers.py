"""Where the operations of a document are: its servers, and what the configuration says of them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin

from agentgateway_mcp_openapi.config import OpenApiConfig, split_address
from agentgateway_mcp_openapi.document import Document, DocumentError
from agentgateway_mcp_openapi.urls import Base, UnsafeUrl


class Servers:
    """Finds the base of each operation. Raises `DocumentError`."""

    def __init__(self, config: OpenApiConfig, document: Document) -> None:
        self._config = config
        self._fixed: Base | None = None
        self._url: str | None = None
        if config.host is not None:
            parts = split_address(config.host)
            port = f":{config.port}" if config.port is not None else ""
            self._url = f"{parts.scheme}://{parts.netloc}{port}"
            if parts.path.strip("/") or config.path is not None:
                self._fixed = checked(self._url, config.path or parts.path)
                self.base = self._fixed
                return
        self.base = self._base(chosen(config, document), "servers")

    def of(self, item: dict[str, Any], operation: dict[str, Any], where: str) -> Base:
        """The base of one operation: its own server's path, where it has one, but never another server."""
        own = operation.get("servers") or item.get("servers")
        if self._fixed is not None or not isinstance(own, list) or not own:
            return self.base
        base = self._base(own[0], f"{where}.servers")
        if base.url != self.base.url:
            raise DocumentError(f"{where}: it has a server of its own, {base.url}; `exclude` it, or set `host`")
        return base

    def _base(self, server: Any, where: str) -> Base:
        url = filled(server, self._config.server_variables, where)
        if "://" not in url and self._config.schema_.url:
            url = urljoin(self._config.schema_.url, url)
        if "://" not in url:
            if self._url is None:
                raise DocumentError(f"{where}: the document does not say on which host the API is; set `host`")
            return checked(self._url, url)
        parts = split_address(url)
        if parts is None:
            raise DocumentError(f"{where}: not the URL of a server (http or https; no credentials, query or fragment)")
        return checked(self._url or f"{parts.scheme}://{parts.netloc}", parts.path)


def chosen(config: OpenApiConfig, document: Document) -> Any:
    """The server of the document that `server` means. Raises `DocumentError`."""
    servers = document.root.get("servers") or [{"url": "/"}]
    wanted = config.server
    if not isinstance(servers, list):
        raise DocumentError("servers: expected a list")
    if wanted is None:
        return servers[0]
    if isinstance(wanted, int):
        if 0 <= wanted < len(servers):
            return servers[wanted]
        raise DocumentError(f"server {wanted}: the document has {len(servers)}, counted from 0")
    for server in servers:
        if isinstance(server, dict) and wanted in (server.get("url"), server.get("description"), server.get("name")):
            return server
    raise DocumentError("no server of the document has the URL or the description that `server` says")


def filled(server: Any, values: dict[str, str], where: str) -> str:
    """A server's URL, its variables filled in. Raises `DocumentError`."""
    if not isinstance(server, dict) or not isinstance(server.get("url"), str):
        raise DocumentError(f"{where}: a server has a `url`")
    variables = server.get("variables")
    variables = variables if isinstance(variables, dict) else {}

    def value(found: re.Match[str]) -> str:
        name = found[1]
        described = variables.get(name)
        described = described if isinstance(described, dict) else {}
        text = values.get(name, described.get("default"))
        if not isinstance(text, str):
            raise DocumentError(f"{where}: the variable {name[:80]!r} has no value; set `serverVariables`")
        if isinstance(described.get("enum"), list) and text not in described["enum"]:
            raise DocumentError(f"{where}: the variable {name[:80]!r} has a value that its `enum` has not")
        return text

    return re.sub(r"\{([^{}]+)\}", value, server["url"])


def checked(url: str, path: str) -> Base:
    """A base that can be proven against. Raises `DocumentError`."""
    trimmed = "/" + path.strip("/") if path.strip("/") else ""
    base = Base(url.lower(), trimmed)
    try:
        base.prove(trimmed or "/")
    except UnsafeUrl as error:
        raise DocumentError(f"the base path cannot be used: {error}") from None
    return base
