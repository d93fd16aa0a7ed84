"""`authorization`: deny, then require, then allow; what cannot be evaluated lets nobody pass."""

import pytest
from pydantic import TypeAdapter, ValidationError

from agentgateway._host.builtin.authorization import Authorization
from agentgateway.errors import ConfigError, Forbidden
from agentgateway.exchange import Principal
from agentgateway.testing import LoopbackHost, http

TRUE, FALSE = 'request.path == "/p"', 'request.path == "/q"'
ERROR = 'request.headers["absent"] == "x"'
NO_BOOL = "request.path"


def policy(*rules: object, at: str = "routes[0].policies.authorization") -> Authorization:
    config = TypeAdapter(Authorization.Config).validate_python({"rules": list(rules)})
    return Authorization(config, LoopbackHost(at))


def allow(text: str) -> dict[str, str]:
    return {"allow": text}


def deny(text: str) -> dict[str, str]:
    return {"deny": text}


def require(text: str) -> dict[str, str]:
    return {"require": text}


def passes(*rules: object) -> bool:
    try:
        policy(*rules).authz(http("GET", "/p"))
    except Forbidden as refused:
        assert (refused.status, refused.message, refused.reason) == (403, "authorization failed", "Authorization")
        return False
    return True


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [TRUE],
        [allow(TRUE)],
        [allow(FALSE), allow(TRUE)],
        [allow(ERROR), allow(TRUE)],
        [deny(FALSE)],
        [deny(FALSE), deny(FALSE)],
        [require(TRUE)],
        [require(TRUE), require(TRUE)],
        [deny(FALSE), require(TRUE), allow(TRUE)],
    ],
)
def test_passes(rules):
    assert passes(*rules)


@pytest.mark.parametrize(
    "rules",
    [
        [FALSE],
        [allow(FALSE), allow(FALSE)],
        [deny(TRUE)],
        [deny(FALSE), deny(TRUE)],
        [allow(TRUE), deny(TRUE)],
        [require(FALSE)],
        [require(TRUE), require(FALSE)],
        [allow(TRUE), require(FALSE)],
        [require(TRUE), allow(FALSE)],
        [deny(FALSE), allow(FALSE)],
    ],
)
def test_is_refused(rules):
    assert not passes(*rules)


@pytest.mark.parametrize("text", [ERROR, NO_BOOL])
@pytest.mark.parametrize("effect", [allow, deny, require])
def test_a_rule_that_cannot_be_evaluated_lets_nobody_pass(effect, text):
    assert not passes(effect(text))


def test_an_error_in_a_deny_rule_outweighs_an_allow():
    assert not passes(allow(TRUE), deny(ERROR))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([allow(TRUE), deny(FALSE), deny(TRUE)], "rules[2] denies"),
        ([deny(ERROR)], "rules[0] denies"),
        ([allow(TRUE), require(FALSE)], "rules[1] requires more"),
        ([FALSE], "no rule allows it"),
    ],
)
def test_the_log_says_which_rule_and_not_its_text(rules, said):
    with pytest.raises(Forbidden) as caught:
        policy(*rules).authz(http("GET", "/p"))
    assert caught.value.detail == f"routes[0].policies.authorization: {said}"
    assert "request." not in caught.value.detail


def test_rules_read_who_is_asking():
    exchange = http("GET", "/p", headers={"x-team": "research"})
    exchange.establish(Principal("jwt", "ada", {"sub": "ada"}))
    policy('request.headers["x-team"] == "research" && source.address == "127.0.0.1"').authz(exchange)


def test_the_rule_sets_of_all_levels_are_asked():
    assert Authorization.composes
    assert Authorization.levels == {"gateway", "route", "backend"}
    exchange = http("GET", "/p")
    policy(TRUE).authz(exchange)
    with pytest.raises(Forbidden):
        policy(FALSE).authz(exchange)


def test_a_rule_that_does_not_compile_stops_the_start_and_says_which():
    with pytest.raises(ConfigError) as caught:
        policy(TRUE, deny("no.such.variable"))
    assert caught.value.path == "routes[0].policies.authorization.rules[1]"


@pytest.mark.parametrize("text", ["1 + 1", '"yes"', '1 + "a"', "1 / 0 == 1"])
def test_a_rule_that_says_nothing_whatever_the_request_stops_the_start(text):
    with pytest.raises(ConfigError, match="neither true nor false"):
        policy(TRUE, deny(text))


@pytest.mark.parametrize(
    "rules",
    [[{}], [{"allow": TRUE, "deny": FALSE}], [{"permit": TRUE}], [""], [{"deny": ""}], [True], [None], TRUE],
)
def test_a_wrong_rule_is_refused(rules):
    with pytest.raises(ValidationError):
        TypeAdapter(Authorization.Config).validate_python({"rules": rules})


@pytest.mark.parametrize("config", [{}, {"rules": [TRUE], "mode": "strict"}])
def test_a_wrong_configuration_is_refused(config):
    with pytest.raises(ValidationError):
        TypeAdapter(Authorization.Config).validate_python(config)
