"""The client's trace in `_meta` of what servers get."""

import json

import pytest
from agentgateway_mcp.servers import Ask
from agentgateway_mcp.tracing import traced

from agentgateway.exchange import Headers

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-00"


def meta_of(headers, document):
    ask = traced(Ask("send", json.dumps(document).encode(), document), Headers(headers))
    assert json.loads(ask.message) == ask.document
    return ask.document["params"]["_meta"]


CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "say", "_meta": {"progressToken": 7}}}
NOTE = {"jsonrpc": "2.0", "method": "notifications/initialized"}
TRACE = [(b"traceparent", PARENT.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2"), (b"baggage", b"k=v")]


def test_the_headers_are_in_meta_beside_what_was_there():
    told = {"traceparent": PARENT, "tracestate": "a=1,b=2", "baggage": "k=v"}
    assert meta_of(TRACE, CALL) == {"progressToken": 7, **told}
    assert meta_of(TRACE, NOTE) == told
    assert CALL["params"]["_meta"] == {"progressToken": 7}


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ({"traceparent": OTHER}, {"traceparent": OTHER, "baggage": "k=v"}),
        ({"traceparent": OTHER, "baggage": "mine=1"}, {"traceparent": OTHER, "baggage": "mine=1"}),
        ({"baggage": "mine=1"}, {"baggage": "mine=1", "traceparent": PARENT, "tracestate": "a=1,b=2"}),
    ],
)
def test_what_the_client_put_there_itself_wins(own, found):
    assert meta_of(TRACE, {**CALL, "params": {"name": "say", "_meta": own}}) == found


@pytest.mark.parametrize(
    ("headers", "document"),
    [
        ([(b"x-trace", b"1")], CALL),
        ([(b"tracestate", b"a=1")], CALL),
        ([(b"traceparent", PARENT.encode()), (b"traceparent", OTHER.encode())], CALL),
        (TRACE, {"jsonrpc": "2.0", "id": 1, "result": {}}),
        (TRACE, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"_meta": "odd"}}),
        (TRACE, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": [1]}),
        (TRACE, {}),
    ],
)
def test_any_other_message_stays_as_it_is_to_the_byte(headers, document):
    ask = Ask("send", json.dumps(document, indent=1).encode(), document)
    assert traced(ask, Headers(headers)) is ask
