"""The configuration file: text in, plain data and well-placed errors out."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, field_validator

from agentgateway._host.load import Document, dotted, parse, read, validate
from agentgateway._host.yaml_nodes import Collection, Scalar
from agentgateway._host.yaml_values import construct
from agentgateway.errors import ConfigError, ConfigErrors
from agentgateway.settings import Duration, FileOrInline, PluginConfig, Secret

CANARY = "sk-canary-5f2c"
ENVIRON = {"PORT": "8080", "NAME": "gold", "EMPTY": "", "HOME": "/home/ann", "EVIL": 'x"\nadmin: true # {$PORT}'}


def data(text: str) -> Any:
    return parse(text, file="config.yaml", environ=ENVIRON).data


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        data(text)
    return str(caught.value)


# --- scalars


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("y", "y"), ("off", "off"), ("no", "no"), ("true", True), ("False", False),
        ("null", None), ("~", None), ("", None), ("12", 12), ("-12", -12), ("+12", 12), ("0o17", 15), ("017", 17),
        ("0x1F", 31), ("1_000", "1_000"), ("0b1", "0b1"), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0),
        (".inf", float("inf")), ("-.INF", float("-inf")), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"), ("10s", "10s"), ('"12"', "12"), ("'true'", "true"), ("!!str 12", "12"), ("! 12", "12"),
        ("!!int '12'", 12), ("!!float 1", 1), ("|\n 12\n", "12\n"), (">-\n a\n b\n", "a b"), ("1" * 5000, "1" * 5000),
        ("/v1/*", "/v1/*"), ("^foo$", "^foo$"), ('"\\ud83d\\ude00"', "😀"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert data(f"key: {text}") == {"key": value}


def test_nan_is_a_number() -> None:
    assert data("key: .nan")["key"] != data("key: .nan")["key"]


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "~", "{}"])
def test_an_empty_file_is_an_empty_configuration(text: str) -> None:
    assert data(text) == {}


def test_anchors_are_copied() -> None:
    value = data("a: &x {k: [1]}\nb: *x\n")
    assert value == {"a": {"k": [1]}, "b": {"k": [1]}}
    assert value["a"] is not value["b"]


def test_merge_keys_add_what_is_not_there() -> None:
    text = (
        "base: &base {x: 1, y: 2}\none:\n  <<: *base\n  y: 3\nall:\n  <<: [{y: 4}, *base, {z: 5}]\nquoted: {'<<': 1}\n"
    )
    value = data(text)
    assert value["one"] == {"x": 1, "y": 3}
    assert value["all"] == {"y": 4, "x": 1, "z": 5}
    assert value["quoted"] == {"<<": 1}


# --- what is refused, and where


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "config.yaml:4: b.c: duplicate key, first on line 3"),
        ('{"a": 1,\n"a": 2}', "config.yaml:2: a: duplicate key, first on line 1"),
        ("a:\n  1: x\n", "config.yaml:2: a: a key must be text, this one is a number, a boolean or null\n"
                         "  hint: quote the key"),
        ("true: x", "config.yaml:1: a key must be text, this one is a number, a boolean or null\n"
                    "  hint: quote the key"),
        (": x", "config.yaml:1: a key must be text, this one is a number, a boolean or null\n"
                "  hint: quote the key"),
        ("? [a, b]\n: x", "config.yaml:1: a key must be text\n  hint: in { }, quote values that contain braces"),
        ("a: 1\n---\nb: 2\n", "config.yaml:2: more than one YAML document\n  hint: one file is one document"),
        ("- a\n- b\n", "config.yaml:1: the top level must be a mapping"),
        ("just text", "config.yaml:1: the top level must be a mapping"),
        ("a: !!python/object/apply:os.system [ls]", "config.yaml:1: YAML tags other than those of the core schema are "
                                                    "refused"),
        ("a: 1\nb: !vault x", "config.yaml:2: YAML tags other than those of the core schema are refused"),
        ("a: !!binary aGk=", "config.yaml:1: YAML tags other than those of the core schema are refused"),
        ("a: !!seq {}", "config.yaml:1: YAML tags other than those of the core schema are refused"),
        ("a: !!int x", "config.yaml:1: a: not what its tag !!int says"),
        ("a: *none", "config.yaml:1: alias of an anchor that is not complete before it"),
        ("a: &a [*a]", "config.yaml:1: alias of an anchor that is not complete before it"),
        ("a:\n  <<: 1\n", "config.yaml:2: a: << merges a mapping or a list of mappings"),
        ("a: 1\n b: 2", "config.yaml:2: YAML syntax, column 3: mapping values are not allowed here"),
        ("a:\n\t- b", "config.yaml:2: YAML syntax, column 1: found character '\\t' that cannot start any token\n"
                      "  hint: indent with spaces, not tabs"),
        ("name: *", "config.yaml:1: YAML syntax, column 8: expected alphabetic or numeric character, "
                    "but found '\\x00'\n"
                    "  hint: quote text that begins with one of * & ! @ ` % | >"),
        ("a: 1\nb: \x07", "config.yaml:2: YAML syntax, column 4: control character"),
        ('a: "\\ud800"', "config.yaml:1: a: half of a surrogate pair is not a character"),
        ('"\\ud800": a', "config.yaml:1: half of a surrogate pair is not a character"),
        ('a: "\\UFFFFFFFF"', "config.yaml: YAML syntax: an escape is beyond Unicode"),
    ],
)  # fmt: skip
def test_what_is_refused_is_placed(text: str, message: str) -> None:
    assert refusal(text) == message


@pytest.mark.parametrize("text", ["[", "{", "{a: ", "- ", "- - ", '{"a":'])
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nested deeper than 64 levels" in refusal("a: " + text * 5000 if text[0] != "-" else text * 5000)


def test_a_small_file_cannot_grow_without_bound() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    bomb += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
    assert "aliases add more than 200000 values" in refusal(bomb)


def test_a_large_file_may_have_as_many_values_as_it_writes() -> None:
    values = tuple(Scalar(line, "x", True, "") for line in range(200_001))
    assert construct(Collection(1, values, None), str)[0] == ["x"] * 200_001


def test_nesting_by_aliases_is_refused() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100))
    assert "nested deeper than 64 levels" in refusal(chain)


@pytest.mark.parametrize(
    "text",
    [
        "key: '{0}", 'key: "{0}', "key: {0}: x", "key: [{0}", "key: !{0} x", "key: !{0}!x y", "key: *{0}",
        "a: {0}\n\tb",
        "key: {0}\n  {0}: {0}", "key: !!int {0}", "key: {0}${{", "key: {0}\n---\n", "- {0}", "key: {0}\x07", '"{0}',
        "key: |{0}", "key: {0}$NOT_SET", "key: @{0}", "key: `{0}", "a: {0}\na: {0}",
    ],
)  # fmt: skip
def test_no_error_quotes_a_value(text: str) -> None:
    assert CANARY not in refusal(text.format(CANARY))


@given(st.text(st.sampled_from("ab01:-?#&*!|>'\"%@`{}[],~ \n\t$\\x.<=é\x00\x85\ufdd0"), max_size=30))
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    try:
        data(text)
    except ConfigError as error:
        assert error.file == "config.yaml"


# --- JSON

KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="$~"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, JSON, max_size=4), st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_json_reads_as_json(value: dict[str, Any], ascii_only: bool, indent: int | str | None) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only, indent=indent), environ={}).data == value


def test_json_may_be_indented_by_tabs_and_has_lines() -> None:
    document = parse('{\n\t"a": {\n\t\t"b": "x\\ty"\n\t}\n}', environ={})
    assert document.data == {"a": {"b": "x\ty"}}
    assert document.line(["a", "b"]) == 3


# --- environment


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$PORT", 8080), ("${PORT}", 8080), ('"${PORT}"', "8080"), ("'$PORT'", "8080"), ("|-\n ${PORT}", "8080"),
        ("a-$NAME-b", "a-gold-b"), ("${NAME}er", "golder"), ("${NAME}${PORT}", "gold8080"),
        ("${NOT_SET:-5}", 5), ("${NOT_SET:-true}", True), ("${NOT_SET:-}", None), ('"${NOT_SET:-}"', ""),
        ("${EMPTY:-x}", "x"), ("${EMPTY}", None), ("$EMPTY", None), ("${NOT_SET:-http://h:1/p}", "http://h:1/p"),
        ("${NOT_SET:-$PORT}", "$PORT"), ("${NOT_SET:-1.5}", 1.5),
        ("$$PORT", "$PORT"), ("$${PORT}", "${PORT}"), ("a$$", "a$"), ("^foo$", "^foo$"), ("$1", "$1"), ("$", "$"),
        ("$ PORT", "$ PORT"), ("a$-b", "a$-b"), ("[$PORT, x]", [8080, "x"]), ("[${PORT}, ${NOT_SET:-x}]", [8080, "x"]),
        ("{port: ${PORT}}", {"port": 8080}), ("~/conf", "/home/ann/conf"), ('"~/conf"', "/home/ann/conf"),
        ("a~/b", "a~/b"), ("~/$NAME", "/home/ann/gold"), ("!!str $PORT", "8080"),
    ],
)  # fmt: skip
def test_variables_are_expanded_in_values(text: str, value: object) -> None:
    assert data(f"key: {text}") == {"key": value}


def test_variables_expand_in_json() -> None:
    assert data('{"port": ${PORT}, "name": "${NAME}"}') == {"port": 8080, "name": "gold"}


def test_keys_and_comments_are_not_expanded() -> None:
    assert data("# $NOT_SET ${\n$NAME: 1 # ${NOT_SET}\n") == {"$NAME": 1}


def test_a_variable_cannot_add_to_the_file() -> None:
    assert data("a: $EVIL\nb: 1") == {"a": ENVIRON["EVIL"], "b": 1}


@pytest.mark.parametrize("text", ["$NOT_SET", "${NOT_SET}", '"x ${NOT_SET}"', ">\n    $NOT_SET"])
def test_an_unset_variable_is_named_with_its_place(text: str) -> None:
    assert refusal(f"a:\n- key: {text}\n") == (
        "config.yaml:2: a[0].key: environment variable NOT_SET is not set\n"
        "  hint: set it, or write ${NOT_SET:-default}; $$ gives a literal $"
    )


@pytest.mark.parametrize("text", ["${", "${}", "${1}", "${a-b}", "'${PORT'", "${PORT:=1}", "'${NOT_SET:-${PORT}}'"])
def test_a_malformed_reference_is_refused(text: str) -> None:
    assert "config.yaml:1: key: malformed ${…}" in refusal(f"key: {text}")


def test_the_home_folder_must_be_known() -> None:
    with pytest.raises(ConfigError, match="HOME is not set"):
        parse("key: ~/x", environ={})


# --- reading


def test_a_file_is_read_and_to_be_watched(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\r\nb: 1\r\n")
    document = read(str(tmp_path / "config.yaml"), environ={})
    assert document.data == {"a": "é", "b": 1}
    assert document.files == {tmp_path / "config.yaml"}
    assert document.folder == tmp_path


def test_a_relative_name_is_shown_as_given_and_watched_as_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("a: *")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        read("config.yaml")
    assert caught.value.file == "config.yaml"
    (tmp_path / "config.yaml").write_text("a: 1")
    assert read("config.yaml").files == {tmp_path / "config.yaml"}


def test_standard_input_is_read_once_and_not_watched() -> None:
    document = read("-", stdin=io.BytesIO(b"a: $X"), environ={"X": "1"})
    assert (document.data, document.files, document.folder) == ({"a": 1}, set(), Path.cwd())
    with pytest.raises(ConfigError, match="<stdin>:1: "):
        read("-", stdin=io.BytesIO(b"- a"))


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTGATEWAY_TEST_PORT", "4000")
    assert parse("port: $AGENTGATEWAY_TEST_PORT").data == {"port": 4000}


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"a: 1\nb: \xff\n")
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(16 * 2**20 + 1)
    for name, message in {
        "none": "none: cannot read the configuration: No such file or directory",
        "": "cannot read the configuration: Is a directory",
        "bytes": "bytes:2: not UTF-8 text",
        "huge": "huge: larger than 16 MiB",
        "a\0b": "cannot read the configuration: not a file name",
    }.items():
        with pytest.raises(ConfigError) as caught:
            read(str(tmp_path / name))
        assert str(caught.value).endswith(message)
    with pytest.raises(ConfigError, match="name one with -f FILE"):
        read(None)


# --- places

TEXT = """\
llm:
  models:
  - name: a
    params: &p
      model: gpt
  - name: b
    params: *p
  - params:
      <<: *p
