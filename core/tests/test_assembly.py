"""What a configuration file comes to, and what is said about a wrong one. No plugin but the core's own is needed."""

import textwrap
from pathlib import Path

import pytest

from agentgateway._host.assembly import assemble
from agentgateway._host.gateway import Gateway
from agentgateway._host.host import Lends
from agentgateway._host.load import parse
from agentgateway._host.metrics import Metrics
from agentgateway._host.parts import fingerprint
from agentgateway._host.transport import Transport
from agentgateway.errors import ConfigError


def built(config: str, previous: Gateway | None = None, environ: dict[str, str] | None = None) -> Gateway:
    document = parse(textwrap.dedent(config), file="gateway.yaml", environ=environ or {})
    return assemble(document, Lends(Transport(), Metrics(), {}), previous)


def refused(config: str) -> str:
    with pytest.raises(ConfigError) as caught:
        built(config)
    return str(caught.value)


MINIMAL = """
gateways:
  default: {port: 4000}
routes:
  - backends: [{host: 127.0.0.1:9}]
"""


def chains(gateway: Gateway) -> dict[str, list[str]]:
    return {name: [f"{o.phase}:{o.name}" for o in chain.origins] for name, _, chain in gateway.routes}


def test_a_gateway_a_route_and_a_backend():
    gateway = built(MINIMAL)
    assert list(gateway.binds) == [4000]
    assert chains(gateway) == {"route-0": ["route:backends", "log:accessLog"]}


def test_binds_are_the_older_form_of_the_same():
    gateway = built("""
        binds:
        - port: 3000
          listeners:
          - name: web
            routes:
            - name: all
              backends: [{host: 127.0.0.1:9}]
    """)
    assert list(gateway.binds) == [3000]
    assert list(chains(gateway)) == ["all"]


def test_llm_opens_port_4000_of_its_own():
    gateway = built("""
        llm:
          policies: {timeout: {requestTimeout: 10s}}
          models: [{name: m, provider: simulator}]
    """)
    assert list(gateway.binds) == [4000]


def test_llm_without_gateways_attaches_to_the_default_one():
    gateway = built("""
        gateways:
          default: {port: 5000}
          other: {port: 5001}
        llm: {models: [{name: m, provider: simulator}]}
    """)
    assert sorted(gateway.binds) == [5000, 5001]


# --- policies and levels ---------------------------------------------------------------------------------------------


def test_the_more_specific_policy_of_a_kind_wins():
    gateway = built("""
        gateways:
          default: {port: 4000, policies: {timeout: {requestTimeout: 1s}}}
        routes:
          - {name: own, policies: {timeout: {requestTimeout: 2s}}, backends: [{host: 127.0.0.1:9}]}
          - {name: inherits, backends: [{host: 127.0.0.1:9}]}
    """)
    at = {name: [o.at for o in chain.origins if o.name == "timeout"] for name, _, chain in gateway.routes}
    assert set(at["own"]) == {"routes[0].policies.timeout"}
    assert set(at["inherits"]) == {"gateways.default.policies.timeout"}


def test_authorization_of_all_levels_applies():
    gateway = built("""
        gateways:
          default: {port: 4000, policies: {authorization: {rules: ["true"]}}}
        routes:
          - {name: r, policies: {authorization: {rules: ["true"]}}, backends: [{host: 127.0.0.1:9}]}
    """)
    assert chains(gateway)["r"].count("authz:authorization") == 2


def test_a_targeted_policy_joins_what_it_names():
    gateway = built("""
        gateways: {default: {port: 4000}}
        routes:
          - {name: a, backends: [{backend: shared}]}
          - {name: b, backends: [{host: 127.0.0.1:9}]}
        backends: [{name: shared, host: 127.0.0.1:9}]
        policies:
          - {target: {route: b}, policy: {retry: {attempts: 2}}}
          - {target: {gateway: default}, policy: {timeout: {requestTimeout: 5s}}}
          - {target: {backend: shared}, policy: {backendTLS: {}}}
    """)
    assert "accept:retry" in chains(gateway)["b"]
    assert "accept:retry" not in chains(gateway)["a"]
    assert all("accept:timeout" in chain for chain in chains(gateway).values())
    assert any("backendTLS" in step for step in chains(gateway)["a"])


