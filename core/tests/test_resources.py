"""Where files, batches and stored responses may be served, and which model's provider gets them."""

import textwrap

import pytest

from agentgateway._host.assembly import assemble
from agentgateway._host.gateway import Gateway
from agentgateway._host.host import Lends
from agentgateway._host.load import parse
from agentgateway._host.metrics import Metrics
from agentgateway._host.transport import Transport
from agentgateway.errors import ConfigError
from agentgateway.exchange import Body, Exchange, Headers, Request
from agentgateway.llm.resources import ResourceCall


def built(config: str) -> Gateway:
    return assemble(parse(textwrap.dedent(config), file="gateway.yaml"), Lends(Transport(), Metrics(), {}), None)


TWO_ACCOUNTS = """
    llm:
      models:
      - {name: "gpt-*", id: first, provider: openAI, resources: [files, stored_responses]}
      - {name: "o*", id: second, provider: openAI, resources: [files, batches]}
      - name: "vip"
        id: third
        provider: openAI
        resources: [files]
        matches: [{headers: [{name: x-team, value: {exact: red}}]}]
      - {name: "claude-*", id: fourth, provider: anthropic, resources: [message_files, message_batches]}
"""


@pytest.mark.parametrize(
    ("method", "path", "headers", "rule", "name"),
    [
        ("GET", "/v1/files", {}, "first", "files"),
        ("GET", "/v1/files?limit=1", {}, "first", "files"),
        ("DELETE", "/v1/files/f-1", {}, "first", "files"),
        ("POST", "/v1/batches", {}, "second", "batches"),
        ("GET", "/v1/files/f-1/content", {"x-team": "red"}, "third", "files"),
        ("GET", "/v1/files", {"anthropic-version": "2023-06-01"}, "fourth", "message_files"),
        ("GET", "/v1/messages/batches/b/results", {"anthropic-version": "1"}, "fourth", "message_batches"),
        ("POST", "/v1/responses/r-1/cancel", {}, "first", "stored_responses"),
    ],
)
async def test_the_first_entry_that_fits_gets_it(method, path, headers, rule, name):
    exchange = Exchange(Request(method, path, Headers.of(headers), Body(b"")))
    await built(TWO_ACCOUNTS).binds[4000].listeners[0].listener.find(exchange)
    assert isinstance(exchange.call, ResourceCall)
    assert (exchange.place.route_rule, exchange.call.dialect.name) == (rule, name)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            "llm: {models: [{name: a, provider: openAI, resources: [fils]}]}",
            ["llm.models[0].resources[0]: no resource is called `fils`", "files"],
        ),
        (
            "llm: {models: [{name: a, provider: anthropic, resources: [message_files, files]}]}",
            ["llm.models[0].resources[1]: this provider has no resource `files`", "message_batches, message_files"],
        ),
        (
            "llm: {models: [{name: a, provider: openAI, params: {pathOverride: /x}, resources: [files]}]}",
            ["llm.models[0].resources: `pathOverride` would lead all of them to one path"],
        ),
        (
            "llm:\n  policies: {guardrails: {response: [{regex: {rules: [{pattern: a}]}}]}}\n"
            "  models: [{name: a, provider: openAI, resources: [files]}]",
            ["llm.models[0].resources: `ai.guards` of llm.policies.guardrails could not read them"],
        ),
        (
            "llm:\n  models: [{name: a, provider: openAI, resources: [files],"
            " guardrails: {request: [{regex: {rules: [{pattern: a}]}}]}}]",
            ["llm.models[0].resources: `ai.guards` of llm.models[0].guardrails could not read them"],
        ),
        (
            "gateways: {a: {port: 4000, policies: {promptGuard: {request: [{regex: {rules: [{pattern: a}]}}]}}}}\n"
            "routes:\n- backends:\n  - ai: {provider: {openAI: {}}, resources: [files]}\n",
            ["routes[0]: `ai.guards` of gateways.a.policies.promptGuard could not read them"],
        ),
        (
            "gateways: {a: {port: 4000}}\nroutes:\n- backends:\n"
            "  - ai: {provider: {openAI: {}}, resources: [files]}\n  - ai: {provider: {openAI: {}}}\n",
            ["routes[0]: a backend with `resources` must be its route's only one"],
        ),
        (
            "gateways: {a: {port: 4000}}\nroutes:\n- backends:\n"
            "  - ai: {groups: [{providers: [{provider: {openAI: {}}}]}], resources: [files]}\n",
            ["routes[0].backends[0].ai.resources: what one provider keeps, no other has"],
        ),
    ],
)
def test_what_could_not_be_kept_is_refused_at_load(config, said):
    with pytest.raises(ConfigError) as caught:
        built(config)
    for words in said:
        assert words in str(caught.value)


def test_guards_of_chat_elsewhere_do_not_mind():
    built("""
        gateways:
          default: {port: 4000}
        routes:
        - matches: [{path: {pathPrefix: /v1/files}}]
          backends: [{ai: {provider: {openAI: {}}, resources: [files]}}]
        - policies: {promptGuard: {request: [{regex: {rules: [{pattern: a}]}}]}}
          backends: [{ai: {provider: {openAI: {}}}}]
    """)
