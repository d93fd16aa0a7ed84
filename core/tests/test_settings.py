"""The types of which every plugin's configuration is made."""

import copy
import pickle
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from agentgateway.settings import (
    CelText,
    Duration,
    FileInlineOrRemote,
    FileOrInline,
    HeaderName,
    HeaderValue,
    ListenAddress,
    PathMatch,
    PluginConfig,
    Secret,
    StringMatch,
)

CANARY = "sk-canary-5f2c"


class Example(PluginConfig):
    """A plugin's configuration."""

    request_timeout: Duration = 10.0
    """How long a request may take."""
    api_key: Secret | None = None
    """What to send."""
    limit: int | None = None
    path: PathMatch = PathMatch(path_prefix="/")
    listen: ListenAddress = ListenAddress("127.0.0.1", 4000)


def read(kind: Any, value: object, **context: object) -> Any:
    return TypeAdapter(kind).validate_python(value, context=context)


def refusal(kind: Any, value: object, **context: object) -> str:
    """The message about a value that is refused; nothing of it may be in there."""
    with pytest.raises(ValidationError) as caught:
        read(kind, value, **context)
    return caught.value.errors()[0]["msg"]


# --- PluginConfig


def test_a_file_writes_camel_case() -> None:
    config = Example.model_validate({"requestTimeout": "1s"}, by_alias=True, by_name=False)
    assert config.request_timeout == 1
    with pytest.raises(ValidationError):
        Example.model_validate({"request_timeout": "1s"}, by_alias=True, by_name=False)


def test_python_may_construct_by_field_name() -> None:
    assert Example(request_timeout="1s") == Example(requestTimeout="1s")


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="requestTimeoutt"):
        Example(requestTimeoutt="1s")


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().limit = 3


def test_errors_do_not_show_what_was_written() -> None:
    with pytest.raises(ValidationError) as caught:
        Example(limit=CANARY, api_key={"key": CANARY}, request_timeout=CANARY, path={"regex": f"({CANARY}"})
    assert CANARY not in str(caught.value)


