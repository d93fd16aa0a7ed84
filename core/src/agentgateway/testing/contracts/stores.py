"""The suite for stores."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from agentgateway.errors import ConfigError
from agentgateway.interfaces import Store
from agentgateway.testing.contracts.plugin import HEAVY

ODD = ("", "a", "a:b", "a%", "a_", "ab", "b\x00c", "é", "\ud800", "\U0010ffff", "x" * 2000)


class StoreContract:
    """`name` is a store's entry point, the scheme of its URLs; `url` the URL of an empty store. `shared` says that two
    stores with one URL have the same contents, `lasting` that they are there again after the last one was stopped."""

    __test__ = False
    name: ClassVar[str]
    shared: ClassVar[bool] = True
    lasting: ClassVar[bool] = True
    wrong: ClassVar[str] = ""
    """A URL of that scheme that makes no sense, if there is one."""

    def __init_subclass__(cls) -> None:
        cls.__test__ = hasattr(cls, "name")

    def url(self, folder: Path) -> str:
        raise NotImplementedError

    @property
    def point(self) -> EntryPoint:
        (point,) = entry_points(group="agentgateway.stores", name=self.name)
        return point

    def build(self, folder: Path) -> Any:
        return self.point.load()(self.url(folder), folder)

    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = self.build(tmp_path)
        await store.start()
        yield store
        await store.stop()

    @pytest_asyncio.fixture
    async def stores(self, store: Store, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
        """Two of one URL; the same one twice where nothing is shared."""
        other = self.build(tmp_path) if self.shared else store
        await other.start()
        yield store, other
        await other.stop()

    def test_the_entry_point_leads_to_the_interface(self) -> None:
        assert issubclass(self.point.load(), Store)

    def test_the_class_says_what_it_is_in_its_docstring(self) -> None:
        assert inspect.getdoc(self.point.load())

    def test_importing_it_loads_nothing_heavy(self) -> None:
        program = f"import sys, {self.point.module}; print([m for m in {HEAVY!r} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_construction_opens_nothing(self, tmp_path: Path) -> None:
        self.build(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_url_that_makes_no_sense_is_a_mistake_of_the_configuration(self, tmp_path: Path) -> None:
        if self.wrong:
            with pytest.raises(ConfigError):
                self.point.load()(self.wrong, tmp_path)

    async def test_it_stops_even_when_it_never_started(self, tmp_path: Path) -> None:
        await self.build(tmp_path).stop()

    async def test_what_was_put_is_there_for_everybody(self, stores: tuple[Store, Store]) -> None:
        one, other = stores
        assert await one.get("k") is None
        await one.put("k", b"v")
        assert await other.get("k") == b"v"
        await other.put("k", b"w")
        assert await one.get("k") == b"w"
        await one.delete("k")
        await one.delete("k")
        assert await other.get("k") is None

    async def test_values_are_any_bytes(self, store: Store) -> None:
        for value in (b"", b"\x00", bytes(range(256)) * 4096):
            await store.put("k", value)
            assert await store.get("k") == value

    async def test_keys_are_any_text_and_found_by_how_they_begin(self, store: Store) -> None:
        for key in ODD:
            await store.put(key, key.encode("utf-8", "surrogatepass"))
        for key in ODD:
            assert await store.get(key) == key.encode("utf-8", "surrogatepass")
        assert await store.keys("a") == ["a", "a%", "a:b", "a_", "ab"]
        assert await store.keys("a%") == ["a%"]
        assert await store.keys("nothing") == []
        assert sorted(await store.keys("")) == sorted(ODD)

    async def test_a_swap_happens_only_where_the_value_is_the_expected_one(self, stores: tuple[Store, Store]) -> None:
        one, other = stores
        assert not await one.swap("k", b"x", b"y")
        assert await one.swap("k", None, b"1")
        assert not await other.swap("k", None, b"2")
        assert not await other.swap("k", b"", b"2")
        assert await other.swap("k", b"1", b"2")
        assert await one.get("k") == b"2"
        assert not await one.swap("k", b"1", None)
        assert await one.swap("k", b"2", None)
        assert await other.get("k") is None
        assert await one.swap("k", None, None)

    async def test_of_swaps_at_the_same_time_one_wins(self, stores: tuple[Store, Store]) -> None:
        async def add(store: Store) -> None:
            while True:
                old = await store.get("n")
                if await store.swap("n", old, str(int(old or b"0") + 1).encode()):
                    return

        await asyncio.gather(*(add(stores[number % 2]) for number in range(40)))
        assert await stores[0].get("n") == b"40"

    async def test_what_has_expired_is_not_there(self, store: Store) -> None:
        await store.put("k", b"v", ttl=0.05)
        assert await store.swap("s", None, b"v", ttl=0.05)
        await store.put("stays", b"v", ttl=3600)
        for _ in range(1000):
            if await store.get("k") is None and await store.get("s") is None:
                break
            await asyncio.sleep(0.01)
        assert await store.keys("") == ["stays"]
        assert await store.swap("k", None, b"w")
        assert not await store.swap("k", b"v", b"x")

    async def test_a_value_without_a_time_does_not_inherit_one(self, store: Store) -> None:
        await store.put("k", b"v", ttl=0.05)
        await store.put("k", b"w")
        await asyncio.sleep(0.06)
        assert await store.get("k") == b"w"

    async def test_what_is_meant_to_last_outlasts_it(self, store: Store, tmp_path: Path) -> None:
        await store.put("k", b"v")
        await store.stop()
        again = self.build(tmp_path)
        await again.start()
        assert await again.get("k") == (b"v" if self.lasting else None)
        await again.stop()
