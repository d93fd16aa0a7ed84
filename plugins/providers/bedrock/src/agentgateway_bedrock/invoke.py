"""The dialect `bedrock_invoke`: what boto3's `invoke_model` and `invoke_model_with_response_stream` send, whose body
says which maker's format it is in.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import Head, Json
from agentgateway.llm.dialects import dialect
from agentgateway.llm.dialects.unread import UNREAD
from agentgateway_bedrock.embeddings import Cohere, Titan
from agentgateway_bedrock.invoked import Invoked
from agentgateway_bedrock.invoked_messages import VERSION, InvokedMessages

BODIES = {VERSION: InvokedMessages.name, "inputText": Titan.name, "texts": Cohere.name}
"""The dialect of a body, by a field that no other one has."""
TEXTS_OF_TITAN = "textGenerationConfig"


class Invoke(Invoked):
    """No call stays in this dialect: it becomes one of its body's. One that names its model in a body that nobody reads
    is read as such calls are elsewhere."""

    name = "bedrock_invoke"
    paths: ClassVar[tuple[str, ...]] = ("/invoke", "/invoke-with-response-stream")

    def read(self, document: Json, path: str) -> Head:
        found = [key for key in BODIES if key in document]
        if len(found) > 1:
            raise InvalidRequest(f"{found[1]}: does not go together with `{found[0]}`", param=found[1])
        if found and TEXTS_OF_TITAN not in document:
            spoken = dialect(BODIES[found[0]])
            return replace(spoken.read(document, path), dialect=spoken)
        if "model" in document:
            return replace(UNREAD.read(document, path), dialect=UNREAD)
        known = "Anthropic's messages (`anthropic_version`), Titan's and Cohere's embeddings (`inputText`, `texts`)"
        raise InvalidRequest(f"the body is in no format that is known here: {known}", param="body")
