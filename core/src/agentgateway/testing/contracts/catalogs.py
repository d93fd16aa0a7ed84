"""The suite for price catalogues."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import ClassVar

from pydantic_core import from_json

from agentgateway.exchange import Usage
from agentgateway.interfaces import (
    Catalog,
)
from agentgateway.llm.price_format import CatalogConfig, layer_of
from agentgateway.llm.prices import PriceCatalogue, Status
from agentgateway.testing.contracts.plugin import HEAVY


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
