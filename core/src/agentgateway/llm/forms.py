"""Model calls that are forms: read as far as the model's name, and passed on without ever being held whole.

`FormCall` is the call, `Form` the body, which all attempts of the call share.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Body, Request
from agentgateway.llm.calls import Dialect, Head, Json, LlmCall
from agentgateway.llm.multipart import Piece, Scanner, boundary_of, content_type
from agentgateway.llm.wire import LONGEST_MODEL, wrong

READ_AHEAD = 64 * 1024
"""Bytes of a form in which its model must have been named."""
MODEL = "model"


class Form:
    """A form's body: what was read ahead, and the rest on its way. `fields` are the texts that came so far, `model`
    the one among them that says where the form goes."""

    def __init__(self, boundary: str, body: Body) -> None:
        self.content_type = content_type(boundary)
        self.fields: dict[str, str] = {}
        self.model = ""
        self._scanner = Scanner(boundary)
        self._length = body.length
        self._chunks: AsyncIterator[bytes] = body.__aiter__()
        self._before: list[bytes] = []  # as it came, up to the model's name
        self._after: list[bytes] = []  # and behind it
        self._rest = b""  # what came with it, unlooked at
        self._size = 0
        self._inside: str | None = None
        self._text: list[bytes] | None = None
        self._gone = False

    async def read_ahead(self, limit: int = READ_AHEAD) -> None:
        """Read until the model is known, and no further; a form that says to be no longer than `limit`, whole. Raises
        `InvalidRequest`."""
        least = self._length if self._length is not None and self._length <= limit else 0
        while not self.model or self._size < least:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self._scanner.end()
                raise InvalidRequest("model: is missing", code="missing_model", param=MODEL)
            room = limit - self._size
            self._size += len(chunk)
            self._rest = chunk[room:]
            for piece in self._scanner.feed(chunk[:room]):
                self._keep(piece)
            if not self.model and self._size >= limit:
                message = f"model: is not in the first {limit} bytes of the form: it must come before files"
                raise InvalidRequest(message, code="missing_model", param=MODEL)

    def _keep(self, piece: Piece) -> None:
        """A piece of what is read ahead: its texts, and its bytes but for the model's name."""
        if piece.begins is not None:
            self._check(piece)
            self._inside, self._text = piece.begins.name, None if piece.begins.file else []
        elif piece.content:
            if self._text is not None:
                self._text.append(piece.raw)
            if self._inside == MODEL:
                return
        elif self._inside is not None:
            if self._text is not None:
                self.fields.setdefault(self._inside, b"".join(self._text).decode("utf-8", "replace"))
            if self._inside == MODEL:
                self.model = model_name(b"".join(self._text or ()))
            self._inside = self._text = None
        (self._after if self.model else self._before).append(piece.raw)

    def _check(self, piece: Piece) -> None:
        """Refuse a second model, and fields that somebody could take for one. Raises `InvalidRequest`."""
        assert piece.begins is not None
        name = piece.begins.name
        if name.strip().lower() != MODEL:
            return
        if name != MODEL:
            raise InvalidRequest(f"{name}: is spelled `{MODEL}`", param=MODEL)
        if self.model:
            raise InvalidRequest("the form has the field `model` twice", param=MODEL)
        if piece.begins.file:
            raise wrong(MODEL, "the name of a model")

    def body(self, model: str) -> bytes | Body:
        """The form, asking for that model: whole if all of it came already, else to be passed on once."""
        if self._size == self._length and not self._gone:
            for piece in self._scanner.feed(self._rest):
                self._keep(piece)
            self._rest = b""
            self._scanner.end()
            return self._ahead(model)
        written = len(model.encode()) - len(self.model.encode())
        length = None if self._length is None else self._length + written

        async def receive() -> bytes | None:
            return await self._next(model)

        return Body(None, receive=receive, length=length)

    def _ahead(self, model: str) -> bytes:
        return b"".join((*self._before, model.encode(), *self._after))

    async def _next(self, model: str) -> bytes | None:
        """The next bytes of the form, checked. Raises `InvalidRequest` for what the beginning did not show."""
        if not self._gone:
            self._gone = True
            return self._ahead(model) + self._passed(self._rest)
        chunk = await anext(self._chunks, None)
        if chunk is None:
            self._scanner.end()
            return None
        return self._passed(chunk)

    def _passed(self, chunk: bytes) -> bytes:
        pieces = self._scanner.feed(chunk)
        for piece in pieces:
            if piece.begins is not None:
                self._check(piece)
        return b"".join([piece.raw for piece in pieces])


def model_name(raw: bytes) -> str:
    """Raises `InvalidRequest`."""
    if not raw:
        raise InvalidRequest("model: is missing", code="missing_model", param=MODEL)
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        name = ""
    if not name or len(name) > LONGEST_MODEL or not name.isprintable():
        raise wrong(MODEL, "the name of a model")
    return name


class FormCall(LlmCall):
    """A call whose body is a form. `document` has the texts that came before the model and right behind it: edits of
    it would reach nobody, and are refused."""

    __slots__ = ("form",)
    whole = False

    form: Form

    @classmethod
    async def ahead(cls, dialect: Dialect, request: Request) -> FormCall | None:
        """The call in a request; None when its body is no form. Raises `InvalidRequest`."""
        given = request.headers.all("content-type")
        boundary = boundary_of(",".join(given))
        if boundary is None:
            return None
        form = Form(boundary, request.body)
        await form.read_ahead()
        document: Json = dict(form.fields)
        call = cls(dialect, document, Head(form.model, form.fields.get("stream") == "true"), raw=b"", path=request.path)
        call.form = form
        return call

    def edit(self) -> Json:
        raise InvalidRequest("the fields of calls are set here, and those of a form cannot be", code="unsupported_form")

    def ask(self, model: str) -> None:
        self.model = self.document[MODEL] = model

    def enrich(self, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """A form has no conversation to put messages around."""

    def unreadable(self) -> str:
        return "form"

    def payload(self) -> bytes | Body:
        return self.form.body(self.model)

    def framing(self) -> list[tuple[bytes, bytes]]:
        return [(b"content-type", self.form.content_type.encode("ascii"))]

    def _beside(self, document: Json) -> FormCall:
        call = FormCall(self.dialect, document, self, raw=b"", path=self.path)
        call.requested_model, call.form = self.requested_model, self.form
        return call