gateways:
  my.gateway: {port: 1}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ([], 1), (["llm"], 1), (["llm", "models"], 2), (["llm", "models", 0], 3), (["llm", "models", 0, "name"], 3),
        (["llm", "models", 0, "params"], 4), (["llm", "models", 0, "params", "model"], 5), (["llm", "models", 1], 6),
        (["llm", "models", 1, "params"], 7), (["llm", "models", 1, "params", "model"], 5),
        (["llm", "models", 2, "params", "model"], 5), (["llm", "models", 9, "name"], 2), (["gateways", "none"], 10),
        (["gateways", "my.gateway", "port", 3], 11), (["none"], 1),
    ],
)  # fmt: skip
def test_every_key_has_a_line(path: list[str | int], line: int) -> None:
    assert parse(TEXT, environ={}).line(path) == line


def test_an_empty_document_has_no_lines() -> None:
    assert parse("").line(["a"]) is None
    assert str(parse("", file="c.yaml").error(["a"], "missing")) == "c.yaml: a: missing"


def test_paths_are_written_as_people_do() -> None:
    assert dotted(["llm", "models", 0, "params"]) == "llm.models[0].params"
    assert dotted(["gateways", "my.gateway", "x-y", "é", ""]) == 'gateways["my.gateway"].x-y["é"][""]'
    assert dotted([]) == ""


