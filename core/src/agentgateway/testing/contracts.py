"""One suite for each interface: what the gateway relies on, whatever the plugin does.

Subclass in a test module, name the plugin and give it a configuration; pytest collects the inherited tests.
"""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import pydantic
import pytest
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from agentgateway.errors import GatewayError, InternalError, NotFound, RateLimited
from agentgateway.exchange import Exchange, Headers, Outgoing, Usage
from agentgateway.hookspecs import PHASES
from agentgateway.interfaces import (
    PASS,
    Backend,
    Catalog,
    Credential,
    Guard,
    Level,
    Lowered,
    Policy,
    Protocol,
    Provider,
    Section,
    Segment,
    Verdict,
)
from agentgateway.llm.calls import (
    ChatReply,
    Delta,
    Dialect,
    Ended,
    ErrorFacts,
    PartEnded,
    PartStarted,
    Started,
    Text,
    TextDelta,
)
from agentgateway.llm.dialects import dialect
from agentgateway.llm.price_format import CatalogConfig, layer_of
from agentgateway.llm.prices import PriceCatalogue, Status
from agentgateway.testing.exchanges import chat, http
from agentgateway.testing.hosts import LoopbackHost, make

CANARY = "canary-8c1f2e"
HEAVY = (
    "openai",
    "boto3",
    "botocore",
    "grpc",
    "google.cloud",
    "jwt",
    "celpy",
    "quart",
    "httpx",
    "cryptography",
    "genai_prices",
)


class PluginContract:
    """What holds for every plugin. `name` is its entry point's, `config` a value it accepts."""

    __test__ = False
    group: ClassVar[str]
    interface: ClassVar[type]
    name: ClassVar[str]
    config: ClassVar[Any] = {}

    def __init_subclass__(cls) -> None:
        cls.__test__ = hasattr(cls, "name")

    @property
    def point(self) -> EntryPoint:
        (point,) = entry_points(group=self.group, name=self.name)
        return point

    def build(self, host: LoopbackHost | None = None) -> Any:
        return make(self.group, self.name, self.config, host)

    def test_the_entry_point_leads_to_the_interface(self) -> None:
        assert issubclass(self.point.load(), self.interface)

    def test_the_class_says_what_it_is_in_its_docstring(self) -> None:
        assert inspect.getdoc(self.point.load())

    def test_importing_it_loads_nothing_heavy(self) -> None:
        program = f"import sys, {self.point.module}; print([m for m in {HEAVY!r} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_its_configuration_has_a_described_schema(self) -> None:
        schema = TypeAdapter(self.point.load().Config).json_schema()
        for name, field in schema.get("properties", {}).items():
            assert field.get("description") or "$ref" in field or "anyOf" in field, f"{name} has no description"

    def test_unknown_keys_are_refused(self) -> None:
        if isinstance(self.config, dict):
            with pytest.raises(pydantic.ValidationError):
                make(self.group, self.name, {**self.config, "noSuchKeyAtAll": 1})

    def test_construction_has_no_side_effects_and_does_not_run_anything(self) -> None:
        first, second = self.build(), self.build()
        assert first is not second

    async def test_it_stops_even_when_it_never_started(self) -> None:
        plugin = self.build()
        if hasattr(plugin, "stop"):
            await plugin.stop()


class PolicyContract(PluginContract):
    group = "agentgateway.policies"
    interface = Policy
    levels: ClassVar[tuple[Level, ...]] = ("route",)

    def test_it_takes_part_in_at_least_one_phase_and_only_in_known_ones(self) -> None:
        parts = list(self.build().participants())
        assert parts
        for part in parts:
            hooks = [name for name in dir(part.hooks) if hasattr(getattr(part.hooks, name), "agentgateway_impl")]
            assert hooks and set(hooks) <= set(PHASES), hooks

    def test_its_hooks_take_the_exchange_and_nothing_else(self) -> None:
        for part in self.build().participants():
            for name in PHASES:
                hook = getattr(part.hooks, name, None)
                if hook is not None:
                    assert list(inspect.signature(hook).parameters) == ["exchange"]

    def test_it_may_stand_where_it_says(self) -> None:
        assert set(self.levels) <= self.build().levels

    async def test_it_starts_and_stops(self) -> None:
        policy = self.build()
        await policy.start()
        await policy.stop()


