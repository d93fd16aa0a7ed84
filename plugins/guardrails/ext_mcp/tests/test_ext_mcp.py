"""What can be configured, which messages are shown, and every field on the wire."""

import json
from typing import Any

import pytest
from agentgateway_guardrail_ext_mcp import wire
from agentgateway_guardrail_ext_mcp.config import HeaderFilter, McpGuardrailsConfig
from agentgateway_guardrail_ext_mcp.headers import Shown, apply, edits
from agentgateway_guardrail_ext_mcp.methods import Methods
from agentgateway_guardrail_ext_mcp.remote import own_error, plain
from pydantic import ValidationError

from agentgateway.errors import GuardFailed
from agentgateway.exchange import Headers
from agentgateway.testing import LoopbackHost, PolicyContract, chat, http, make, run_phase
from agentgateway.testing.contracts import CANARY

ONE = {"kind": "remote", "host": "127.0.0.1:9", "methods": {"*": "full"}}


class TestContract(PolicyContract):
    name = "mcpGuardrails"
    config = {"processors": [{**ONE, "policies": {"backendAuth": {"key": CANARY}}}]}
    levels = ("gateway", "route", "backend")


def read(**changed: Any) -> Any:
    (one,) = McpGuardrailsConfig.model_validate({"processors": [{**ONE, **changed}]}).processors
    return one


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("guard:9000", "http://guard:9000"),
        ("https://guard", "https://guard"),
        ("http://[::1]:9000/", "http://[::1]:9000/".rstrip("/")),
    ],
)
def test_addresses(host: str, address: str) -> None:
    assert read(host=host).host == address


def test_the_references_target_is_a_host() -> None:
    rest = {key: value for key, value in ONE.items() if key != "host"}
    for target in ({"host": "guard:9000"}, "guard:9000"):
        config = McpGuardrailsConfig.model_validate({"processors": [{**rest, "target": target}]})
        assert config.processors[0].host == "http://guard:9000"


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "guard:9000/path"},
        {"host": "http://u:p@guard:9000"},
        {"host": "ftp://guard"},
        {"host": "guard:x"},
        {"host": ""},
        {"methods": {}},
        {"methods": {"a*b": "full"}},
        {"methods": {"**": "full"}},
        {"methods": {"": "full"}},
        {"methods": {"tools/call": "both"}},
        {"kind": "local"},
        {"timeout": "0"},
        {"requestHeaders": {"allowed": ["bad name"]}},
        {"policies": {"backendTLS": {"cert": "pyproject.toml"}}},
        {"target": "guard:9000"},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(**wrong)


@pytest.mark.parametrize("level", ["gateway", "route"])
async def test_a_route_that_speaks_no_mcp_is_not_guarded_and_says_so(level: Any) -> None:
    policy = make("agentgateway.policies", "mcpGuardrails", {"processors": [ONE]}, LoopbackHost(level=level))
    if level == "gateway":
        assert await run_phase(policy, "authz", chat()) is None
    else:
        with pytest.raises(GuardFailed, match="could not be evaluated"):
            await run_phase(policy, "authz", chat())


def test_the_most_exact_pattern_decides() -> None:
    methods = Methods({"tools/call": "off", "tools/*": "request", "*/list": "response", "*": "full", "a/b/*": "off"})
    found = {
        "tools/call": "off",
        "tools/list": "request",
        "prompts/list": "response",
        "ping": "full",
        "a/b/c": "off",
        "a/x": "full",
    }
    assert {method: methods.phase(method) for method in found} == found
    assert Methods({"tools/call": "full"}).phase("tools/list") == "off"
    assert (methods.requests("ping"), methods.results("ping")) == (True, True)
    assert (methods.requests("prompts/list"), methods.results("tools/list")) == (False, False)


def of(number: int, value: bytes) -> bytes:
    """A field with a length (https://protobuf.dev/programming-guides/encoding)."""
    return bytes([number << 3 | 2, len(value)]) + value


