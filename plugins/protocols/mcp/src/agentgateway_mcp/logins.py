"""Targets that want to know the user: how a client is told to have its user log in, and where the user then comes by.

A class a kind of login, found by name in the entry-point group `agentgateway.mcp_logins`; its configuration is what
stands below that key of a target's `login`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar

from pydantic import BaseModel

from agentgateway.errors import Forbidden
from agentgateway.exchange import Exchange, Reply, Request
from agentgateway.hookspecs import Later
from agentgateway.interfaces import Host
from agentgateway.settings import PluginConfig
from agentgateway_mcp.errors import REFUSED, URL_ELICITATION_REQUIRED
from agentgateway_mcp.messages import CAPABILITIES_KEY, MODERN, NAMED_BY, McpCall
from agentgateway_mcp.servers import Answer

KEY = "agentgateway.login"
"""What the gateway's own request for input is called among those of servers."""
URL_MODE = "2025-11-25"
"""The first version with elicitation by URL."""
BELOW = "/oauth/"
"""What is between an endpoint's path and those of its pages: `/mcp/oauth/TARGET/start`."""
_PAGE = re.compile(r"/oauth/([^/]+)/([a-z.]+)$")


class LoginRequired(Forbidden):
    """The user must go to `url` first. It is for that user alone, and in no log."""

    code = "login_required"

    def __init__(self, target: str, url: str) -> None:
        super().__init__(f"log in to `{target}` first")
        self.url = url


class Login:
    """How users log in to one target. Constructors have no side effects; `target` and `url` (the server's own) are set
    before `start`."""

    Config: ClassVar[type[BaseModel]] = PluginConfig

    def __init__(self, config: Any, host: Host) -> None:
        self.config = config
        self.host = host
        self.target = ""
        self.url = ""

    async def attach(self, exchange: Exchange) -> None:
        """Put the caller's credential on `exchange.outgoing`, which is about to be sent; `exchange.parent` is the
        client's own exchange. Raises `LoginRequired`."""
        raise NotImplementedError

    async def refused(self, exchange: Exchange, answer: Answer, *, again: bool) -> bool:
        """Whether to send it once more, with a better credential, now that the server has answered 401 or 403. False
        lets the answer pass; with `again` it was sent once more already. Raises `LoginRequired`."""
        raise NotImplementedError

    async def visit(self, request: Request, page: str) -> Reply:
        """Answer a browser, of which nothing is known: `page` is the last part of the path."""
        raise NotImplementedError

    async def start(self) -> None:
        """Begin background work."""

    async def stop(self) -> None:
        """End what `start` began."""


def visited(logins: Mapping[str, Login], exchange: Exchange) -> Later | None:
    """The answer to a browser, if it is one that asks for a page of a login; before anybody is known. What its address
    carries is for the login alone, and in no log."""
    path = exchange.request.path
    found = _PAGE.search(path) if BELOW in path else None
    login = logins.get(found[1]) if found is not None else None
    if found is None or login is None:
        return None
    request = copy(exchange.request)
    exchange.request.target, exchange.request.query = path, ""
    return Later(lambda _: login.visit(request, found[2]))


# --- what clients are told -------------------------------------------------------------------------------------------


def told(call: McpCall, error: LoginRequired) -> dict[str, Any]:
    """The `result` or `error` of a response to a request that has to wait for a login."""
    asked = {"mode": "url", "message": f"{error.message[0].upper()}{error.message[1:]}.", "url": error.url}
    if not opens_urls(call):
        message = f"{error.message}: {error.url}"
        return {"error": {"code": REFUSED, "message": message, "data": {"url": error.url}}}
    if call.version < MODERN:
        elicitation = {**asked, "elicitationId": secrets.token_urlsafe(12)}
        data = {"elicitations": [elicitation]}
        return {"error": {"code": URL_ELICITATION_REQUIRED, "message": error.message, "data": data}}
    if call.method not in NAMED_BY:  # lists cannot ask for input (specification 2026-07-28, "MRTR")
        return {"error": {"code": REFUSED, "message": error.message, "data": {"url": error.url}}}
    result = {
        "resultType": "input_required",
        "inputRequests": {KEY: {"method": "elicitation/create", "params": asked}},
    }
    state = call.params.get("requestState")
    return {"result": result if not isinstance(state, str) else {**result, "requestState": state}}


def waiting_for_login(call: McpCall, error: LoginRequired) -> dict[str, Any]:
    """The whole response."""
    response = told(call, error)
    call.error_code = response["error"]["code"] if "error" in response else None
    return {"jsonrpc": "2.0", "id": call.id, **response}


def opens_urls(call: McpCall) -> bool:
    """Whether the client has said that it shows its user a URL."""
    if call.version < URL_MODE:
        return False
    if call.modern:
        meta = call.params.get("_meta")
        said = meta.get(CAPABILITIES_KEY) if isinstance(meta, dict) else None
    else:
        asked = call.params if call.session is None else call.session.asked
        said = asked.get("capabilities")
    elicitation = said.get("elicitation") if isinstance(said, dict) else None
    return isinstance(elicitation, dict) and isinstance(elicitation.get("url"), dict)


def settle(call: McpCall) -> None:
    """Take the user's answer to the gateway's own question out of the message: no server has asked for it."""
    answers = call.params.get("inputResponses")
    if not isinstance(answers, dict) or KEY not in answers:
        return
    said = answers.pop(KEY)
    call.login = str(said.get("action")) if isinstance(said, dict) else "cancel"
    if not answers:
        del call.params["inputResponses"]
    call.changed_by_guard = True
