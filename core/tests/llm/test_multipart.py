"""Forms, cut into parts at every place that their bytes may be cut at."""

import pytest

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Body, Headers, Request
from agentgateway.llm.dialects import dialect
from agentgateway.llm.forms import READ_AHEAD, FormCall
from agentgateway.llm.multipart import Part, Scanner, boundary_of, content_type, read_head

BOUNDARY = "--x'y"
BETWEEN = b"\r\n----x'y"


def part(head: str, content: bytes) -> bytes:
    return BETWEEN[2:] + b"\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


def field(name: str, value: bytes, more: str = "") -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"{more}', value)


END = BETWEEN[2:] + b"--\r\n"
NASTY = b"\r\n" + BETWEEN[:-1] + b"\r\n\r\r\n--\r\n----x" + BETWEEN[:-1] + b"!"
FILE = field("file", NASTY, '; filename="a \\" ; name=model.wav"')
FORM = field("prompt", b"") + field("model", b"ears") + FILE + field("stream", b"true") + END


def parts(chunks: list[bytes]) -> tuple[list[tuple[Part, bytes]], bytes]:
    """The parts with their contents, and all bytes of all pieces."""
    scanner, found, raw = Scanner(BOUNDARY), [], b""
    for chunk in chunks:
        for piece in scanner.feed(chunk):
            raw += piece.raw
            if piece.begins is not None:
                found.append((piece.begins, b""))
            elif piece.content:
                found[-1] = (found[-1][0], found[-1][1] + piece.raw)
    scanner.end()
    return found, raw


EXPECTED = [
    (Part("prompt", False), b""),
    (Part("model", False), b"ears"),
    (Part("file", True), NASTY),
    (Part("stream", False), b"true"),
]


def test_a_form_is_the_same_wherever_its_bytes_are_cut():
    for cut in range(len(FORM) + 1):
        assert parts([FORM[:cut], FORM[cut:]]) == (EXPECTED, FORM), cut
    assert parts([bytes([byte]) for byte in FORM]) == (EXPECTED, FORM)


def test_many_small_parts_cost_no_more_than_their_bytes():
    """More than half a million bytes at once: were the rest copied for each part, this would take long."""
    many = field("a", b"") * 12_000 + END
    found, raw = parts([many])
    assert (len(found), raw == many) == (12_000, True)


def test_the_end_of_the_last_line_may_be_left_out():
    assert parts([FORM[:-2]]) == (EXPECTED, FORM[:-2])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        FORM[:-4],
        FORM + b"\r\n",
        FORM + b"more",
        b"\r\n" + FORM,
        b"before" + FORM,
        FORM.replace(b"\r\n", b"\n"),
        FORM.replace(BETWEEN + b"\r\n", BETWEEN + b" \r\n"),
        FORM.replace(BETWEEN + b"\r\n", BETWEEN + b"z\r\n"),
        part("Content-Type: text/plain", b"") + END,
        part("Content-Disposition: form-data", b"") + END,
        part("Content-Disposition: form-data; name", b"") + END,
        part('Content-Disposition: attachment; name="a"', b"") + END,
        part('Content-Disposition: form-data; name="a"; name="b"', b"") + END,
        part('Content-Disposition: form-data; name="a"; NAME="b"', b"") + END,
        part("Content-Disposition: form-data; name*=utf-8''a", b"") + END,
        part('Content-Disposition: form-data; name="a\\"b"', b"") + END,
        part('Content-Disposition: form-data; name="a', b"") + END,
        part('Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"', b"") + END,
        part('Content-Disposition: form-data;\r\n name="a"', b"") + END,
        part('Content-Disposition: form-data; name="a"\nx: y', b"") + END,
        part('Content-Disposition : form-data; name="a"', b"") + END,
        part('Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64', b"") + END,
        part('Content-Disposition: form-data; name="a"\r\nX: ' + "x" * 9000, b"") + END,
        field("a", BETWEEN[2:] + b"\r\n") + END,
        field("a", BETWEEN[2:]) + END,
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(body):
    for chunks in ([body], [bytes([byte]) for byte in body]):
        with pytest.raises(InvalidRequest, match="the form cannot be read"):
            parts(chunks)


@pytest.mark.parametrize(
    ("given", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"', "a b"),
        ("application/json", None),
        ("", None),
    ],
)
def test_the_boundary_of_a_content_type(given, boundary):
    assert boundary_of(given) == boundary
    if boundary is not None:
        assert boundary_of(content_type(boundary)) == boundary


@pytest.mark.parametrize(
    "given",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a,multipart/form-data; boundary=b",
        'multipart/form-data; boundary="a\\"b"',
        "multipart/form-data; boundary=" + "a" * 71,
        'multipart/form-data; boundary="a "',
    ],
)
def test_a_boundary_that_is_none_is_refused(given):
    with pytest.raises(InvalidRequest, match="names no boundary"):
        boundary_of(given)


def test_a_name_may_be_any_text():
    assert read_head('content-disposition: form-data; name="größe[]"'.encode()) == Part("größe[]", False)
    assert read_head(b"content-disposition: form-data; name=a; filename=b") == Part("a", True)
    assert read_head(b"content-disposition:form-data; name=\"a\"; filename*=utf-8''b") == Part("a", True)


