"""The body of a form on its way: what was read ahead, with the places of its texts, and the rest as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from agentgateway.errors import BodyTooLarge, InvalidRequest
from agentgateway.exchange import Body
from agentgateway.llm.multipart import Part, Scanner, content_type
from agentgateway.llm.wire import LONGEST_MODEL, wrong

READ_AHEAD = 64 * 1024
"""Bytes of a form in which its model must have been named, and its texts must have begun where guards read them."""
MODEL = "model"
CHARSET = "_charset_"
"""A field that says how others are written (RFC 7578 section 4.6)."""
UNICODE = frozenset(("", "utf-8", "utf8", "us-ascii", "ascii"))


class Field:
    """A field that is a text: its name, its bytes, and their place among what was read ahead."""

    __slots__ = ("charset", "guarded", "name", "place", "raw")

    def __init__(self, part: Part, place: int, guarded: bool) -> None:
        self.name = part.name
        self.charset = part.charset
        self.place = place
        self.guarded = guarded
        self.raw = b""

    @property
    def text(self) -> str:
        """Raises `InvalidRequest` for what somebody could read as another text."""
        try:
            if self.charset in UNICODE:
                return self.raw.decode()
        except UnicodeDecodeError:
            pass
        raise InvalidRequest(f"{self.name}: is not UTF-8", code="invalid_form", param=self.name)


class Form:
    """A form's body, which all attempts of a call share. `model` says where it goes, `fields` are the texts that came
    so far. Those whose names are among `names` are for guards to read: `read_texts` is the time to, and `judged` says
    that it was; no more of them may come behind it."""

    def __init__(self, boundary: str, body: Body, names: Iterable[str] = ()) -> None:
        self.content_type = content_type(boundary)
        self.fields: list[Field] = []
        self.model = ""
        self.judged = False
        self._names = frozenset(names)
        self._between = b"\r\n--" + boundary.encode("ascii")
        self._scanner = Scanner(boundary)
        self._length = body.length
        self._chunks: AsyncIterator[bytes] = body.__aiter__()
        self._ahead: list[bytes] = []
        self._rest = b""  # what came with it, unlooked at
        self._size = 0
        self._texts = 0  # bytes of guarded texts, of what was looked at
        self._beside = 0  # and of everything else
        self._inside: Field | None = None
        self._content: list[bytes] = []
        self._doubt: InvalidRequest | None = None
        self._whole = False
        self._gone = False

    @property
    def guarded(self) -> list[Field]:
        return [field for field in self.fields if field.guarded]

    async def read_ahead(self, limit: int = READ_AHEAD) -> None:
        """Read until the model is known, and no further; a form that says to be no longer than `limit`, whole. Raises
        `InvalidRequest`."""
        least = self._length if self._length is not None and self._length <= limit else 0
        while not self.model or self._size < least:
            room = limit - self._size
            chunk = await self._next_chunk()
            if chunk is None:
                raise InvalidRequest("model: is missing", code="missing_model", param=MODEL)
            self._rest = chunk[room:]
            self._look_at(chunk[:room])
            if not self.model and self._size >= limit:
                message = f"model: is not in the first {limit} bytes of the form: it must come before files"
                raise InvalidRequest(message, code="missing_model", param=MODEL)

    async def read_texts(self, limit: int) -> None:
        """Read on for guards: to the form's end, or past `READ_AHEAD` bytes beside its texts. Raises `InvalidRequest`,
        and `BodyTooLarge` for texts of more than `limit` bytes."""
        if self.judged:
            return
        self.judged = True
        if self._doubt is not None:
            raise self._doubt
        while not self._whole and (self._beside < READ_AHEAD or (self._inside is not None and self._inside.guarded)):
            chunk, self._rest = self._rest or await self._next_chunk(), b""
            if chunk is not None:
                self._look_at(chunk)
            if self._texts > limit:
                raise BodyTooLarge(detail=f"over {limit} bytes of texts in a form")

    async def _next_chunk(self) -> bytes | None:
        """What comes next; None at the form's end. Raises `InvalidRequest` when that comes too early."""
        chunk = await anext(self._chunks, None)
        if chunk is None:
            self._scanner.end()
            self._whole = True
        else:
            self._size += len(chunk)
        return chunk

    def _look_at(self, chunk: bytes) -> None:
        """Keep what is read ahead, its texts each in a place of its own."""
        for piece in self._scanner.feed(chunk):
            if piece.begins is not None:
                self._begin(piece.begins, piece.raw)
            elif piece.content and self._inside is not None:
                self._content.append(piece.raw)
                if self._inside.guarded:
                    self._texts += len(piece.raw)
                    continue
            else:
                self._end()
                self._ahead.append(piece.raw)
            self._beside += len(piece.raw)

    def _begin(self, part: Part, head: bytes) -> None:
        self._check(part)
        self._ahead.append(head)
        if not part.file:
            self._inside, self._content = Field(part, len(self._ahead), named(part) in self._names), []
            self._ahead.append(b"")

    def _end(self) -> None:
        if self._inside is None:
            return
        field, self._inside = self._inside, None
        self._ahead[field.place] = field.raw = b"".join(self._content)
        self.fields.append(field)
        if field.name == MODEL:
            self.model = model_name(field.raw)

    def _check(self, part: Part) -> None:
        """Refuse a second model, fields that somebody could take for one, and texts that guards would not see. Raises
        `InvalidRequest`."""
        name = named(part)
        if name == MODEL:
            self._check_model(part)
        elif (name in self._names and (part.file or self._beside >= READ_AHEAD)) or name == CHARSET:
            self._doubt = self._doubt or doubted(part)
            if self.judged:
                raise self._doubt

    def _check_model(self, part: Part) -> None:
        if part.name != MODEL:
            raise InvalidRequest(f"{part.name}: is spelled `{MODEL}`", param=MODEL)
        if self.model:
            raise InvalidRequest("the form has the field `model` twice", param=MODEL)
        if part.file:
            raise wrong(MODEL, "the name of a model")

    def body(self, model: str, texts: Sequence[str] | None = None) -> bytes | Body:
        """The form, asking for that model, and with those in place of its guarded texts: whole if all of it came
        already, else to be passed on once. Raises `InvalidRequest` for a text that would end its part."""
        if not self._gone and (self._whole or self._size == self._length):
            self._look_at(self._rest)
            self._rest = b""
            self._scanner.end()
            return b"".join(self._written(model, texts)[0])
        ahead, written = self._written(model, texts)

        async def receive() -> bytes | None:
            return await self._next(ahead)

        return Body(None, receive=receive, length=None if self._length is None else self._length + written)

    def _written(self, model: str, texts: Sequence[str] | None) -> tuple[list[bytes], int]:
        """What was read ahead with other texts in their places, and by how much it grew."""
        ahead, grown = self._ahead.copy(), 0
        for field, text in self._edits(model, texts):
            raw = text.encode("utf-8", "replace")
            if raw != field.raw and self._between in b"\r\n" + raw + b"\r\n":
                raise InvalidRequest(f"{field.name}: would end its part of the form", param=field.name)
            ahead[field.place] = raw
            grown += len(raw) - len(field.raw)
        if self._inside is not None:  # a text that is still coming
            ahead[self._inside.place] = b"".join(self._content)
        return ahead, grown

    def _edits(self, model: str, texts: Sequence[str] | None) -> Iterator[tuple[Field, str]]:
        yield next((field, model) for field in self.fields if field.name == MODEL)
        if texts is not None:
            yield from zip(self.guarded, texts, strict=True)

    async def _next(self, ahead: list[bytes]) -> bytes | None:
        """The next bytes of the form, checked. Raises `InvalidRequest` for what the beginning did not show."""
        if not self._gone:
            self._gone = True
            return b"".join(ahead) + self._passed(self._rest)
        chunk = await self._next_chunk()
        return None if chunk is None else self._passed(chunk)

    def _passed(self, chunk: bytes) -> bytes:
        pieces = self._scanner.feed(chunk)
        for piece in pieces:
            if piece.begins is not None:
                self._check(piece.begins)
        return b"".join([piece.raw for piece in pieces])


def named(part: Part) -> str:
    """What somebody could take a field's name for: `Prompt `, `prompt[]` and `prompt[0]` for `prompt`."""
    return part.name.partition("[")[0].strip().lower()


def doubted(part: Part) -> InvalidRequest:
    """Why guards cannot let a form pass that has such a field at this place."""
    if part.name.strip().lower() == CHARSET:
        why = "guards read UTF-8"
    elif part.file:
        why = "expected a text"
    else:
        why = f"begins behind {READ_AHEAD} bytes of the form, and guards must read it: put it before files"
    return InvalidRequest(f"{part.name}: {why}", code="unreadable_form", param=part.name)


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
