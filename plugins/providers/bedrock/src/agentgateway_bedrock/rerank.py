"""The dialect `bedrock_rerank`: the Rerank call of the Agents runtime, which Cohere's and Amazon's models answer.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Rerank.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from agentgateway.errors import UpstreamError
from agentgateway.llm.calls import Fate, Json
from agentgateway.llm.operations import Ranked, RerankCall, RerankReply
from agentgateway_bedrock.invoked import Invoked

PATH = "/rerank"
KIND = "BEDROCK_RERANKING_MODEL"


class BedrockRerank(Invoked):
    """The model stands in the document, as an ARN, which the provider makes of its id."""

    name = "bedrock_rerank"
    operation: ClassVar[str] = "rerank"
    fields: ClassVar[Mapping[str, Fate]] = dict.fromkeys(("queries", "sources", "rerankingConfiguration"), "carried")
    reply_fields: ClassVar[Mapping[str, Fate]] = {"results": "carried", "nextToken": "dropped"}

    def path(self, model: str, *, stream: bool = False) -> str:
        return PATH

    def encode_call(self, call: Any) -> Json:
        """The number of results is always said: what is left out might come in pages."""
        assert isinstance(call, RerankCall)
        wanted = min(call.top or len(call.documents), len(call.documents))
        return {
            "queries": [{"type": "TEXT", "textQuery": {"text": call.query}}],
            "sources": [source(text) for text in call.documents],
            "rerankingConfiguration": {
                "type": KIND,
                "bedrockRerankingConfiguration": {
                    "modelConfiguration": {"modelArn": call.model},
                    "numberOfResults": wanted,
                },
            },
        }

    def write_model(self, document: Json, model: str) -> None:
        document["rerankingConfiguration"]["bedrockRerankingConfiguration"]["modelConfiguration"]["modelArn"] = model

    def decode_reply(self, document: Json) -> Any:
        try:
            ranked = [Ranked(int(one["index"]), float(one["relevanceScore"])) for one in document["results"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamError("the upstream's reply has no ranking", detail=type(error).__name__) from None
        return RerankReply("", tuple(sorted(ranked, key=lambda one: -one.score)), "", self.usage(document))


def source(text: str) -> Json:
    return {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}}}


def arn(model: str, region: str) -> str:
    """The ARN of a foundation model in a region; one that is an ARN already stays."""
    if model.startswith("arn:"):
        return model
    partition = next((f"aws{name}" for name in ("-cn", "-us-gov") if region.startswith(f"{name[1:]}-")), "aws")
    return f"arn:{partition}:bedrock:{region}::foundation-model/{model}"
