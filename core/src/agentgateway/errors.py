"""Everything that can go wrong, as one tree.

::

    ConfigError                  the configuration is wrong: stops a start, refuses a reload
    GatewayError                 this request gets an answer other than the upstream's
    ├── InvalidRequest      400  the client sent what cannot be understood or expressed
    │   ├── BodyTooLarge    413  above `frontendPolicies.http.maxBufferSize`
    │   └── UnsupportedBody 415  an encoding nobody can decode
    ├── Unauthenticated     401  no credential, or one that does not hold
    ├── Forbidden           403  known, and not allowed
    ├── NotFound            404  no route, no model
    ├── RateLimited         429  a limit is spent; carries its reset
    ├── GuardRejected       403  a guardrail said no
    ├── GuardFailed         503  a guardrail could not do its work, and fails closed
    ├── UpstreamError       502  the other side misbehaved
    │   ├── ConnectFailed   503  no connection: name, refusal, TLS
    │   ├── NoEndpoint      503  nobody left to ask
    │   └── UpstreamTimeout 504  too slow
    ├── StoreFailed         503  the store of the gateway's state cannot be used
    ├── RequestTimeout      504  the route's own deadline passed
    ├── Disconnected        499  the client left: nobody reads this one
    ├── Drained             503  the gateway ended before this was done: nobody reads this one either
    └── InternalError       500  a bug of ours or of a plugin

Each error has a sentence for the client (`message`, never a secret, a pattern or a host-side path) and a `detail`
for the log. `reason` is the reference's word for the metrics label and the access log.
"""

from collections.abc import Sequence
from typing import ClassVar


class ConfigError(Exception):
    """The configuration cannot be used.

    `path` is the key path (`llm.models[0].params`), `file` and `line` where it stands, `hint` what to do about it.
    """

    def __init__(
        self, message: str, *, path: str = "", file: str = "", line: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.file = file
        self.line = line
        self.hint = hint

    def __str__(self) -> str:
        place = ":".join(part for part in (self.file, str(self.line) if self.line else "") if part)
        head = ": ".join(part for part in (place, self.path, self.message) if part)
        return f"{head}\n  hint: {self.hint}" if self.hint else head


class ConfigErrors(ConfigError):
    """Several things are wrong at once; `errors` lists each."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class GatewayError(Exception):
    """A request ends with an answer of the gateway's own.

    `message` is public, `detail` is for the log, `code` is the machine-readable word inside dialects that have one,
    `headers` are added to the answer, `retryable` says that another endpoint may do better.
    """

    status: int = 500
    code: str = "internal_error"
    reason: ClassVar[str] = "Internal"
    retryable: bool = False
    default_message: ClassVar[str] = "internal error"

    def __init__(
        self,
        message: str = "",
        *,
        detail: str = "",
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.message = message or self.default_message
        super().__init__(self.message)
        self.detail = detail
        self.param = param
        self.headers = tuple(headers)
        self.by: str | None = None
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code


class InvalidRequest(GatewayError):
    status = 400
    code = "invalid_request_body"
    reason = "InvalidRequest"
    default_message = "invalid request"


class BodyTooLarge(InvalidRequest):
    status = 413
    code = "request_body_too_large"
    default_message = "request body too large"


class UnsupportedBody(InvalidRequest):
    status = 415
    code = "unsupported_encoding"
    default_message = "unsupported content encoding"


class Unauthenticated(GatewayError):
    status = 401
    code = "unauthenticated"
    reason = "Authentication"
    default_message = "authentication required"

    def __init__(self, message: str = "", *, reason: str = "Authentication", **rest: object) -> None:
        super().__init__(message, **rest)  # type: ignore[arg-type]
        self.reason = reason  # type: ignore[misc]


class Forbidden(GatewayError):
    status = 403
    code = "forbidden"
    reason = "Authorization"
    default_message = "forbidden"


class NotFound(GatewayError):
    status = 404
    code = "not_found"
    reason = "NotFound"
    default_message = "route not found"


class RateLimited(GatewayError):
    status = 429
    code = "rate_limit_exceeded"
    reason = "RateLimit"
    default_message = "rate limit exceeded"


class GuardRejected(GatewayError):
    """A guard refused. `body`, when given, is sent as it is, whatever the dialect."""

    status = 403
    code = "guardrail_intervention"
    reason = "Guardrail"
    default_message = "The request was rejected due to inappropriate content"


class GuardFailed(GatewayError):
    status = 503
    code = "guardrail_failure"
    reason = "Guardrail"
    default_message = "a guardrail could not be evaluated"


class UpstreamError(GatewayError):
    """`sent` says that bytes of the request may have reached the server, so that only a safe one may be sent again."""

    sent: bool = True
    status = 502
    code = "upstream_error"
    reason = "UpstreamFailure"
    default_message = "the upstream failed"
    retryable = True


class ConnectFailed(UpstreamError):
    sent = False
    status = 503
    code = "upstream_unreachable"
    default_message = "the upstream cannot be reached"


class NoEndpoint(UpstreamError):
    sent = False
    status = 503
    code = "no_healthy_backend"
    reason = "NoHealthyBackend"
    default_message = "no healthy backend"
    retryable = False


class UpstreamTimeout(UpstreamError):
    status = 504
    code = "upstream_timeout"
    reason = "Timeout"
    default_message = "the upstream did not answer in time"


class StoreFailed(GatewayError):
    """The store could not do its work (`config.store`). The detail names neither keys nor values."""

    status = 503
    code = "store_unavailable"
    default_message = "the gateway's state is unavailable"


class Disconnected(GatewayError):
    """The client left before it had its answer: 499, which nobody reads, for metrics and the log."""

    status = 499
    code = "client_gone"
    reason = "ClientDisconnected"
    default_message = "client disconnected"


class Drained(GatewayError):
    """The drain's deadline passed, and the connection was cut: for metrics and the log."""

    status = 503
    code = "gateway_ends"
    reason = "Drained"
    default_message = "cut by the gateway's drain"


class RequestTimeout(GatewayError):
    status = 504
    code = "request_timeout"
    reason = "Timeout"
    default_message = "request timeout"


class InternalError(GatewayError):
    pass
