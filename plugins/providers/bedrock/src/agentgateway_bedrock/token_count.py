"""The dialect `converseTokenCount`: Bedrock's CountTokens, of a Converse call.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html
"""

from __future__ import annotations

from typing import Any, ClassVar

from agentgateway.llm.calls import Dialect, Head, Json
from agentgateway.llm.dialects.token_counts import TokenCount
from agentgateway.llm.wire import mapping
from agentgateway_bedrock.converse import Converse

_ENDING = "/count-tokens"


class ConverseTokenCount(TokenCount):
    """Counts what stands in `input.converse`. The other form, `input.invokeModel`, is a model's own bytes, which nobody
    here reads: it is refused."""

    name = "converseTokenCount"
    paths: ClassVar[tuple[str, ...]] = (_ENDING,)
    model_in_path: ClassVar[bool] = True
    error_header: ClassVar[str] = Converse.error_header
    chat: ClassVar[Dialect] = Converse()
    counted: ClassVar[frozenset[str]] = frozenset(("messages", "system", "toolConfig", "additionalModelRequestFields"))
    total: ClassVar[str] = "inputTokens"

    def call_of(self, document: Json) -> Json:
        return mapping(mapping(document.get("input"), "input").get("converse"), "input.converse")

    def path(self, model: str, *, stream: bool = False) -> str:
        return self.chat.path(model).removesuffix("/converse") + _ENDING

    def read(self, document: Json, path: str) -> Head:
        return super().read(document, path.removesuffix(_ENDING) + "/converse")

    def encode_call(self, call: Any) -> Json:
        return {"input": {"converse": super().encode_call(call)}}
