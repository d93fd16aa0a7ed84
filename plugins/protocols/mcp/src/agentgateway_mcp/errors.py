"""What can go wrong with a message, as JSON-RPC errors and HTTP statuses
(https://modelcontextprotocol.io/specification/2026-07-28/basic, "Error codes")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentgateway.errors import GatewayError, InvalidRequest

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
REFUSED = -32001
LIMITED = -32003
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022
URL_ELICITATION_REQUIRED = -32042
"""Of 2025-11-25 alone."""

CODES: Mapping[int, int] = {401: REFUSED, 403: REFUSED, 404: METHOD_NOT_FOUND, 429: LIMITED}
"""Codes for errors of the gateway's own, by status; below 500 it is the client's doing."""


class McpError(InvalidRequest):
    """A message that is answered with a JSON-RPC error. `rpc` is its code, `data` what the code's type has besides."""

    code = "mcp"

    def __init__(
        self,
        rpc: int,
        message: str,
        *,
        status: int = 400,
        data: Any = None,
        detail: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message, status=status, detail=detail, headers=headers)
        self.rpc = rpc
        self.data = data


def rpc_error(error: GatewayError) -> dict[str, Any]:
    """The `error` member of a response."""
    if isinstance(error, McpError):
        told: dict[str, Any] = {"code": error.rpc, "message": error.message}
        if error.data is not None:
            told["data"] = error.data
        return told
    code = CODES.get(error.status) or (INVALID_REQUEST if error.status < 500 else INTERNAL_ERROR)
    return {"code": code, "message": error.message}
