"""One processor: what it is asked, and what its answers do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from agentgateway_mcp.errors import INTERNAL_ERROR, INVALID_REQUEST, LIMITED, REFUSED, McpError
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.processors import Params, Processor
from pydantic_core import from_json, to_json

from agentgateway.errors import GuardFailed
from agentgateway.exchange import Exchange
from agentgateway.expressions import ExpressionError
from agentgateway.interfaces import Host
from agentgateway_guardrail_ext_mcp.config import ProcessorConfig
from agentgateway_guardrail_ext_mcp.headers import Shown, edits
from agentgateway_guardrail_ext_mcp.methods import Methods

if TYPE_CHECKING:
    from agentgateway_guardrail_ext_mcp.channel import Channel

CODES = (INTERNAL_ERROR, REFUSED, LIMITED, INVALID_REQUEST)
"""JSON-RPC errors by `AuthorizationError.Code`: UNKNOWN, PERMISSION_DENIED, RESOURCE_EXHAUSTED, INVALID."""
LONGEST = 1000
"""Characters of a reason."""

logger = logging.getLogger("agentgateway.mcp.guardrails")


class Refusal(McpError):
    """A processor said no, or said nothing and the request must not pass."""

    code = "guardrail_intervention"
    reason = "Guardrail"


class RemoteProcessor(Processor):
    """Asks a service. `count` is told what came of each question."""

    def __init__(self, config: ProcessorConfig, host: Host, name: str, count: Callable[[str, str], object]) -> None:
        self._config = config
        self._name = name
        self._count = count
        self._methods = Methods(config.methods)
        self._shown = Shown(config.request_headers)
        self._metadata = {key: host.expression(text) for key, text in config.metadata.items()}
        self._limit = 2 * host.body_limit
        self._channel: Channel | None = None

    async def start(self) -> None:
        from agentgateway_guardrail_ext_mcp.channel import Channel  # gRPC, before the first request

        self._channel = Channel(self._config, self._limit)

    async def stop(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    def awaits_results(self, method: str | None) -> bool:
        return self._methods.results(method)

    async def before(self, exchange: Exchange, targets: Sequence[str], params: Params | None) -> Params | None:
        call = exchange.call
        assert isinstance(call, McpCall)
        if not self._methods.requests(call.method):
            return None
        try:
            answer, verdict = await self._asked(exchange, call, targets, params, "Request")
            changed = read(answer.mutated) if verdict == "mutated" and params is not None else None
        except GuardFailed as error:
            self._unseen(error, "Request")
            return None
        self._refused(answer, verdict, "Request")
        call.edits.update(edits(answer.header_mutation))
        call.said_of_it.update(plain(answer.metadata))
        self._count("Request", "Mask" if changed is not None else "Allow")
        return changed

    async def after(self, exchange: Exchange, targets: Sequence[str], result: Params) -> Params | None:
        call = exchange.call
        assert isinstance(call, McpCall)
        try:
            answer, verdict = await self._asked(exchange, call, targets, result, "Response")
            changed = read(answer.mutated) if verdict == "mutated" else None
        except GuardFailed as error:
            self._unseen(error, "Response")
            return None
        self._refused(answer, verdict, "Response")
        self._count("Response", "Mask" if changed is not None else "Allow")
        return changed

    async def _asked(
        self, exchange: Exchange, call: McpCall, targets: Sequence[str], shown: Params | None, phase: str
    ) -> tuple[Any, str]:
        """The answer, and which of its verdicts it has. Raises `GuardFailed`."""
        if self._channel is None:
            raise GuardFailed(detail="the processor was not started")
        question = self._channel.messages[f"Mcp{phase}"](service_names=targets, method=call.method)
        if self._metadata:
            question.metadata_context.update(self._context(exchange))
        if phase == "Request":
            for key, value in self._shown.of(exchange.request):
                question.headers.add(key=key, value=value)
        if shown is not None:
            setattr(question, f"mcp_{phase.lower()}", to_json(shown))
        answer = await self._channel.ask(f"Check{phase}", question, f"Mcp{phase}Result")
        verdict = answer.WhichOneof("result")
        if verdict is None:
            raise GuardFailed(detail=f"Check{phase}: an answer without a verdict")
        return answer, verdict

    def _context(self, exchange: Exchange) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, expression in self._metadata.items():
            try:
                found[key] = from_json(to_json(expression.value(exchange), fallback=str))
            except (ExpressionError, ValueError):
                logger.debug("%s: metadata.%s cannot be computed", self._name, key)
        return found

    def _refused(self, answer: Any, verdict: str, phase: str) -> None:
        if verdict != "error":
            return
        self._count(phase, "Reject")
        error = answer.error
        code = CODES[error.code] if 0 <= error.code < len(CODES) else INTERNAL_ERROR
        message, data = error.reason[:LONGEST] or "refused by a guardrail", None
        if error.HasField("mcp_error"):
            code, message, data = own_error(error.mcp_error, code, message)
        raise Refusal(code, message, status=200, data=data, detail=f"{self._name} refused")

    def _unseen(self, error: GuardFailed, phase: str) -> None:
        """What it means that there is no verdict. Raises `Refusal`, unless it fails open."""
        if self._config.failure_mode == "failOpen":
            self._count(phase, "FailOpen")
            logger.warning("%s: a message passed unseen: %s", self._name, error.detail)
            return
        self._count(phase, "Fail")
        message = "a guardrail could not be evaluated"
        raise Refusal(INTERNAL_ERROR, message, status=200, detail=f"{self._name}: {error.detail}")


def read(raw: bytes) -> Params:
    """What stands for parameters or a result. Raises `GuardFailed`."""
    try:
        document = from_json(raw, allow_inf_nan=False)
    except ValueError:
        raise GuardFailed(detail="the answer changes a message to what is no JSON") from None
    if not isinstance(document, dict):
        raise GuardFailed(detail="the answer changes a message to what is no object")
    return document


def own_error(raw: bytes, code: int, message: str) -> tuple[int, str, Any]:
    """The error that a processor wrote itself: a whole one, or the `data` of one. What is no JSON is ignored."""
    try:
        document = from_json(raw, allow_inf_nan=False)
    except ValueError:
        return code, message, None
    if isinstance(document, dict) and type(document.get("code")) is int and isinstance(document.get("message"), str):
        return document["code"], document["message"], document.get("data")
    return code, message, document


def plain(struct: Any) -> dict[str, Any]:
    """A `Struct` as values of expressions: all its numbers are floating-point ones."""
    return {key: value_of(value) for key, value in struct.fields.items()}


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return plain(value.struct_value)
    if kind == "list_value":
        return [value_of(one) for one in value.list_value.values]
    return getattr(value, kind) if kind not in (None, "null_value") else None