def test_the_schema_describes_fields_by_their_docstrings_and_defaults_as_they_are_written() -> None:
    properties = Example.model_json_schema()["properties"]
    assert properties["requestTimeout"]["description"] == "How long a request may take."
    assert properties["requestTimeout"]["default"] == "10s"
    assert properties["path"]["default"] == {"pathPrefix": "/"}
    assert properties["listen"]["default"] == "127.0.0.1:4000"


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"requestTimeout": "1m30s", "apiKey": "x", "path": {"regex": "/.*"}}, True),
        ({"requestTimeout": "0", "apiKey": {"file": "key.txt"}}, True),
        ({"requestTimeout": "10"}, False),
        ({"requestTimeout": 10}, False),
        ({"apiKey": {"file": "key.txt", "url": "http://x"}}, False),
        ({"path": {}}, False),
        ({"path": {"exact": "/", "regex": "/"}}, False),
        ({"unknown": 1}, False),
    ],
)
def test_the_schema_accepts_what_the_model_accepts(value: dict[str, object], fits: bool, tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("k")
    assert jsonschema.Draft202012Validator(Example.model_json_schema()).is_valid(value) is fits
    try:
        Example.model_validate(value, context={"folder": tmp_path})
    except ValidationError:
        assert not fits
    else:
        assert fits


def test_equal_text_makes_equal_configurations_a_compiled_regex_included() -> None:
    one, other = (Example(path={"regex": "/a+"}, api_key="k") for _ in range(2))
    assert one.path.matches("/aa")
    assert one == other and hash(one) == hash(other)


class Specific(Example):
    limit: int | None = Field(default=None, description="Said in the field.")
    """Not this."""
    burst: int = 0
    """How many at once;
    more wait."""
    bare: int = 0


def test_the_schema_describes_inherited_fields_too() -> None:
    described = {key: entry.get("description") for key, entry in Specific.model_json_schema()["properties"].items()}
    assert described["requestTimeout"] == "How long a request may take."
    assert described["limit"] == "Said in the field."
    assert described["burst"] == "How many at once;\nmore wait."
    assert described["bare"] is None


def test_a_model_without_source_has_a_schema_without_descriptions() -> None:
    namespace: dict[str, Any] = {"PluginConfig": PluginConfig, "__name__": "nowhere"}
    exec('class Typed(PluginConfig):\n    x: int = 0\n    """Doc."""', namespace)
    assert namespace["Typed"].model_json_schema()["properties"]["x"] == {"default": 0, "title": "x", "type": "integer"}


# --- Secret


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(CANARY)
    config = Example(api_key=CANARY)
    shown = [
        str(secret), repr(secret), f"{secret}", f"{secret:>10}", "{} {!r}".format(*[secret] * 2),
        repr(config), str(config), config.model_dump_json(), repr(config.model_dump()),
        repr(config.model_dump(mode="json")), repr([secret]), repr({"k": secret}),
    ]  # fmt: skip
    assert not [text for text in shown if CANARY in text]
    assert str(secret) == repr(secret) == f"{secret}" == "***"
    assert config.model_dump(mode="json")["apiKey"] == "***"


def test_a_secret_tells_its_value_on_request() -> None:
    assert Secret(CANARY).reveal() == CANARY


def test_a_secret_equals_secrets_of_the_same_value_only() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_secret_is_not_pickled() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(Secret(CANARY), protocol)


def test_a_secret_is_copied_with_its_configuration() -> None:
    config = Example(api_key=CANARY)
    assert copy.deepcopy(config).api_key == config.model_copy(deep=True).api_key == Secret(CANARY)


@pytest.mark.parametrize("content", [CANARY, CANARY + "\n", CANARY + "\r\n", "\ufeff" + CANARY])
def test_a_secret_from_a_file_has_no_newline_at_its_end(content: str, tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_bytes(content.encode())
    secret = read(Secret, {"file": "key.txt"}, folder=tmp_path)
    assert secret.reveal() == CANARY
    assert secret.file == tmp_path / "key.txt"


def test_a_secret_keeps_all_but_one_newline() -> None:
    assert read(Secret, "a\n\n").reveal() == "a\n"


@pytest.mark.parametrize("value", ["", "\n"])
def test_an_empty_secret_is_refused(value: str) -> None:
    assert refusal(Secret, value) == "a secret must not be empty"


@pytest.mark.parametrize("value", [12345, None, True, ["x"], {}, {"key": CANARY}, {"file": "a", "url": "b"}])
def test_a_secret_is_text_or_a_file(value: object) -> None:
    assert refusal(Secret, value) == "expected text or {file: …}"


def test_the_schema_of_a_secret_is_write_only() -> None:
    schema = TypeAdapter(Secret).json_schema()
    assert schema["writeOnly"] is True
    assert [kind["type"] for kind in schema["anyOf"]] == ["string", "object"]


# --- FileOrInline, FileInlineOrRemote


def test_text_in_place_is_kept_as_it_is() -> None:
    text = read(FileOrInline, "a\nb\n")
    assert (text.read(), text.file) == ("a\nb\n", None)


def test_text_of_a_file_is_kept_as_it_is_and_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a\nb\n")
    files: set[Path] = set()
    text = read(FileOrInline, {"file": "ca.pem"}, folder=tmp_path, files=files)
    assert (text.read(), text.file) == ("a\nb\n", tmp_path / "ca.pem")
    assert files == {tmp_path / "ca.pem"}


def test_a_changed_file_makes_an_unequal_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a")
    old = read(FileOrInline, {"file": "ca.pem"}, folder=tmp_path)
    (tmp_path / "ca.pem").write_text("b")
    assert read(FileOrInline, {"file": "ca.pem"}, folder=tmp_path) != old
    assert old.read() == "a"


def test_a_missing_file_is_named_and_to_be_watched(tmp_path: Path) -> None:
    files: set[Path] = set()
    message = refusal(FileOrInline, {"file": "none.pem"}, folder=tmp_path, files=files)
    assert message == f"cannot read file {tmp_path / 'none.pem'}: No such file or directory"
    assert files == {tmp_path / "none.pem"}


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    assert refusal(FileOrInline, {"file": "bytes"}, folder=tmp_path).endswith("is not UTF-8 text")
    assert refusal(FileOrInline, {"file": "."}, folder=tmp_path).endswith("Is a directory")
    assert (
        refusal(FileOrInline, {"file": ""}) == refusal(FileOrInline, {"file": 1}) == "`file` must be the name of a file"
    )


def test_a_file_larger_than_16_mib_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(16 * 2**20 + 1)
    assert refusal(FileOrInline, {"file": "huge"}, folder=tmp_path).endswith("is larger than 16 MiB")


def test_a_remote_text_has_a_url_and_nothing_to_read() -> None:
    remote = read(FileInlineOrRemote, {"url": "https://idp.example/jwks.json"})
    assert remote.url == "https://idp.example/jwks.json"
    with pytest.raises(ValueError, match="remote"):
        remote.read()


def test_a_remote_text_may_also_be_here(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text("{}")
    assert read(FileInlineOrRemote, "{}").read() == "{}"
    assert read(FileInlineOrRemote, {"file": "jwks.json"}, folder=tmp_path).read() == "{}"


@pytest.mark.parametrize(
    "url", ["", "jwks.json", "file:///etc/passwd", "ftp://h/x", "https://", "http://h/a b", "http://[", 1]
)
def test_only_http_urls_are_remote(url: object) -> None:
    assert refusal(FileInlineOrRemote, {"url": url}) == "`url` must be an http or https URL"


def test_a_url_shows_no_credentials() -> None:
    class Model(BaseModel):
        jwks: FileInlineOrRemote

    model = Model(jwks={"url": f"https://user:{CANARY}@idp.example:8443/jwks?key={CANARY}"})
    assert CANARY not in repr(model) + model.model_dump_json()
    assert "https://idp.example:8443/jwks?***" in model.model_dump_json()


def test_inline_text_is_not_in_repr() -> None:
    assert CANARY not in repr(read(FileOrInline, CANARY))


# --- Duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("100us", 1e-4), ("1µs", 1e-6), ("1μs", 1e-6),
        ("0", 0), ("0s", 0), (0, 0), (".5s", 0.5), ("1.s", 1), ("5ns", 5e-9), ("1h1m1s1ms", 3661.001), ("30s1m", 90),
    ],
)  # fmt: skip
def test_durations_are_read_as_go_writes_them(text: object, seconds: float) -> None:
    assert read(Duration, text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (10, "a duration needs a unit"), (0.5, "a duration needs a unit"), (True, "a duration needs a unit"),
        (False, "a duration needs a unit"), ("10", "not a duration"), ("-1s", "a duration must not be negative"),
        ("", "not a duration"), ("1d", "not a duration"), ("1 s", "not a duration"), ("s", "not a duration"),
        (".s", "not a duration"), ("1s\n", "not a duration"), ("1S", "not a duration"), ("inf", "not a duration"),
        ("٣s", "not a duration"), (None, "not a duration"), ("00", "not a duration"),
        ("9" * 400 + "s", "a duration must be shorter than 292 years"),
        ("300000000h", "a duration must be shorter than 292 years"),
    ],
)  # fmt: skip
def test_other_durations_are_refused(value: object, message: str) -> None:
    assert refusal(Duration, value) == message


