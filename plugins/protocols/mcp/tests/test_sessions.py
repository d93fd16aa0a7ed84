"""Whose a session is."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from agentgateway_mcp.sessions import owner_of

from agentgateway.exchange import Body, Exchange, Headers, Principal, Request, Source
from agentgateway.settings import Secret


def owner(principal: Principal | None) -> str:
    exchange = Exchange(Request("POST", "/mcp", Headers(), Body(b"")), Source("127.0.0.1", 1))
    if principal is not None:
        exchange.establish(principal)
    return owner_of(exchange)


def token(subject: str, issuer: str | None = None, credential: str = "t") -> Principal:
    claims: dict[str, Any] = {"sub": subject} | ({"iss": issuer} if issuer else {})
    return Principal("jwt", subject, MappingProxyType(claims), None, Secret(credential))


def test_a_subject_is_its_issuers():
    assert owner(token("ann", "https://a")) == owner(token("ann", "https://a", "renewed"))
    assert len({owner(one) for one in (token("ann", "https://a"), token("ann", "https://b"), token("ann"))}) == 3


def test_whoever_has_no_name_is_known_by_what_was_presented():
    assert owner(token("", "https://a", "one")) == owner(token("", "https://a", "one"))
    assert owner(token("", "https://a", "canary-1")) != owner(token("", "https://a", "canary-2"))
    assert "canary" not in owner(token("", "https://a", "canary-1"))


def test_names_of_one_authenticator_are_not_those_of_another():
    assert owner(Principal("apiKey", "ann")) != owner(token("ann"))
    assert owner(None) == ""