def test_a_targeted_policy_does_not_displace_one_that_composes():
    gateway = built("""
        gateways:
          default: {port: 4000, policies: {authorization: {rules: [{deny: "true"}]}}}
        routes: [{name: r, backends: [{host: 127.0.0.1:9}]}]
        policies:
          - {target: {gateway: default}, policy: {authorization: {rules: ["true"]}}}
          - {target: {gateway: default/default}, policy: {authorization: {rules: ["true"]}}}
    """)
    assert chains(gateway)["r"].count("authz:authorization") == 3


def test_a_model_takes_what_its_provider_says_unless_it_says_otherwise():
    gateway = built("""
        llm:
          providers:
            - name: p
              provider: simulator
              defaults: {defaults: {temperature: 0, top_p: 1}, overrides: {seed: 1}}
          models:
            - {name: m, provider: {reference: p}, defaults: {temperature: 1}}
    """)
    (shape,) = [part.config for key, part in gateway.parts.items() if ":ai on " in key[1] and "policies" in key[0]]
    assert shape.defaults == {"temperature": 1, "top_p": 1}
    assert shape.overrides == {"seed": 1}


def test_certificates_are_found_beside_the_configuration_and_watched(tmp_path: Path):
    (tmp_path / "cert.pem").write_text("x")
    config = "gateways: {default: {port: 4000, tls: {cert: cert.pem, key: nope.pem}}}"
    document = parse(config, file=str(tmp_path / "gateway.yaml"), environ={})
    with pytest.raises(ConfigError, match=r"gateways.default.tls.key: no such file"):
        assemble(document, Lends(Transport(), Metrics(), {}))
    assert tmp_path / "cert.pem" in document.files


def test_a_policy_of_phase_gateway_runs_before_routing_only():
    gateway = built("""
        gateways: {default: {port: 4000}}
        routes: [{name: r, backends: [{host: 127.0.0.1:9}]}]
        policies:
          - {target: {gateway: default}, phase: gateway, policy: {authorization: {rules: ["false"]}}}
    """)
    listener = gateway.binds[4000].listeners[0].listener
    assert [step.name for step in listener.chain.authz] == ["authorization"]
    (_, _, route) = next(iter(listener.entries()))
    assert route.chain.authz == ()


# --- reload ----------------------------------------------------------------------------------------------------------


def test_parts_survive_a_reload_when_their_configuration_did():
    config = """
        gateways: {default: {port: 4000}}
        routes:
          - {name: r, policies: {timeout: {requestTimeout: %s}}, backends: [{host: 127.0.0.1:9}]}
    """
    first = built(config % "1s")
    second = built(config % "1s", first)
    third = built(config % "2s", second)
    assert {id(part) for part in first.parts.values()} == {id(part) for part in second.parts.values()}
    changed = {key[1] for key in third.parts if key not in second.parts}
    assert changed == {"routes[0].policies.timeout:timeout on route"}


def test_a_changed_file_changes_a_part(tmp_path: Path):
    (tmp_path / "secret").write_text("one")
    before = fingerprint({"key": {"file": "secret"}}, tmp_path)
    (tmp_path / "secret").write_text("two")
    assert fingerprint({"key": {"file": "secret"}}, tmp_path) != before


async def test_a_part_that_fails_to_start_stops_those_that_did():
    gateway = built(MINIMAL)
    seen: list[str] = []

    class Good:
        async def start(self) -> None:
            seen.append("started")

        async def stop(self) -> None:
            seen.append("stopped")

    class Bad(Good):
        async def start(self) -> None:
            raise ConfigError("no")

    gateway.parts = {("g", "a", ""): Good(), ("g", "b", ""): Bad()}
    with pytest.raises(ConfigError):
        await gateway.start()
    assert seen == ["started", "stopped", "stopped"]


async def test_a_part_that_fails_to_stop_is_named_and_keeps_no_other_from_it(caplog):
    gateway = built(MINIMAL)
    stopped: list[str] = []

    class Good:
        async def stop(self) -> None:
            stopped.append("good")

    class Stubborn:
        async def stop(self) -> None:
            raise OSError("no")

    gateway.parts = {("g", "a", ""): Good(), ("g", "b", ""): Stubborn()}
    await gateway.stop()
    assert stopped == ["good"]
    assert "Stubborn failed to stop" in caplog.text


