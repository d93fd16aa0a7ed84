"""Order, and what a hook may look like."""

from types import SimpleNamespace

import pytest

from agentgateway._host.chains import Placed, compile_chain, order
from agentgateway.errors import ConfigError
from agentgateway.exchange import Exchange
from agentgateway.hookspecs import hookimpl


class Part:
    @hookimpl
    def pre_request(self, exchange: Exchange) -> None: ...


def placed(slot: str, level: str = "route", depth: int = 0, after: tuple[str, ...] = (), before: tuple[str, ...] = ()):
    return Placed(Part(), slot, level, slot, after, before, depth)  # type: ignore[arg-type]


def slots(*parts: Placed) -> list[str]:
    return [part.slot for part in order(parts)]


def test_inside_a_level_the_published_order_holds_whatever_the_files():
    assert slots(placed("ai"), placed("localRateLimit"), placed("cors"), placed("apiKey")) == [
        "cors",
        "apiKey",
        "localRateLimit",
        "ai",
    ]


def test_levels_come_from_the_outside_in():
    assert slots(placed("cors", "backend"), placed("ai", "gateway"), placed("cors", "route")) == ["ai", "cors", "cors"]
    assert slots(placed("b", "gateway", 1), placed("a", "gateway", 0)) == ["a", "b"]


def test_unknown_policies_come_last_in_the_order_of_the_file():
    assert slots(placed("zebra"), placed("ant"), placed("cors")) == ["cors", "zebra", "ant"]


def test_unknown_policies_may_say_where_they_stand():
    assert slots(placed("mine", after=("cors",)), placed("cors"), placed("ai")) == ["cors", "mine", "ai"]
    assert slots(placed("mine", before=("ai",)), placed("cors"), placed("ai")) == ["cors", "mine", "ai"]


def test_a_contradiction_is_refused_with_its_place():
    with pytest.raises(ConfigError, match="cannot stand both") as caught:
        slots(placed("mine", after=("ai",), before=("cors",)), placed("cors"), placed("ai"))
    assert caught.value.path == "mine"


class Tryfirst:
    @hookimpl(tryfirst=True)
    def authn(self, exchange: Exchange) -> None: ...


class Trylast:
    @hookimpl(trylast=True)
    def authn(self, exchange: Exchange) -> None: ...


class Wrapper:
    @hookimpl(wrapper=True)
    def authn(self, exchange: Exchange):
        return (yield)


class Unknown:
    @hookimpl
    def ninth_phase(self, exchange: Exchange) -> None: ...


class Greedy:
    @hookimpl
    def authn(self, exchange: Exchange, more: int) -> None: ...


class Empty:
    @hookimpl
    def authn(self) -> None: ...


class Generator:
    @hookimpl
    def authn(self, exchange: Exchange):
        yield


class Renamed:
    @hookimpl(specname="authn")
    def who_is_it(self, exchange: Exchange) -> None: ...


@pytest.mark.parametrize("part", [Tryfirst, Trylast, Wrapper, Unknown, Greedy, Empty, Generator, Renamed])
def test_hooks_of_another_form_are_refused_at_load(part):
    with pytest.raises(ConfigError):
        compile_chain([Placed(part(), "part", "route", "")])


class Late:
    @hookimpl
    async def log(self, exchange: Exchange) -> None: ...


def test_a_chain_knows_whether_it_needs_a_task():
    assert compile_chain([placed("a")]).inline
    assert not compile_chain([placed("a"), Placed(Late(), "late", "route", "")]).inline


def test_whoever_admits_a_request_does_so_in_the_order_of_phases_before_that_of_levels():
    seen: list[str] = []
    parts = [Placed(Everywhere(name, seen), name, level, "") for name, level in (("a", "backend"), ("b", "gateway"))]
    for step in compile_chain(parts).admission:
        step.call(None)
    assert seen == ["b accept", "a accept", "b authz", "a authz"]


def test_hooks_are_each_participants_own_whatever_others_of_its_class_have():
    first, second, third = Part(), Part(), Part()
    second.log = hookimpl(lambda exchange: None)  # type: ignore[attr-defined]
    chain = compile_chain([Placed(one, "part", "route", "") for one in (first, second, third)])
    assert [step.call.__self__ for step in chain.pre_request] == [first, second, third]  # type: ignore[attr-defined]
    assert [step.call for step in chain.log] == [second.log]  # type: ignore[attr-defined]


class Everywhere:
    """Notes in which phase it is asked, as its own `name`."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    @hookimpl
    def accept(self, exchange: Exchange) -> None:
        self.seen.append(f"{self.name} accept")

    @hookimpl
    def authz(self, exchange: Exchange) -> None:
        self.seen.append(f"{self.name} authz")

    @hookimpl
    def pre_request(self, exchange: Exchange) -> None:
        self.seen.append(f"{self.name} pre_request")


def test_participants_keep_their_attributes_and_may_change_them():
    seen: list[str] = []
    part = Everywhere("before", seen)
    chain = compile_chain([Placed(part, "a", "route", "a")])
    part.name = "after"
    chain.accept[0].call(None)
    assert seen == ["after accept"]


class Slotted:
    __slots__ = ()

    @hookimpl
    def authn(self, exchange: Exchange) -> None: ...


def test_participants_need_no_attributes_of_their_own():
    fixed = SimpleNamespace(accept=hookimpl(lambda exchange: None))
    chain = compile_chain([Placed(Slotted(), "a", "route", "a"), Placed(fixed, "b", "route", "b")])
    assert (len(chain.accept), len(chain.authn)) == (1, 1)


def test_a_chain_says_where_each_participant_came_from():
    chain = compile_chain([Placed(Part(), "cors", "route", "routes[0].policies.cors", line=12)])
    assert [tuple(origin) for origin in chain.origins] == [("pre_request", "cors", "routes[0].policies.cors", 12)]