def test_a_number_for_a_duration_gets_a_hint() -> None:
    with pytest.raises(ValidationError) as caught:
        read(Duration, 10)
    assert caught.value.errors()[0]["ctx"]["hint"] == "write 10s, 500ms or 1m30s"


@pytest.mark.parametrize("text", ["10s", "1m30s", "500ms", "0", "1µs", "5ns", "1000000h"])
def test_a_dumped_duration_reads_the_same(text: str) -> None:
    adapter = TypeAdapter(Duration)
    seconds = adapter.validate_python(text)
    assert adapter.validate_python(adapter.dump_python(seconds, mode="json")) == pytest.approx(seconds)


# --- matchers


@pytest.mark.parametrize(
    ("match", "value", "fits"),
    [
        ({"exact": "gold"}, "gold", True),
        ({"exact": "gold"}, "golden", False),
        ({"exact": ""}, "", True),
        ({"regex": "gold|silver"}, "silver", True),
        ({"regex": "gold|silver"}, "silverware", False),
        ({"regex": "gold|silver"}, "a gold", False),
        ({"regex": "^gold$"}, "gold", True),
        ({"regex": "gold"}, "gold\n", False),
        ({"regex": ".é"}, "ñé", True),
        ({"regex": ""}, "", True),
    ],
)
def test_a_string_match_fits_whole_values(match: dict[str, str], value: str, fits: bool) -> None:
    assert StringMatch(**match).matches(value) is fits


