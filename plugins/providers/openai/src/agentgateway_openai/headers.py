"""Header fields of the client that a vendor's API has no use for."""

from agentgateway.exchange import Headers, Outgoing

_BROWSER = (b"access-control-request-", b"sec-fetch-")
_ANTHROPIC = frozenset({b"anthropic-version", b"anthropic-beta", b"anthropic-dangerous-direct-browser-access"})


def strip_browser(headers: Headers) -> None:
    """Take out what a browser adds for its own checks: an API takes it for a call from a web page."""
    headers.raw = [pair for pair in headers.raw if pair[0] != b"origin" and not pair[0].startswith(_BROWSER)]


def strip_anthropic(outgoing: Outgoing) -> None:
    """Take out what Anthropic's clients send and OpenAI does not read, a second credential included."""
    unwanted = _ANTHROPIC
    if "authorization" in outgoing.headers and "x-api-key" not in outgoing.pinned:
        unwanted = unwanted | {b"x-api-key"}
    outgoing.headers.raw = [pair for pair in outgoing.headers.raw if pair[0] not in unwanted]