# --- wrong configurations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("gateways: {default: {prot: 4000}}", ["gateway.yaml:1", "gateways.default", "port", "unknown key"]),
        ("gateways: {default: {port: 70000}}", ["gateways.default.port", "65535"]),
        ("{}", ["nothing to serve", "llm"]),
        (
            "gateways: {default: {port: 4000}}\nroutes:\n  - policies:\n      nonsense: {}\n",
            ["gateway.yaml:4", "routes[0].policies.nonsense", "unknown policy", "installed:"],
        ),
        (
            "gateways: {default: {port: 4000}}\nroutes:\n  - policies:\n      timeuot: {}\n",
            ["did you mean `timeout`?"],
        ),
        (
            "gateways: {default: {port: 4000}}\nroutes:\n  - policies:\n      timeout: {requestTimeout: 10}\n",
            ["gateway.yaml:4", "routes[0].policies.timeout.requestTimeout", "needs a unit", "10s"],
        ),
        (
            "gateways: {default: {port: 4000}}\nroutes:\n  - policies:\n"
            "      authorization: {rules: ['request.mehtod']}\n",
            ["gateway.yaml:4", "routes[0].policies.authorization", "method"],
        ),
        ("gateways: {default: {port: 4000}}\nroutes: [{gateways: other}]", ["no gateway of that name", "default"]),
        (
            "gateways: {a: {port: 4000}, b: {port: 4000}}\nroutes: [{backends: [{host: 'h:1'}]}]",
            ["already used by gateway `a`", "gateways: a"],
        ),
        (
            "gateways: {a: {port: 4000}}\nroutes: [{backends: [{host: 'h:1', internal: {}}]}]",
            ["routes[0].backends[0]", "exactly one kind"],
        ),
        ("gateways: {a: {port: 4000}}\nroutes: [{backends: [{backend: nope}]}]", ["no backend of that name"]),
        ("gateways: {a: {port: 4000}}\nroutes: [{backends: [{host: 'a b'}]}]", ["routes[0].backends[0].host"]),
        (
            "gateways: {a: {port: 4000}}\nroutes: [{backends: [{host: 'h:1'}, {ai: {provider: {nope: {}}}}]}]",
            ["unknown provider `nope`"],
        ),
        (
            "gateways: {a: {port: 4000}}\nroutes: [{backends: [{host: 'h:1'}, {models: {}}]}]",
            ["must speak one protocol"],
        ),
        ("gateways: {a: {port: 4000}}\npolicies: [{target: {route: r}, policy: {timeout: {}}}]", ["has that name"]),
        ("gateways: {a: {port: 4000}}\nmcpp: {}", ["mcpp", "unknown section"]),
        (
            "gateways: {a: {port: 4000}}\nroutes: [{backends: [{host: 'h:1', policies: {retry: {attempts: 1}}}]}]",
            ["`retry` cannot stand on a backend"],
        ),
        (
            "gateways: {a: {port: 4000}}\nroutes:\n- backends:\n"
            "  - {host: 'h:1', policies: {ai: {routes: {/x: completions}}}}\n  - {host: 'h:2'}\n",
            ["`ai` acts before a backend is chosen"],
        ),
        ("gateways: {a: {port: 4000, tls: {cert: a}}}", ["gateways.a.tls.key", "required"]),
        (
            "gateways: {a: {port: 4000, listeners: [{protocol: HTTPS}]}}",
            ["gateways.a.listeners[0]", "HTTPS needs `tls`"],
        ),
        ("llm: {models: [{name: 'a*b', provider: openAI}]}", ["llm.models[0].name"]),
        (
            "llm: {models: [{name: a, provider: simulator}, {name: a, provider: simulator}]}",
            ["llm.models[1].name", "models[0] has that name already"],
        ),
        (
            "llm: {providers: [{name: p, provider: simulator}, {name: p, provider: openAI}], models: "
            "[{name: a, provider: {reference: p}}]}",
            ["llm.providers[1].name", "providers[0] has that name already"],
        ),
        (
            "llm: {models: [{name: a, provider: {reference: x}}]}",
            ["llm.models[0].provider.reference", "no provider of that name"],
        ),
        (
            "gateways: {default: {port: 4000}}\nroutes: [{gateways: default/x}]",
            ["no listener of that name", "listeners of `default`: default"],
        ),
        ("gateways: {a: {port: true}}", ["gateways.a.port: expected a whole number"]),
        ("llm: {models: []}", ["llm.models: must have at least 1 entry", "{name: demo, provider: simulator}"]),
        (
            "config: {backend: {connectTimeout: 0}}\ngateways: {a: {port: 4000}}",
            ["config.backend.connectTimeout: must be more than 0"],
        ),
        (
            "gateways: {a: {port: 4000}}\npolicies:\n- {target: {gateway: a}, policy: {retry: {}, timeout: {}}}",
            ["policies[0].policy: must have at most 1 entry", "Exactly one policy."],
        ),
    ],
)
def test_a_wrong_configuration_says_file_line_key_and_what_to_do(config, says):
    message = refused(config)
    for text in ["gateway.yaml", *says]:
        assert text in message, message


