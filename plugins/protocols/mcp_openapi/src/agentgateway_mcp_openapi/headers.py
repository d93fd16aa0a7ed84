"""Which headers an API's parameters may set: those that are about the question, and nothing else."""

from __future__ import annotations

import re

from agentgateway.exchange import HOP_BY_HOP

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[\t -~\x80-\xff]*")
"""RFC 9110 section 5.5: no CR, LF, NUL or other control character but the tab."""

NEVER = frozenset(
    (
        *(name.decode() for name in HOP_BY_HOP),
        *("host", "accept", "accept-encoding", "expect", "via", "forwarded", "origin", "referer", "user-agent"),
        *("authorization", "cookie", "cookie2", "set-cookie", "www-authenticate", "x-real-ip", "x-client-ip"),
        *("api-key", "apikey", "x-api-key", "x-apikey", "x-auth-token", "x-access-token", "x-auth", "x-csrf-token"),
        *("private-token", "x-token", "x-goog-api-key", "x-functions-key", "ocp-apim-subscription-key", "dpop"),
        *("x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url"),
        *("traceparent", "tracestate", "baggage", "last-event-id", "true-client-ip", "cf-connecting-ip", "upgrade"),
        *("http2-settings", "max-forwards", "signature", "signature-input"),
    )
)
FAMILIES = ("content-", "proxy-", "sec-", "x-forwarded-", "x-amz-", "mcp-", "access-control-", "x-envoy-", "x-ms-auth")


def may_be_set(name: str) -> bool:
    """Whether an argument may become the header of that name: no hop-by-hop field, none that frames or addresses the
    request, none that is or overrides a credential."""
    name = name.lower()
    return TOKEN.fullmatch(name) is not None and name not in NEVER and not name.startswith(FAMILIES)


def is_value(text: str) -> bool:
    return VALUE.fullmatch(text) is not None
