"""Model Armor on loopback: a gRPC server of the published messages, whose answer a test may replace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.cloud import modelarmor_v1 as armor
from google.cloud.modelarmor_v1 import FilterMatchState, InvocationResult

SERVICE = "google.cloud.modelarmor.v1.ModelArmor"
TEMPLATE = "projects/acme/locations/us-central1/templates/strict"


def result(text: str) -> armor.SanitizationResult:
    """What the template finds: `harm` and `jailbreak`."""
    filters = {}
    if "harm" in text:
        filters["rai"] = armor.FilterResult(rai_filter_result={"match_state": FilterMatchState.MATCH_FOUND})
    if "jailbreak" in text:
        hit = {"match_state": FilterMatchState.MATCH_FOUND}
        filters["pi_and_jailbreak"] = armor.FilterResult(pi_and_jailbreak_filter_result=hit)
    return armor.SanitizationResult(
        filter_match_state=FilterMatchState.MATCH_FOUND if filters else FilterMatchState.NO_MATCH_FOUND,
        filter_results=filters,
        invocation_result=InvocationResult.SUCCESS,
    )


@dataclass
class Armor:
    """`received` are the requests; `judge` makes a result of a text, or aborts the call."""

    judge: Callable[[str, Any], Any] = lambda text, context: result(text)
    received: list[Any] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def handlers(self) -> Any:
        asked = {
            "SanitizeUserPrompt": (
                armor.SanitizeUserPromptRequest,
                armor.SanitizeUserPromptResponse,
                lambda request: request.user_prompt_data.text,
            ),
            "SanitizeModelResponse": (
                armor.SanitizeModelResponseRequest,
                armor.SanitizeModelResponseResponse,
                lambda request: request.model_response_data.text,
            ),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    self._answer(response, text), request.deserialize, response.serialize
                )
                for name, (request, response, text) in asked.items()
            },
        )

    def _answer(self, response: Any, text: Callable[[Any], str]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answer(request: Any, context: Any) -> Any:
            self.received.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            found = self.judge(text(request), context)
            found = await found if isinstance(found, Awaitable) else found
            return response(sanitization_result=found)

        return answer


@pytest.fixture
async def armor_server() -> AsyncIterator[Armor]:
    served = Armor()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((served.handlers(),))
    served.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield served
    await server.stop(0)
