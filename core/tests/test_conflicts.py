"""What stands twice in a file and could not be served, and what stands twice and can."""

import textwrap

import pytest

from agentgateway._host.assembly import assemble
from agentgateway._host.gateway import Gateway
from agentgateway._host.host import Lends
from agentgateway._host.load import parse
from agentgateway._host.metrics import Metrics
from agentgateway._host.transport import Transport
from agentgateway.errors import ConfigError


def built(config: str) -> Gateway:
    return assemble(parse(textwrap.dedent(config), file="g.yaml", environ={}), Lends(Transport(), Metrics(), {}))


def refused(config: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        built(config)
    return str(caught.value).splitlines()


# --- ports and gateways ----------------------------------------------------------------------------------------------


def test_a_port_has_one_gateway():
    assert refused("""
        gateways:
          a: {port: 4000}
          b: {port: 4000}
        binds:
          - {port: 4000, listeners: [{}]}
    """) == [
        "g.yaml:4: gateways.b.port: port 4000 is already used by gateway `a`",
        "  hint: attach to it instead: gateways: a",
        "g.yaml:6: binds[0].port: port 4000 is already used by gateway `a`",
        "  hint: attach to it instead: gateways: a",
    ]


def test_the_ports_of_the_process_are_taken():
    assert refused("""
        config: {statsAddr: "127.0.0.1:15000", readinessAddr: "off"}
        gateways:
          a: {port: 15000}
    """) == [
        "g.yaml:2: config.statsAddr: `config.adminAddr` listens there already",
        "  hint: choose another port",
        "g.yaml:4: gateways.a.port: `config.adminAddr` listens there already",
        "  hint: choose another port, or move that one: config: {adminAddr: off}",
    ]


@pytest.mark.parametrize(
    "config",
    [
        "gateways: {a: {port: 15000, address: 10.0.0.1}}",
        "gateways: {a: {port: 15000, address: gateway.example.com}}",
        "{config: {adminAddr: 'off'}, gateways: {a: {port: 15000}}}",
        "{config: {adminAddr: '127.0.0.1:0', statsAddr: '127.0.0.1:0'}, gateways: {a: {port: 0}}}",
    ],
)
def test_other_addresses_of_those_ports_are_free(config):
    built(config)


def test_a_gateway_does_not_have_the_name_of_the_one_that_a_section_brings():
    assert refused("""
        gateways:
          llm: {port: 5000}
        llm: {models: [{name: m, provider: simulator}]}
    """) == [
        "g.yaml:4: llm: a gateway is named `llm` already, on line 3",
        "  hint: give that one another name",
    ]


# --- listeners -------------------------------------------------------------------------------------------------------


def test_a_listener_has_a_name_of_its_own_in_its_gateway():
    assert refused("""
        gateways:
          a:
            port: 4000
            listeners:
              - {name: web, hostname: a.example.com}
              - name: web
                hostname: b.example.com
    """) == [
        "g.yaml:7: gateways.a.listeners[1].name: a listener is named `web` already, on line 6",
        "  hint: give each a name of its own: routes and policies refer to `gateway/listener`",
    ]


@pytest.mark.parametrize("gateway", ["gateways: {a: {port: 4000, %s}}", "binds: [{port: 4000, %s}]"])
@pytest.mark.parametrize(
    "hostnames",
    [("hostname: a.example.com", "hostname: A.Example.com"), ("", "hostname: '*'"), ("hostname: ''", "")],
)
def test_a_host_name_is_one_listeners(gateway, hostnames):
    first, second = hostnames
    said, hint = refused(gateway % f"listeners: [{{name: x, {first}}}, {{name: y, {second}}}]")
    assert "listeners[1].hostname: listener `x` answers to this host name already" in said
    assert "hostname" in hint


def test_listeners_of_several_gateways_or_of_other_hosts_may_be_alike():
    gateway = built("""
        gateways:
          a: {port: 4000, listeners: [{name: web}, {name: api, hostname: "*.example.com"}]}
          b: {port: 5000, listeners: [{name: web}, {name: api, hostname: "*.example.com"}]}
    """)
    assert len(gateway.binds) == 2


def test_plain_and_tls_listeners_do_not_share_a_port(tmp_path):
    said = refused(f"""
        binds:
          - port: 4000
            listeners:
              - {{hostname: a.example.com}}
              - {{hostname: b.example.com, protocol: HTTPS, tls: {{cert: {__file__}, key: {__file__}}}}}
    """)
    assert said == ["g.yaml:3: binds[0]: HTTP and HTTPS cannot share a port"]


def test_listeners_of_a_port_are_read_by_one_face():
    config = """
        config: {server: {edge: %s}}
        gateways:
          a:
            port: 4000
            %s
            listeners:
              - {hostname: a.example.com, edge: off}
              - {hostname: b.example.com}
    """
    assert (
        refused(config % ("on", "edge: on"))
        == refused(config % ("on", ""))
        == [
            "g.yaml:9: gateways.a.listeners[1].edge: listener `listener-0` of the same port says otherwise",
            "  hint: say it once, on the gateway, or give the listeners ports of their own",
        ]
    )
    assert built(config % ("on", "edge: off")).binds[4000].edge is False
    assert built(config % ("off", "")).binds[4000].edge is False


def test_a_gateway_says_for_its_listeners_who_reads_them():
    binds = built("""
        gateways:
          a: {port: 4000, edge: off}
          b: {port: 5000, edge: off, listeners: [{edge: on}]}
          c: {port: 6000}
        binds:
          - {port: 7000, listeners: [{edge: on}]}
    """).binds
    assert {port: bind.edge for port, bind in binds.items()} == {4000: False, 5000: True, 6000: None, 7000: True}


def test_a_listeners_host_name_is_read_in_any_case():
    gateway = built("""
        gateways: {a: {port: 4000, listeners: [{hostname: API.Example.com}]}}
        routes: [{hostnames: [api.EXAMPLE.com], backends: [{internal: {}}]}]
    """)
    found = gateway.binds[4000].listener("api.example.com")
    assert found is not None
    assert [host for host, _, _ in found.entries()] == ["api.example.com"]


# --- routes ----------------------------------------------------------------------------------------------------------

BACKENDS = "backends: [{internal: {}}]"


def test_a_route_has_a_name_of_its_own_on_its_listener():
    assert refused(f"""
        gateways: {{a: {{port: 4000}}}}
        routes:
          - {{name: web, matches: [{{path: {{exact: /a}}}}], {BACKENDS}}}
          - matches: [{{path: {{exact: /b}}}}]
            name: web
            {BACKENDS}
    """) == [
        "g.yaml:6: routes[1].name: a route of the same listener is named `web` already, on line 4",
        "  hint: give each a `name` of its own, or a `ruleName` if they are rules of one route",
    ]


def test_a_rule_has_a_name_of_its_own_in_its_route():
    (said, _) = refused(f"""
        gateways: {{a: {{port: 4000}}}}
        routes:
          - {{name: web, ruleName: one, {BACKENDS}}}
          - {{name: web, ruleName: one, {BACKENDS}}}
    """)
    assert said.startswith("g.yaml:5: routes[1].ruleName: ")


def test_a_route_on_all_gateways_is_on_each_of_them():
    (said, _) = refused(f"""
        gateways:
          a: {{port: 4000}}
          b: {{port: 5000, listeners: [{{name: x, routes: [{{name: web, {BACKENDS}}}]}}]}}
        routes:
          - {{name: web, {BACKENDS}}}
    """)
    assert "named `web` already" in said


@pytest.mark.parametrize(
    "routes",
    [
        "{name: web, ruleName: one}, {name: web, ruleName: two}, {name: web}",
        "{name: web, namespace: x}, {name: web, namespace: y}, {name: web}",
        "{name: web, gateways: a}, {name: web, gateways: b/x}, {name: web, gateways: [b/y]}",
        "{name: web, hostnames: [one.x.com], gateways: b/x}, {name: web, hostnames: [one.y.com]}",
        "{}, {}",
    ],
)
def test_routes_of_one_name_may_be_rules_or_in_namespaces_or_on_listeners_of_their_own(routes):
    built(f"""
        gateways:
          a: {{port: 4000, listeners: [{{hostname: "*.a.com"}}]}}
          b: {{port: 5000, listeners: [{{name: x, hostname: "*.x.com"}}, {{name: y, hostname: "*.y.com"}}]}}
        routes: [{routes}]
    """)


def test_models_of_one_name_for_different_headers_are_no_conflict():
    header = "headers: [{name: x-team, value: {exact: red}}]"
    gateway = built(f"""
        llm:
          models:
            - {{name: m, provider: simulator, matches: [{{{header}}}]}}
            - {{name: m, provider: simulator}}
    """)
    assert [rule for _, rule, _ in gateway.routes][:2] == ["m", "m"]


def test_conflicts_are_told_with_what_else_is_wrong():
    said = refused(f"""
        gateways: {{a: {{port: 4000}}}}
        routes:
          - {{name: web, {BACKENDS}}}
          - {{name: web, {BACKENDS}}}
          - {{name: other, gateways: nowhere, {BACKENDS}}}
          - {{name: third, policies: {{nonsense: {{}}}}, {BACKENDS}}}
    """)
    assert [line.partition(":")[2].partition(":")[0] for line in said if line.startswith("g.yaml")] == ["5", "6", "7"]
