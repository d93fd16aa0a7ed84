"""What vendors keep for an account: files, batches, stored responses. Such requests name no model; they pass on as they
are, and so do their replies.

Pages: https://platform.openai.com/docs/api-reference/{files,batch,responses} and
https://docs.anthropic.com/en/api/{creating-message-batches,files-create}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from agentgateway.llm import kept
from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects import messages_errors
from agentgateway.llm.dialects.forwarded import Forwarded

ID = "/[A-Za-z0-9_-]{1,256}"
"""One segment: nothing in it could be read as another path."""


class Resource(Forwarded):
    """A kind of things that a vendor keeps. `root` is where they are, `below` what may follow by the method, as
    expressions. `needs` is a header that its clients send, where two vendors have the same path; `links` finds the
    vendor's own address in replies, in front of paths that clients go on to. `tells` finds out whether a reply may say
    what such a thing used; what a path ending in `results` is answered with are lines that say it, each of a call."""

    root: ClassVar[str]
    below: ClassVar[Mapping[str, str]]
    needs: ClassVar[str] = ""
    links: ClassVar[re.Pattern[bytes] | None] = None
    tells: ClassVar[re.Pattern[bytes] | None] = None
    results: ClassVar[str] = ""
    replies: ClassVar[bool] = False

    def path(self, model: str, *, stream: bool = False) -> str:
        return self.root

    def takes(self, method: str, rest: str) -> bool:
        """Whether there is such a request; `rest` is its path behind the root."""
        pattern = self.below.get(method)
        return pattern is not None and re.fullmatch(pattern, rest) is not None

    def used(self, document: Json) -> list[kept.Used]:
        """What is told by a reply, or by a line of one, of things that will not use any more."""
        return []

    def pattern(self) -> str:
        """Every path of it, as a route matches them."""
        return f"{self.root}({'|'.join(self.below.values())})"


class Files(Resource):
    name = "files"
    operation: ClassVar[str] = "files"
    root = "/v1/files"
    below: ClassVar[Mapping[str, str]] = {"GET": f"({ID}(/content)?)?", "POST": "", "DELETE": ID}


class Batches(Resource):
    name = "batches"
    operation: ClassVar[str] = "batches"
    root = "/v1/batches"
    below: ClassVar[Mapping[str, str]] = {"GET": f"({ID})?", "POST": f"({ID}/cancel)?"}
    tells = re.compile(rb'"usage"\s*:\s*\{')

    def used(self, document: Json) -> list[kept.Used]:
        return kept.batches(document)


class StoredResponses(Resource):
    name = "stored_responses"
    operation: ClassVar[str] = "stored_responses"
    root = "/v1/responses"
    below: ClassVar[Mapping[str, str]] = {"GET": f"{ID}(/input_items)?", "POST": f"{ID}/cancel", "DELETE": ID}
    tells = re.compile(rb'"background"\s*:\s*true')

    def used(self, document: Json) -> list[kept.Used]:
        return kept.background_response(document)


class AnthropicResource(Resource):
    needs = "anthropic-version"

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return messages_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return messages_errors.encode_error(facts)


class MessageFiles(AnthropicResource):
    name = "message_files"
    operation: ClassVar[str] = "files"
    root = Files.root
    below = Files.below


class MessageBatches(AnthropicResource):
    """A batch tells where its results are, with the vendor's own address: clients that went there would send it the
    credentials they have for the gateway."""

    name = "message_batches"
    operation: ClassVar[str] = "batches"
    root = "/v1/messages/batches"
    below: ClassVar[Mapping[str, str]] = {"GET": f"({ID}(/results)?)?", "POST": f"({ID}/cancel)?", "DELETE": ID}
    results = "/results"
    links = re.compile(rb'("results_url"\s*:\s*")https?://[^/"\\]+[^"\\]*?(?=/v1/messages/batches/)')

    def used(self, document: Json) -> list[kept.Used]:
        return kept.result(document)
