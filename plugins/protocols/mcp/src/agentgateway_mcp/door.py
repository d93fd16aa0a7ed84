"""What happens to a message before anybody is asked for it: is it from where it says, whose session is it, what is it
about. The hooks of the backend `mcp` on its route."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentgateway.errors import Forbidden
from agentgateway.exchange import Exchange
from agentgateway.hookspecs import Later, hookimpl
from agentgateway_mcp.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, McpError
from agentgateway_mcp.logins import settle, visited
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.naming import Names
from agentgateway_mcp.sessions import is_over, owner_of

if TYPE_CHECKING:
    from agentgateway_mcp.plugin import McpBackend

LOCAL = frozenset(("localhost", "127.0.0.1", "[::1]"))
LOOPBACK = ("127.", "::1", "::ffff:127.")


class Door:
    """Participant in `accept`, `authz` and `log`."""

    def __init__(self, backend: McpBackend) -> None:
        self._backend = backend
        self._hosts = frozenset(name.lower() for name in backend.config.allowed_hosts)
        self._origins = frozenset(origin.lower() for origin in backend.config.allowed_origins)

    @hookimpl
    def accept(self, exchange: Exchange) -> Later | None:
        if self._backend.config.dns_rebinding_protection:
            self._check_origin(exchange)
        if len(exchange.request.headers.all("authorization")) > 1:
            raise McpError(INVALID_REQUEST, "authorization header appears more than once")
        call = exchange.call
        if self._backend.logins:
            if (visit := visited(self._backend.logins, exchange)) is not None:
                return visit
            if isinstance(call, McpCall) and call.modern:
                settle(call)
        if isinstance(call, McpCall) and exchange.unread is None:
            try:
                self._find(exchange, call)
            except McpError as error:
                exchange.unread = error  # told when it is known who asks: others learn nothing of sessions and names
        return None

    @hookimpl
    def authz(self, exchange: Exchange) -> None:
        """A session is its owner's: to anybody else it does not exist."""
        call = exchange.call
        if isinstance(call, McpCall) and call.session is not None and call.session.owner != owner_of(exchange):
            raise gone()

    @hookimpl
    def log(self, exchange: Exchange) -> None:
        """The message is over; what is answered on a stream begins, now that it was accepted."""
        call = exchange.call
        if isinstance(call, McpCall) and call.lease is not None:
            self._backend.leases.leave(call.lease)
        if isinstance(call, McpCall) and call.then is not None:
            then, call.then = call.then, None  # which knows its call
            if then.due:
                self._backend.run(then.begin())
            else:
                then.give_up()

    def _check_origin(self, exchange: Exchange) -> None:
        request = exchange.request
        if exchange.source.address.startswith(LOOPBACK) and not self._is_ours(request.host):
            hint = "a request from this machine must name it as its host; name others in `allowedHosts`"
            raise Forbidden("Invalid Host header", detail=f"mcp.dnsRebindingProtection: {hint}")
        for origin in request.headers.all("origin"):
            known = origin.lower() in self._origins or self._own_page(origin, request.authority)
            if not known:
                detail = "mcp.dnsRebindingProtection: name the page's origin in `allowedOrigins`"
                raise Forbidden("Invalid Origin header", detail=detail)

    def _is_ours(self, host: str) -> bool:
        return host in LOCAL or host in self._hosts

    def _own_page(self, origin: str, authority: str) -> bool:
        """Whether a page is from the endpoint's own host, or from this machine while the endpoint is on it too."""
        try:
            parts = urlsplit(origin.lower())
            host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
        except ValueError:
            return False
        asked = authority.lower()
        return parts.netloc == asked or (host in LOCAL and asked.rpartition(":")[0].lower() in LOCAL)

    def _find(self, exchange: Exchange, call: McpCall) -> None:
        """Whose session it is, and what the message is about. Raises `McpError`."""
        if call.ticket is not None:
            self._find_stream(call, call.ticket)
        else:
            self._find_session(exchange, call)
        resolve(call, self._backend.names)

    def _find_session(self, exchange: Exchange, call: McpCall) -> None:
        """Open the session id of a version that has sessions. Raises `McpError`."""
        if call.modern or not self._backend.stateful:
            if call.purpose != "send":
                raise McpError(METHOD_NOT_FOUND, "Method not allowed", status=405, headers=(("allow", "POST"),))
            return
        if call.method == "initialize":
            return
        given = exchange.request.headers.all("mcp-session-id")
        if len(given) > 1:
            raise McpError(INVALID_REQUEST, "mcp-session-id header appears more than once")
        text = given[0] if given else None
        if text is None:
            raise McpError(INVALID_REQUEST, "Missing session ID")
        session = self._backend.seal.open(text)
        if session is None or session.stream or is_over(session, self._backend.config.session_lifetime):
            raise gone()
        if set(session.servers) - set(self._backend.names.targets) or self._backend.leases.has_ended(session):
            raise gone()
        call.session = session

    def _find_stream(self, call: McpCall, ticket: str) -> None:
        """The same for the transport of 2024-11-05, where a stream stands for the session. Raises `McpError`."""
        if call.purpose == "listen":
            return
        if not ticket:
            raise McpError(INVALID_REQUEST, "Missing session ID")
        session = self._backend.seal.open(ticket)
        if session is None or not session.stream or is_over(session, self._backend.config.session_lifetime):
            raise gone()
        call.session, call.stream, call.owner = session, session.stream, session.owner


def gone() -> McpError:
    """What tells a client to open a new session (specification 2025-11-25, "Session Management")."""
    return McpError(INVALID_REQUEST, "Session not found", status=404)


def resolve(call: McpCall, names: Names) -> None:
    """Set which server a message is for, and what that one calls the thing. Raises `McpError` for a name that belongs
    to none of them."""
    params, kind = call.params, call.kind
    if call.method == "completion/complete":
        reference = params.get("ref")
        if isinstance(reference, dict) and {"name", "uri"} <= reference.keys():
            raise McpError(INVALID_PARAMS, "params.ref names two things")
        if isinstance(reference, dict) and isinstance(reference.get("name"), str):
            call.target, call.name = names.inward(reference["name"], "prompt")
            call.looked_at = ("prompt", call.target, call.name)
        elif isinstance(reference, dict) and isinstance(reference.get("uri"), str):
            call.target, call.name = names.inward_uri(reference["uri"])
            call.looked_at = ("resource", call.target, call.name)
        return
    if kind is None:
        return
    key = {"tool": "name", "prompt": "name", "resource": "uri", "task": "taskId"}[kind]
    given = params.get(key)
    if not isinstance(given, str):
        raise McpError(INVALID_PARAMS, f"params.{key} is missing")
    if kind in ("tool", "prompt"):
        call.target, call.name = names.inward(given, kind)
    else:
        call.target, call.name = (names.inward_uri if kind == "resource" else names.inward_task)(given)
    if call.target is None and (names.prefixed or not call.name or kind not in ("tool", "prompt")):
        raise unknown(call)
    if call.target is not None and not names.seen[call.target].has(kind, call.name):
        raise unknown(call)


def unknown(call: McpCall) -> McpError:
    """What is said of a thing that is not there, and of one that is not there for the caller."""
    if call.method == "completion/complete":
        return McpError(INVALID_PARAMS, "Unknown reference")
    kind = call.kind or "method"
    given = call.params.get({"resource": "uri", "task": "taskId"}.get(kind, "name"))
    return McpError(INVALID_PARAMS, f"Unknown {kind}: {shown(given)}")


def shown(text: object) -> str:
    """A client's text, fit for a message."""
    return "".join(char for char in str(text)[:128] if char.isprintable())