# --- validation


class Inner(PluginConfig):
    max_tokens: int = 0
    kind: Literal["a", "b"] = "a"


class Left(PluginConfig):
    type: Literal["left"]
    left_size: int = 0


class Right(PluginConfig):
    type: Literal["right"]
    right_size: int = 0


class Outer(PluginConfig):
    request_timeout: Duration = 0.0
    inners: list[Inner] = []
    named: dict[str, Inner] = {}
    either: str | Inner | None = None
    side: Annotated[Left | Right, Field(discriminator="type")] | None = None
    enabled: bool = True
    note: str = ""
    key: Secret | None = None
    ca: FileOrInline | None = None
    checked: int = 0

    @field_validator("checked")
    @classmethod
    def _even(cls, value: int) -> int:
        if value == 7:
            raise ConfigError("seven is taken", path="checked", hint="take eight")
        if value % 2:
            raise ValueError("must be even")
        return value


def errors(text: str, at: tuple[str | int, ...] = ("outer",)) -> list[str]:
    document = parse(text, file="c.yaml", environ={})
    value: Any = document.data
    for key in at:
        value = value[key]
    with pytest.raises(ConfigError) as caught:
        validate(Outer, value, document, at)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    return [str(error) for error in getattr(caught.value, "errors", [caught.value])]


