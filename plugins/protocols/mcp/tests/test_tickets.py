"""Session ids in queries."""

from __future__ import annotations

import pytest
from agentgateway_mcp.tickets import is_stream_path, reference, take_ticket

from agentgateway.testing.exchanges import http

CASES = [
    ("/sse", "", "/sse"),
    ("/sse?", "", "/sse"),
    ("/sse?sessionId=a", "a", "/sse"),
    ("/sse?a=1&sessionId=b%2Fc&d=2", "b/c", "/sse?a=1&d=2"),
    ("/sse?session%49d=a&sessionId=b", "a", "/sse"),
    ("/sse?sessionid=a", "", "/sse?sessionid=a"),
    ("/sse?sessionId=&x", "", "/sse?x"),
]


@pytest.mark.parametrize(("target", "ticket", "rest"), CASES)
def test_a_ticket_is_taken_out_of_the_request(target: str, ticket: str, rest: str) -> None:
    request = http("POST", target).request
    assert take_ticket(request) == ticket
    assert (request.target, request.query) == (rest, rest.partition("?")[2])


def test_the_reference_keeps_the_query() -> None:
    assert reference("", "t") == "?sessionId=t"
    assert reference("a=1", "t") == "?a=1&sessionId=t"


@pytest.mark.parametrize(("path", "yes"), [("/sse", True), ("/a/sse", True), ("/sse/", False), ("/mcp", False)])
def test_streams_are_at_paths_that_end_so(path: str, yes: bool) -> None:
    assert is_stream_path(path) is yes
