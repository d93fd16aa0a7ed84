"""Model calls that are forms: read as far as the model's name, for guards as far as their texts, and passed on without
ever being held whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Body, Request
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, Head, Json, LlmCall
from agentgateway.llm.form_body import MODEL, READ_AHEAD, Form
from agentgateway.llm.multipart import boundary_of


class FormCall(LlmCall):
    """A call whose body is a form. `document` has the texts that came before the model and right behind it: edits of
    it would reach nobody, and are refused. What guards put in place of the form's texts is the call's own."""

    __slots__ = ("_texts", "form")
    whole = False

    form: Form
    _texts: list[str] | None

    @classmethod
    async def ahead(cls, dialect: Dialect, request: Request) -> FormCall | None:
        """The call in a request; None when its body is no form. Raises `InvalidRequest`."""
        given = request.headers.all("content-type")
        boundary = boundary_of(",".join(given))
        if boundary is None:
            return None
        form = Form(boundary, request.body, dialect.form_texts)
        await form.read_ahead()
        document: Json = {}
        for field in form.fields:
            document.setdefault(field.name, field.raw.decode("utf-8", "replace"))
        call = cls(dialect, document, Head(form.model, document.get("stream") == "true"), raw=b"", path=request.path)
        call.form, call._texts = form, None
        return call

    async def read_texts(self, limit: int) -> None:
        """Read on until guards have all texts that they must see. Raises `InvalidRequest`, and `BodyTooLarge` above
        `limit` bytes of them."""
        await self.form.read_texts(limit)

    def segments(self) -> list[Segment]:
        """The texts among the form's fields, once they were read. Raises `InvalidRequest`."""
        guarded = self.form.guarded
        if self._texts is None:
            self._texts = [field.text for field in guarded]
        return [
            Segment("user", "messages", field.name, text, partial(self._put, index))
            for index, (field, text) in enumerate(zip(guarded, self._texts, strict=True))
        ]

    def _put(self, index: int, text: str) -> None:
        assert self._texts is not None
        self._texts[index] = text
        names = [field.name for field in self.form.guarded]
        if names.index(names[index]) == index:  # the document has the first of each name
            self.document[names[index]] = text

    def edit(self) -> Json:
        raise InvalidRequest("the fields of calls are set here, and those of a form cannot be", code="unsupported_form")

    def ask(self, model: str) -> None:
        self.model = self.document[MODEL] = model

    def enrich(self, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """A form has no conversation to put messages around."""

    def unreadable(self) -> str:
        return "" if self.form.judged else "form"

    def payload(self) -> bytes | Body:
        return self.form.body(self.model, self._texts)

    def framing(self) -> list[tuple[bytes, bytes]]:
        return [(b"content-type", self.form.content_type.encode("ascii"))]

    def _beside(self, document: Json) -> FormCall:
        call = FormCall(self.dialect, document, self, raw=b"", path=self.path)
        call.requested_model, call.form = self.requested_model, self.form
        call._texts = None if self._texts is None else self._texts.copy()
        return call


__all__ = ["READ_AHEAD", "FormCall"]