class GuardContract(PluginContract):
    """`rejected` or `masked` is a text that the configuration under test acts on; `clean` one that passes."""

    group = "agentgateway.guards"
    interface = Guard
    clean: ClassVar[str] = "the quick brown fox"
    caught: ClassVar[str]

    async def judge(self, *texts: str) -> tuple[Verdict, list[str]]:
        guard = self.build()
        await guard.start()
        replaced = list(texts)
        segments = [
            Segment("user", "messages", f"messages[{i}].content", text, _setter(replaced, i))
            for i, text in enumerate(texts)
        ]
        verdict = guard.check(segments, chat())
        verdict = await verdict if inspect.isawaitable(verdict) else verdict
        await guard.stop()
        assert isinstance(verdict, Verdict)
        return verdict, replaced

    async def test_a_clean_text_passes(self) -> None:
        verdict, _ = await self.judge(self.clean)
        assert verdict == PASS

    async def test_no_text_passes(self) -> None:
        verdict, _ = await self.judge()
        assert verdict == PASS

    async def test_what_it_catches_is_masked_or_rejected(self) -> None:
        verdict, _ = await self.judge(self.clean, self.caught)
        assert verdict.rejected or set(verdict.masks) == {1}
        assert self.caught not in verdict.masks.get(1, "")

    async def test_its_reason_quotes_nothing(self) -> None:
        verdict, _ = await self.judge(self.caught)
        assert self.caught not in verdict.reason

    async def test_it_does_not_edit_segments_itself(self) -> None:
        _, texts = await self.judge(self.caught)
        assert texts == [self.caught]

    def test_it_states_what_it_promises_on_a_stream(self) -> None:
        guard = self.build()
        assert guard.stream in {"hold-all", "hold-window", "observe"}
        assert guard.stream != "hold-window" or guard.window > 0


def _setter(texts: list[str], index: int) -> Any:
    def put(text: str) -> None:
        texts[index] = text

    return put


class ProviderContract(PluginContract):
    group = "agentgateway.providers"
    interface = Provider
    operations: ClassVar[tuple[str, ...]] = ("chat",)

    def outgoing(self) -> Outgoing:
        return Outgoing("POST", "http://127.0.0.1:9", "/", Headers([(b"content-type", b"application/json")]))

    def test_it_names_itself_for_telemetry(self) -> None:
        assert self.build().system

    def test_its_dialects_exist(self) -> None:
        installed = {point.name for point in entry_points(group="agentgateway.dialects")}
        for operation in self.operations:
            spoken = self.build().dialects(operation)
            assert spoken and set(spoken) <= installed

    def test_every_dialect_has_a_path(self) -> None:
        provider = self.build()
        for spoken in provider.dialects("chat"):
            call = chat(speaks=spoken).call
            assert provider.path(call).startswith("/")

    def test_a_credential_ends_up_in_a_header_and_nowhere_else(self) -> None:
        provider = self.build()
        call = chat(speaks=provider.dialects("chat")[0]).call
        outgoing = self.outgoing()
        outgoing.headers.set("authorization", f"Bearer {CANARY}")
        provider.finish(outgoing, call)
        assert any(CANARY in value for _, value in outgoing.headers)
        assert CANARY not in outgoing.url + outgoing.target + repr(outgoing) + repr(provider)


class CredentialContract(PluginContract):
    """`config` holds the canary where the credential's secret goes; `expected` is a header that must carry it."""

    group = "agentgateway.credentials"
    interface = Credential

    def exchange(self) -> Exchange:
        exchange = chat()
        exchange.outgoing = Outgoing("POST", "http://127.0.0.1:9", "/v1/chat/completions", Headers())
        return exchange

    async def test_it_never_shows_its_secret(self) -> None:
        credential = self.build()
        assert CANARY not in repr(credential) + repr(credential.config) + str(vars(credential))
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(credential.config)


class BackendContract(PluginContract):
    group = "agentgateway.backends"
    interface = Backend

    def test_it_has_targets_with_names(self) -> None:
        targets = self.build().targets()
        assert targets and all(target.name for target in targets)

    def test_its_protocol_exists(self) -> None:
        assert self.build().protocol in {point.name for point in entry_points(group="agentgateway.protocols")}


class CatalogContract:
    """`name` is a catalogue's entry point; `listed` are models of it, each with its provider."""

    __test__ = False
    name: ClassVar[str]
    listed: ClassVar[Sequence[tuple[str, str]]]

    def __init_subclass__(cls) -> None:
        cls.__test__ = hasattr(cls, "name")

    @property
    def point(self) -> EntryPoint:
        (point,) = entry_points(group="agentgateway.catalogs", name=self.name)
        return point

    def test_the_entry_point_leads_to_the_interface(self) -> None:
        assert issubclass(self.point.load(), Catalog)

    def test_the_class_says_what_it_is_in_its_docstring(self) -> None:
        assert inspect.getdoc(self.point.load())

    def test_importing_it_loads_nothing_heavy(self) -> None:
        program = f"import sys, {self.point.module}; print([m for m in {HEAVY!r} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    async def test_it_has_prices_in_the_format_of_the_configuration(self) -> None:
        text = await self.point.load()().read()
        CatalogConfig.model_validate(from_json(text), by_alias=True, by_name=False)
        catalogue = PriceCatalogue([layer_of(text)])
        usage = Usage(1000, 100)
        prices = {one: catalogue.price(one[0], (one[1],), usage) for one in self.listed}
        assert {one: status for one, (status, _) in prices.items()} == dict.fromkeys(self.listed, Status.EXACT)