@pytest.mark.parametrize(
    ("match", "path", "fits"),
    [
        ({"exact": "/foo"}, "/foo", True),
        ({"exact": "/foo"}, "/foo/", False),
        ({"pathPrefix": "/foo"}, "/foo", True),
        ({"pathPrefix": "/foo"}, "/foo/", True),
        ({"pathPrefix": "/foo"}, "/foo/bar", True),
        ({"pathPrefix": "/foo"}, "/foobar", False),
        ({"pathPrefix": "/foo"}, "/", False),
        ({"pathPrefix": "/foo/"}, "/foo", True),
        ({"pathPrefix": "/foo/"}, "/foo/bar", True),
        ({"pathPrefix": "/foo/"}, "/foobar", False),
        ({"pathPrefix": "/"}, "/", True),
        ({"pathPrefix": "/"}, "/anything", True),
        ({"regex": "/v[0-9]+/.*"}, "/v1/chat", True),
        ({"regex": "/v[0-9]+"}, "/v1/chat", False),
    ],
)
def test_a_path_match_fits_as_the_gateway_api_says(match: dict[str, str], path: str, fits: bool) -> None:
    assert PathMatch(**match).matches(path) is fits


@pytest.mark.parametrize("match", [{}, {"exact": "/a", "regex": "/a"}, {"exact": None}])
def test_a_matcher_has_exactly_one_way(match: dict[str, str]) -> None:
    assert refusal(StringMatch, match) == "expected exactly one of exact, regex"
    assert refusal(PathMatch, match) == "expected exactly one of exact, pathPrefix, regex"


@pytest.mark.parametrize("match", [{"exact": "foo"}, {"pathPrefix": ""}])
def test_a_path_begins_with_a_slash(match: dict[str, str]) -> None:
    assert refusal(PathMatch, match) == "String should match pattern '^/'"


@pytest.mark.parametrize(
    ("regex", "reason"),
    [(f"({CANARY}", "missing )"), (f"(?={CANARY})", "invalid perl operator"), (r"(a)\1", "invalid escape sequence")],
)
def test_a_bad_regex_is_refused_at_load_without_quoting_it(
    regex: str, reason: str, capfd: pytest.CaptureFixture
) -> None:
    assert refusal(StringMatch, {"regex": regex}) == f"not an RE2 regular expression: {reason}"
    assert capfd.readouterr() == ("", "")


# --- expressions, header fields, addresses


def test_cel_text_is_marked_in_the_schema() -> None:
    schema = TypeAdapter(CelText).json_schema()
    assert (schema["type"], schema["format"]) == ("string", "cel")
    assert read(CelText, "request.method == 'GET'") == "request.method == 'GET'"
    assert refusal(CelText, "")


def test_header_names_are_lower_case_tokens() -> None:
    assert read(HeaderName, "X-Request-ID") == "x-request-id"
    for name in ("", "a b", "a:b", ":method", "a\n", "é", "a\0", '"a"'):
        assert refusal(HeaderName, name).startswith("not a header name")


def test_header_values_have_no_control_characters() -> None:
    for value in ("", "a", "a b\tc", "é", '"q"; p=1'):
        assert read(HeaderValue, value) == value
    for value in ("a\r\nx: y", "a\n", "a\rb", "a\0", "\x7f", " a", "a ", "\ta", "日本"):
        assert refusal(HeaderValue, value).startswith("not a header value")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:15000", ListenAddress("127.0.0.1", 15000)),
        ("0.0.0.0:0", ListenAddress("0.0.0.0", 0)),
        ("[::]:15020", ListenAddress("::", 15020)),
        ("localhost:15021", ListenAddress("localhost", 15021)),
        ("unix:/run/admin.sock", ListenAddress(socket="/run/admin.sock")),
        ("off", ListenAddress()),
    ],
)
def test_listen_addresses_read_and_write_the_same(text: str, address: ListenAddress) -> None:
    assert read(ListenAddress, text) == address
    assert str(address) == TypeAdapter(ListenAddress).dump_python(address, mode="json") == text
    assert address.off is (text == "off")


@pytest.mark.parametrize(
    "value", ["", "15000", ":15000", "example.com:80", "1.2.3:80", "::1:80", "[::1]", "[1.2.3.4]:1", "127.0.0.1:65536",
              "127.0.0.1:-1", "127.0.0.1:٣", "unix:", "unix:a\0b", 15000, None, False]
)  # fmt: skip
def test_other_addresses_are_refused(value: object) -> None:
    assert refusal(ListenAddress, value) == "not a listen address"