@pytest.mark.parametrize(
    ("config", "at"),
    [
        ("routes:\n- policies:\n    ai: {}\n  backends: [{host: 'h:1'}]", "gateway.yaml:4: routes[0].policies.ai"),
        (
            "routes:\n- backends:\n  - host: 'h:1'\n    policies:\n      ai: {}",
            "gateway.yaml:6: routes[0].backends[0].policies.ai",
        ),
        (
            "routes: [{name: r, backends: [{host: 'h:1'}]}]\npolicies:\n- {target: {route: r}, policy: {ai: {}}}",
            "gateway.yaml:4: policies[0].policy.ai",
        ),
    ],
    ids=["route", "backend", "targeted"],
)
def test_what_is_about_model_calls_does_not_stand_where_there_are_none(config, at):
    message = refused(f"gateways: {{a: {{port: 4000}}}}\n{config}")
    assert message.startswith(f"{at}: `ai` is about model calls here, and this route has none")
    assert "hint: send the route to an `ai` backend" in message


def test_above_several_routes_it_is_for_those_that_have_model_calls():
    gateway = built("""
        gateways: {a: {port: 4000, policies: {ai: {defaults: {x: 1}}}}}
        policies: [{target: {gateway: a}, policy: {ai: {defaults: {y: 1}}}}]
        routes:
        - {name: plain, backends: [{host: 'h:1'}]}
        - {name: calls, backends: [{ai: {provider: {simulator: {}}}}]}
    """)
    assert sorted(chains(gateway)) == ["calls", "plain"]


ROUTE = "gateways: {a: {port: 4000}}\nroutes:\n- backends: [{host: 'h:1'}]\n  "


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            "matches: [{method: get}]",
            "matches[0].method: not written in the form that is needed here\n  hint: write it",
        ),
        ("hostnames: ['http://a b']", "hostnames[0]: not written in the form that is needed here\n  hint: write it"),
        ("hostnames: ['a.example.com:80']", "hostnames[0]: not written in the form"),
        ("matches: [{path: {exact: v1}}]", "matches[0].path.exact: not written in the form that is needed here\n"),
        ("matches: [{model: 'a*b'}]", "matches[0].model: not written in the form that is needed here\n  hint: write"),
        ("policies: {backendTunnel: {proxy: {host: h}}}", "backendTunnel.proxy.host: not written in the form"),
        ("policies: {backendTunnel: {proxy: {host: 'h:70000'}}}", "backendTunnel.proxy.host: there is no such port"),
        ("policies: {retry: {condition: 'nope.x'}}", "policies.retry.condition: line 1, column 1: unknown variable"),
    ],
)
def test_what_no_request_could_ever_fit_is_refused_in_plain_words(config, says):
    message = refused(ROUTE + config)
    assert f"gateway.yaml:4: routes[0].{says}" in message or f"gateway.yaml:4: routes[0].policies.{says}" in message
    assert "pattern" not in message