def test_messages_are_on_the_wire_what_the_reference_has() -> None:
    made = wire.classes()
    request = made["McpRequest"](service_names=["a", "b"], method="tools/call", mcp_request=b"{}")
    request.metadata_context.update({"k": "v"})
    request.headers.add(key="x", value=b"\xff")
    struct = of(1, of(1, b"k") + of(2, of(3, b"v")))
    rest = of(1, b"a") + of(1, b"b") + of(2, b"tools/call") + of(3, struct) + of(4, b"{}")
    assert request.SerializeToString(deterministic=True) == rest + of(5, of(1, b"x") + of(2, b"\xff"))
    response = made["McpResponse"](service_names=["a"], method="m", mcp_response=b"{}")
    assert response.SerializeToString() == of(1, b"a") + of(2, b"m") + of(4, b"{}")

    result, answer = made["McpRequestResult"], made["McpResponseResult"]
    assert result.FromString(of(1, b"")).WhichOneof("result") == "pass"
    changed = result.FromString(of(2, b"{}") + of(4, of(1, of(1, b"x") + of(2, b"1")) + of(2, b"y")) + of(5, struct))
    assert (changed.WhichOneof("result"), changed.mutated) == ("mutated", b"{}")
    assert [(one.key, one.value) for one in changed.header_mutation.set] == [("x", b"1")]
    assert list(changed.header_mutation.remove) == ["y"]
    assert plain(changed.metadata) == {"k": "v"}
    refused = answer.FromString(of(3, bytes([1 << 3, 2]) + of(2, b"why") + of(3, b"{}"))).error
    assert (refused.code, refused.reason, refused.mcp_error) == (2, "why", b"{}")
    assert made["AuthorizationError"].FromString(b"").HasField("mcp_error") is False


def test_metadata_are_values_of_expressions() -> None:
    struct = wire.classes()["Struct"]()
    struct.update({"a": 1, "b": [True, None, "x"], "c": {"d": 0.5}})
    assert plain(struct) == {"a": 1.0, "b": [True, None, "x"], "c": {"d": 0.5}}


HEADERS = {"x-tenant": "t", "authorization": "Bearer x", "cookie": "c=1", "X-Other": "o"}


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, {":method", ":scheme", ":authority", ":path", "x-tenant", "x-other"}),
        ({"allowed": ["X-Tenant", "authorization", ":path"]}, {"x-tenant", "authorization", ":path"}),
        ({"disallowed": ["x-tenant", ":scheme", ":path", ":method"]}, {":authority", "x-other"}),
        ({"allowed": ["x-tenant", "x-other"], "disallowed": ["x-other"]}, {"x-tenant"}),
    ],
)
def test_headers_are_shown_that_pass_the_filter(config: dict[str, Any], names: set[str]) -> None:
    request = http("POST", "/mcp?a=1", headers=HEADERS).request
    shown = dict(Shown(HeaderFilter.model_validate(config)).of(request))
    assert set(shown) - {"host"} == names
    assert shown.get(":path", b"/mcp?a=1") == b"/mcp?a=1"


def test_headers_are_edited_but_those_of_framing_and_session() -> None:
    mutation = wire.classes()["HeaderMutation"](remove=["X-Gone", "content-type", "bad name"])
    given = [("X-Multi", b"1"), ("x-multi", b"2"), ("host", b"evil"), ("mcp-session-id", b"s"), ("x-bad", b"a\r\nb: c")]
    for key, value in given:
        mutation.set.add(key=key, value=value)
    headers = Headers.of({"x-multi": "0", "x-gone": "1", "host": "fine", "content-type": "application/json"})
    apply(edits(mutation), headers)
    assert list(headers) == [("host", "fine"), ("content-type", "application/json"), ("x-multi", "1"), ("x-multi", "2")]


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ({"code": -32050, "message": "own", "data": 1}, (-32050, "own", 1)),
        ({"hint": "ask"}, (-32001, "no", {"hint": "ask"})),
        ({"code": True, "message": "own"}, (-32001, "no", {"code": True, "message": "own"})),
        ("text", (-32001, "no", "text")),
    ],
    ids=str,
)
def test_a_processors_own_error(raw: Any, error: tuple[Any, ...]) -> None:
    assert own_error(json.dumps(raw).encode(), -32001, "no") == error
    assert own_error(b"{", -32001, "no") == (-32001, "no", None)