def test_a_valid_section_becomes_its_model() -> None:
    document = parse("outer: {requestTimeout: 1s, inners: [{maxTokens: 3}], note: x}", environ={})
    outer = validate(Outer, document.data["outer"], document, ["outer"])
    assert outer == Outer(request_timeout="1s", inners=[Inner(max_tokens=3)], note="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outer:\n  requestTimeouts: 1s", "c.yaml:2: outer.requestTimeouts: unknown key\n"
                                          "  hint: did you mean requestTimeout?"),
        ("outer:\n  request_timeout: 1s", "c.yaml:2: outer.request_timeout: unknown key\n"
                                          "  hint: did you mean requestTimeout?"),
        ("outer:\n  zzz: 1", "c.yaml:2: outer.zzz: unknown key\n  hint: known keys: ca, checked, either, enabled, "
                             "inners, key, named, note, requestTimeout, side"),
        ("outer:\n  inners:\n  - maxToken: 1", "c.yaml:3: outer.inners[0].maxToken: unknown key\n"
                                               "  hint: did you mean maxTokens?"),
        ("outer:\n  named:\n    x.y:\n      kinds: a", 'c.yaml:4: outer.named["x.y"].kinds: unknown key\n'
                                                       "  hint: did you mean kind?"),
        ("outer:\n  side:\n    type: left\n    leftsize: 1", "c.yaml:4: outer.side.leftsize: unknown key\n"
                                                            "  hint: did you mean leftSize?"),
        ("outer:\n  side:\n    type: " + CANARY, "c.yaml:2: outer.side: expected one of 'left', 'right'"),
        ("outer:\n  side:\n    leftSize: 1", "c.yaml:2: outer.side: the key 'type' is missing"),
        ("outer:\n  requestTimeout: 10", "c.yaml:2: outer.requestTimeout: a duration needs a unit\n"
                                         "  hint: write 10s, 500ms or 1m30s"),
        ("outer:\n  note: 12", "c.yaml:2: outer.note: expected text\n  hint: quote it"),
        ("outer:\n  note: [" + CANARY + "]", "c.yaml:2: outer.note: expected text"),
        ("outer:\n  enabled: " + CANARY, "c.yaml:2: outer.enabled: expected true or false"),
        ("outer:\n  inners: " + CANARY, "c.yaml:2: outer.inners: expected a list"),
        ("outer:\n  named: " + CANARY, "c.yaml:2: outer.named: expected a mapping"),
        ("outer:\n  inners:\n  - " + CANARY, "c.yaml:3: outer.inners[0]: expected a mapping"),
        ("outer:\n  inners:\n  - kind: " + CANARY, "c.yaml:3: outer.inners[0].kind: expected 'a' or 'b'"),
        ("outer:\n  key: 12", "c.yaml:2: outer.key: expected text or {file: …}\n"
                              "  hint: quote it, if it is text that looks like a number"),
        ("outer:\n  checked: 3", "c.yaml:2: outer.checked: must be even"),
        ("outer:\n  checked: 7", "c.yaml:1: outer.checked: seven is taken\n  hint: take eight"),
        ("outer: " + CANARY, "c.yaml:1: outer: expected a mapping"),
        ("outer:", "c.yaml:1: outer: expected a mapping"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_the_files_terms(text: str, message: str) -> None:
    assert errors(text) == [message]


def test_a_missing_key_is_named_at_its_parent() -> None:
    class Needs(PluginConfig):
        api_key: str

    document = parse("a: 1\nneeds:\n  {}\n", file="c.yaml", environ={})
    with pytest.raises(ConfigError) as caught:
        validate(Needs, document.data["needs"], document, ["needs"])
    assert str(caught.value) == "c.yaml:2: needs.apiKey: required key is missing"


def test_every_error_is_listed() -> None:
    text = f"outer:\n  zzz: 1\n  note: 1\n  inners:\n  - maxTokens: {CANARY}\n  - kind: c\n"
    assert sorted(message.split(": ")[1] for message in errors(text)) == [
        "outer.inners[0].maxTokens",
        "outer.inners[1].kind",
        "outer.note",
        "outer.zzz",
    ]
    document = parse(text, environ={})
    with pytest.raises(ConfigErrors):
        validate(Outer, document.data["outer"], document, ["outer"])


def test_the_branches_of_a_union_say_together_at_the_key_what_they_expect() -> None:
    assert errors("outer:\n  either: [1]") == ["c.yaml:2: outer.either: expected text or a mapping"]
    assert errors("outer:\n  either: 5") == ["c.yaml:2: outer.either: expected text or a mapping\n  hint: quote it"]


def test_a_branch_that_took_the_type_of_a_value_speaks_alone() -> None:
    (said,) = errors("outer:\n  either: {zzz: 1}")
    assert said.startswith("c.yaml:2: outer.either.zzz: unknown key")


def test_words_of_several_branches_are_one_list() -> None:
    class Chosen(PluginConfig):
        word: Literal["a", "b"] | Literal["c"] | bool

    document = parse("it: {word: [1]}", file="c.yaml", environ={})
    with pytest.raises(ConfigError) as caught:
        validate(Chosen, document.data["it"], document, ["it"])
    assert str(caught.value) == "c.yaml:1: it.word: expected 'a', 'b', 'c', true or false"


def test_files_start_at_the_folder_of_the_configuration_and_are_to_be_watched(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "key.txt").write_text(CANARY + "\n")
    (tmp_path / "config.yaml").write_text("outer:\n  key: {file: keys/key.txt}\n  ca: {file: ca.pem}\n")
    document = read(str(tmp_path / "config.yaml"), environ={})
    with pytest.raises(ConfigError) as caught:
        validate(Outer, document.data["outer"], document, ["outer"])
    assert f":3: outer.ca: cannot read file {tmp_path / 'ca.pem'}: No such file" in str(caught.value)
    (tmp_path / "ca.pem").write_text("pem")
    outer = validate(Outer, document.data["outer"], document, ["outer"])
    assert outer.key == Secret(CANARY)
    assert document.files == {tmp_path / name for name in ("config.yaml", "keys/key.txt", "ca.pem")}


def test_a_context_reaches_the_validators() -> None:
    seen = {}

    class Curious(PluginConfig):
        x: int

        @field_validator("x")
        @classmethod
        def _look(cls, value: int, info: Any) -> int:
            seen.update(info.context)
            return value

    document = parse("x: 1", environ={})
    validate(Curious, document.data, document, context={"host": "h"})
    assert seen == {"host": "h", "folder": Path.cwd(), "files": set()}


def test_a_document_does_not_show_its_content() -> None:
    document = parse(f"key: {CANARY}", environ={})
    assert isinstance(document, Document)
    assert CANARY not in repr(document)


# --- weight


def test_importing_is_light() -> None:
    script = "import sys, agentgateway.settings, agentgateway._host.load, agentgateway._host.watch; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"re2", "ruamel.yaml", "watchfiles", "anyio", "celpy", "httpx", "quart", "hypercorn", "pluggy", "stevedore"}
    assert heavy & set(done.stdout.split()) == set()