@pytest.mark.parametrize(
    "hostname", ["*", "a", "*.example.com", "A.example.com", "10.0.0.1", "[::1]", "xn--e-1ga.de", "_a.b"]
)
def test_host_names_as_requests_have_them_are_taken(hostname):
    built(f"{ROUTE}hostnames: ['{hostname}']")


@pytest.mark.parametrize("host", ["a", "a:0", "a:99999", "http://a:0", "ftp://a:1", "unix:", "a:1/path", ":80"])
def test_an_address_has_a_host_and_a_port_that_can_be_asked(host):
    assert "routes[0].backends[0].host: not an address\n  hint: write host:port" in refused(
        f"gateways: {{a: {{port: 4000}}}}\nroutes: [{{backends: [{{host: '{host}'}}]}}]"
    )


LLM = "llm:\n  providers: [{name: p, provider: openAI, params: {}}]\n  models:\n  - name: a\n    "


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            "provider: openAI\n    params:\n      baseUrl: x",
            "gateway.yaml:7: llm.models[0].params.baseUrl: not written",
        ),
        (
            "provider: openAI\n    params:\n      hostOverride: '[::1]:0'",
            "gateway.yaml:7: llm.models[0].params.hostOverride: there is no such port",
        ),
        (
            "provider: openAI\n    params:\n      baseUrl: 'http://models:99999/v1'",
            "gateway.yaml:7: llm.models[0].params.baseUrl: there is no such port",
        ),
        (
            "provider: {reference: p}\n    params:\n      pathPrefix: x",
            "gateway.yaml:7: llm.models[0].params.pathPrefix",
        ),
        (
            "provider: openAI\n    transformation:\n      x: y.z",
            "gateway.yaml:7: llm.models[0].transformation.x: line 1",
        ),
        ("provider: openAI\n  gateways: [b]", "gateway.yaml:6: llm.gateways: no gateway of that name"),
        ("provider: openAI\n  policies: {timeout: {x: 1}}", "gateway.yaml:6: llm.policies.timeout.x: unknown key"),
        (
            "provider: openAI\nfrontendPolicies:\n  accessLog:\n    filter: y",
            "yaml:8: frontendPolicies.accessLog.filter",
        ),
        (
            "provider: openAI\ngateways: {b: {port: 1}}\nroutes:\n- backends:\n  - hots: h:1",
            "gateway.yaml:9: routes[0].backends[0].hots: unknown backend `hots`",
        ),
    ],
)
def test_an_error_is_told_where_the_file_has_what_is_wrong(config, says):
    message = refused(LLM + config)
    assert says in message
    assert message.count("gateway.yaml:") == 1


def test_what_a_shared_provider_says_wrong_is_told_there():
    config = LLM.replace("params: {}", "params: {baseUrl: x}, defaults: {transformation: {x: y.z}}")
    message = refused(f"{config}provider: {{reference: p}}")
    assert "gateway.yaml:2: llm.providers[0].params.baseUrl: not written" in message
    config = LLM.replace("params: {}", "defaults: {transformation: {x: y.z}}")
    assert "gateway.yaml:2: llm.providers[0].defaults.transformation.x: line 1" in refused(
        f"{config}provider: {{reference: p}}"
    )


def test_every_error_of_a_file_is_told_at_once():
    message = refused("""
        gateways: {default: {port: 4000}}
        routes:
          - policies: {nonsense: {}, timeout: {requestTimeout: x}}
          - policies: {more: {}}
    """)
    assert message.count("gateway.yaml:") == 3


def test_an_error_never_quotes_the_value():
    message = refused("""
        gateways: {default: {port: canary-7f3a}}
        routes: [{policies: {timeout: {requestTimeout: canary-7f3a}}}]
    """)
    assert "canary" not in message


def test_the_dump_hides_secrets():
    gateway = built(
        """
        gateways: {default: {port: 4000}}
        routes:
          - backends: [{host: "http://h:1"}]
            policies: {authorization: {rules: ["true"]}}
        frontendPolicies: {accessLog: {add: {apiKey: '"canary-1"', url: '"http://u:canary-2@h"'}}}
        """
    )
    assert "canary" not in str(gateway.dump())
