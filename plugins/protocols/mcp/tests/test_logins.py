"""Logins of users: which clients are told what, and what is taken out of their messages."""

from typing import Any

import pytest
from agentgateway_mcp.logins import KEY, LoginRequired, opens_urls, settle, told
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.sessions import Opened
from pydantic import ValidationError

from agentgateway.errors import ConfigError
from agentgateway.testing import LoopbackHost, make

LEGACY, MODERN = "2025-11-25", "2026-07-28"
URL = "https://gateway.example.com/mcp/oauth/files/start?ticket=canary"
BOTH = {"elicitation": {"form": {}, "url": {}}}


def message(version: str, method: str, capabilities: Any, **params: Any) -> McpCall:
    """A client's message in that version; `capabilities` are those of its session, or its own."""
    if version == MODERN:
        params["_meta"] = {"io.modelcontextprotocol/clientCapabilities": capabilities}
    elif method == "initialize":
        params["capabilities"] = capabilities
    call = McpCall("send", b"", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    call.version = version
    if version < MODERN and method != "initialize":
        call.session = Opened(version, {}, "", 0, asked={"capabilities": capabilities})
    return call


@pytest.mark.parametrize("version", [LEGACY, MODERN])
@pytest.mark.parametrize(
    "capabilities", [None, {}, [], {"elicitation": {}}, {"elicitation": {"form": {}}}, {"elicitation": {"url": True}}]
)
def test_only_who_says_so_opens_urls(version: str, capabilities: Any) -> None:
    assert not opens_urls(message(version, "tools/call", capabilities))
    assert opens_urls(message(version, "tools/call", BOTH))


def test_before_2025_11_25_nobody_opens_urls() -> None:
    assert not opens_urls(message("2025-06-18", "tools/call", BOTH))


@pytest.mark.parametrize("method", ["initialize", "tools/list", "tools/call"])
def test_in_a_session_an_error_asks_to_open_the_url(method: str) -> None:
    error = told(message(LEGACY, method, BOTH), LoginRequired("files", URL))["error"]
    (asked,) = error["data"]["elicitations"]
    assert error["code"] == -32042
    assert asked.pop("elicitationId")
    assert asked == {"mode": "url", "message": "Log in to `files` first.", "url": URL}


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
def test_without_sessions_a_result_asks_to_open_the_url(method: str) -> None:
    result = told(message(MODERN, method, BOTH), LoginRequired("files", URL))["result"]
    assert result["resultType"] == "input_required"
    assert result["inputRequests"][KEY]["params"]["url"] == URL
    assert "requestState" not in result


def test_the_servers_own_state_comes_back() -> None:
    call = message(MODERN, "tools/call", BOTH, requestState="sealed")
    assert told(call, LoginRequired("files", URL))["result"]["requestState"] == "sealed"


@pytest.mark.parametrize(("method", "capabilities"), [("tools/list", BOTH), ("tools/call", {})])
def test_who_cannot_be_asked_gets_the_url_in_an_error(method: str, capabilities: Any) -> None:
    error = told(message(MODERN, method, capabilities), LoginRequired("files", URL))["error"]
    assert (error["code"], error["data"]) == (-32001, {"url": URL})
    assert (URL in error["message"]) == (method == "tools/call")


def test_the_link_is_in_no_log() -> None:
    error = LoginRequired("files", URL)
    assert "canary" not in f"{error} {error!r} {error.message} {error.detail}"


def test_what_the_user_answered_goes_no_further() -> None:
    call = message(MODERN, "tools/call", BOTH, inputResponses={KEY: {"action": "decline"}}, name="x")
    settle(call)
    assert (call.login, b"inputResponses" in call.body(), b'"name":"x"' in call.body()) == ("decline", False, True)
    call = message(MODERN, "tools/call", BOTH, inputResponses={KEY: "odd", "own": {}})
    settle(call)
    assert (call.login, call.params["inputResponses"]) == ("cancel", {"own": {}})
    call = message(MODERN, "tools/call", BOTH, inputResponses={"own": {}})
    settle(call)
    assert (call.login, call.changed) == (None, False)


def backend(target: dict[str, Any]) -> Any:
    return make(
        "agentgateway.backends", "mcp", {"targets": [{"name": "files", **target}]}, LoopbackHost("backends[0].mcp")
    )


def test_a_login_needs_a_server_with_an_address() -> None:
    with pytest.raises(ConfigError) as caught:
        backend({"stdio": {"cmd": "python3"}, "login": {"authorizationCode": {}}})
    assert caught.value.path == "backends[0].mcp.targets[0].login"
    assert backend({"mcp": {"host": "h:1"}, "login": {"authorizationCode": {}}}).logins["files"].url == "http://h:1/mcp"


@pytest.mark.parametrize("login", [{}, {"authorizationCode": {}, "other": {}}, {"authorizationCode": {"x": 1}}])
def test_a_login_is_of_one_kind(login: Any) -> None:
    with pytest.raises(ValidationError):
        backend({"mcp": {"host": "h:1"}, "login": login})