def request(chunks: list[bytes], length: int | None = None) -> Request:
    waiting = iter(chunks)

    async def receive() -> bytes | None:
        return next(waiting, None)

    headers = Headers.of({"content-type": content_type(BOUNDARY)})
    return Request("POST", "/v1/audio/transcriptions", headers, Body(None, receive=receive, length=length))


async def sent(call: FormCall) -> bytes:
    payload = call.payload()
    return payload if isinstance(payload, bytes) else b"".join([chunk async for chunk in payload])


async def read(chunks: list[bytes], length: int | None = None) -> FormCall:
    call = await FormCall.ahead(dialect("transcriptions"), request(chunks, length))
    assert call is not None
    return call


async def test_the_model_is_renamed_wherever_the_bytes_are_cut():
    renamed = FORM.replace(b"ears", b"other-ears")
    for cut in range(len(FORM) + 1):
        for length in (None, len(FORM)):
            call = await read([FORM[:cut], FORM[cut:]], length)
            outbound = call.outbound(call.dialect, "other-ears")
            payload = outbound.payload()
            size = len(payload) if isinstance(payload, bytes) else payload.length
            assert size == (None if length is None else len(renamed))
            body = payload if isinstance(payload, bytes) else b"".join([chunk async for chunk in payload])
            assert body == renamed
            assert (call.model, outbound.model, outbound.requested_model) == ("ears", "other-ears", "ears")


async def test_no_more_is_read_than_the_model_needs():
    head = field("model", b"ears") + BETWEEN[2:]
    assert (await read([head[:9], head[9:], b"not looked at, so not refused yet"])).model == "ears"


async def test_a_form_that_came_whole_can_be_sent_twice():
    call = await read([FORM], len(FORM))
    assert await sent(call) == await sent(call) == FORM
    assert call.document == {"prompt": "", "model": "ears", "stream": "true"}
    assert call.stream


async def test_the_model_must_come_before_the_bound():
    filler = field("file", b"x" * READ_AHEAD, "; filename=f")
    for chunks in ([filler + FORM], [filler[i : i + 1000] for i in range(0, len(filler), 1000)] + [FORM]):
        with pytest.raises(InvalidRequest, match="must come before files"):
            await read(chunks)


@pytest.mark.parametrize("late", [field("model", b"x"), field("MODEL", b"x"), field(" model", b"x"), b"no form"])
async def test_what_comes_late_is_looked_at_too(late):
    call = await read([field("model", b"ears"), FILE, late, END])
    with pytest.raises(InvalidRequest):
        await sent(call)


@pytest.mark.parametrize("name", [b"\xff", b"a\nb", b"a\x00", b"x" * 513])
async def test_a_model_that_is_no_name_is_refused(name):
    with pytest.raises(InvalidRequest, match="the name of a model"):
        await read([field("model", name) + END])


def guarded(call: FormCall) -> dict[str, str]:
    return {segment.path: segment.text for segment in call.segments()}


PROMPTED = field("model", b"ears") + FILE + field("prompt", b"over and out") + field("language", b"en") + END


async def test_texts_for_guards_are_the_same_wherever_the_bytes_are_cut():
    masked = PROMPTED.replace(b"over and out", b"***").replace(b"ears", b"other")
    for cut in range(len(PROMPTED) + 1):
        for length in (None, len(PROMPTED)):
            call = await read([PROMPTED[:cut], PROMPTED[cut:]], length)
            await call.read_texts(1000)
            assert guarded(call) == {"prompt": "over and out"}
            beside = call.copy()
            beside.segments()[0].replace("***")
            assert await sent(beside.outbound(call.dialect, "other")) == masked
            assert await sent(call) == PROMPTED  # edits of one attempt are its own
            assert beside.document.get("prompt") == "***"


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("size", [1000, 4096, 65536, 10**6])
async def test_a_long_form_is_read_for_guards_as_far_as_its_bound(late, size):
    """A text that begins in time is read to its end; whether it does depends on nothing but the bytes before it."""

    def with_file(length: int) -> bytes:
        files = field("file", b"x" * length, "; filename=f"), field("file", b"z" * 9000, "; filename=g")
        return field("model", b"ears") + files[0] + field("prompt", b"y" * 70_000) + files[1] + END

    short = with_file(0).index(b'Content-Disposition: form-data; name="prompt"')
    whole = with_file(READ_AHEAD - short - (not late))
    call = await read([whole[at : at + size] for at in range(0, len(whole), size)])
    if late:
        with pytest.raises(InvalidRequest, match="begins behind"):
            await call.read_texts(70_000)
            await sent(call)
        return
    await call.read_texts(70_000)
    assert guarded(call) == {"prompt": "y" * 70_000}
    assert await sent(call) == whole


async def test_a_mask_never_ends_a_part():
    call = await read([field("model", b"ears") + field("prompt", b"a\r\n--secret--x'y\r\n!") + END])
    await call.read_texts(1000)
    (segment,) = call.segments()
    segment.replace(segment.text.replace("secret--", "--"))
    with pytest.raises(InvalidRequest, match="would end its part"):
        call.payload()