class DialectContract:
    """`name` is a dialect's entry point; `call` and `reply` are documents of it, `spoken` a text that both carry."""

    __test__ = False
    name: ClassVar[str]
    call: ClassVar[dict[str, Any]]
    reply: ClassVar[dict[str, Any]]
    spoken: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.__test__ = hasattr(cls, "name")

    @property
    def dialect(self) -> Dialect:
        return dialect(self.name)

    def test_it_has_its_own_name_and_paths(self) -> None:
        assert self.dialect.name == self.name
        assert all(path.startswith(("/", ":")) for path in self.dialect.paths)
        assert self.dialect.path("m").startswith("/") and self.dialect.path("m").endswith(self.dialect.paths)

    def test_a_call_survives_the_canonical_model(self) -> None:
        decoded = self.dialect.decode_call(deepcopy(self.call))
        assert self.dialect.decode_call(self.dialect.encode_call(decoded)) == decoded

    def test_a_reply_survives_the_canonical_model(self) -> None:
        decoded = self.dialect.decode_reply(deepcopy(self.reply))
        assert self.dialect.decode_reply(self.dialect.encode_reply(decoded)) == decoded

    def test_a_reply_survives_as_a_stream(self) -> None:
        decoded = self.dialect.decode_reply(deepcopy(self.reply))
        encoder, decoder = self.dialect.encoder(include_usage=True), self.dialect.decoder()
        written = b"".join(encoder.feed(delta) for delta in as_deltas(decoded)) + encoder.end()
        read = [delta for event in self.dialect.parser().feed(written) for delta in decoder.feed(event)]
        read.extend(decoder.end())
        assert "".join(delta.text for delta in read if isinstance(delta, TextDelta)) == text_of(decoded)
        assert any(isinstance(delta, Ended) for delta in read)

    def test_guards_see_and_replace_what_is_said(self) -> None:
        for document, segments in (
            (deepcopy(self.call), self.dialect.call_segments),
            (deepcopy(self.reply), self.dialect.reply_segments),
        ):
            edits: list[object] = []
            found = [one for one in segments(document, partial(edits.append, None)) if self.spoken in one.text]
            assert found
            for one in found:
                one.replace("***")
            assert edits
            assert self.spoken not in str(document)

    def test_an_error_keeps_its_sentence(self) -> None:
        facts = ErrorFacts(429, "slow down")
        again = self.dialect.decode_error(429, to_json(self.dialect.encode_error(facts)))
        assert (again.status, again.message) == (429, "slow down")


def text_of(reply: ChatReply) -> str:
    return "".join(part.text for part in reply.parts if isinstance(part, Text))


def as_deltas(reply: ChatReply) -> Iterator[Delta]:
    """The texts of a reply, as a stream of two pieces each."""
    yield Started(reply.id, reply.model, reply.usage)
    texts = [part.text for part in reply.parts if isinstance(part, Text)]
    for index, text in enumerate(texts):
        yield PartStarted(index, "text")
        yield TextDelta(index, text[:1])
        yield TextDelta(index, text[1:])
        yield PartEnded(index)
    yield Ended("stop", None, reply.usage)


class SectionContract(PluginContract):
    """`config` is a section that lowers to at least one route."""

    group = "agentgateway.sections"
    interface = Section

    def lowered(self) -> Lowered:
        section = self.point.load()
        made: Lowered = section().lower(TypeAdapter(section.Config).validate_python(self.config), frozenset())
        return made

    def build(self, host: LoopbackHost | None = None) -> Any:
        return self.point.load()()

    def test_unknown_keys_are_refused(self) -> None:
        with pytest.raises(pydantic.ValidationError):
            TypeAdapter(self.point.load().Config).validate_python({**self.config, "noSuchKeyAtAll": 1})

    def test_it_lowers_to_routes_that_know_their_place(self) -> None:
        lowered = self.lowered()
        assert lowered.routes
        assert all(route.at and route.name and route.backends for route in lowered.routes)

    def test_what_it_shares_is_one_object(self) -> None:
        """A policy of the section is built once for all its routes: their first layer is the same."""
        first = [route.layers[0] for route in self.lowered().routes]
        assert all(layer is first[0] for layer in first)


class ProtocolContract:
    """`name` is a protocol's entry point."""

    __test__ = False
    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.__test__ = hasattr(cls, "name")

    @property
    def protocol(self) -> Protocol:
        (point,) = entry_points(group="agentgateway.protocols", name=self.name)
        made: Protocol = point.load()(LoopbackHost())
        return made

    async def test_it_writes_every_error_with_its_status_and_headers(self) -> None:
        for error in (NotFound(), RateLimited(headers=[("retry-after", "7")]), InternalError(detail=CANARY)):
            reply = self.protocol.error(http("POST", "/"), error)
            assert reply.status == error.status
            assert isinstance(reply.body, bytes)
            assert error.message.encode() in reply.body
            assert CANARY.encode() not in reply.body
            assert [reply.headers.get(name) for name, _ in error.headers] == [value for _, value in error.headers]

    async def test_what_it_cannot_read_is_an_error_and_not_a_crash(self) -> None:
        for body in (b"", b"{", b"\xff", b"[]", b"null", b'{"model": 7}', b"[" * 10_000):
            exchange = http("POST", "/", body=body)
            with suppress(GatewayError):
                await self.protocol.decode(exchange)
