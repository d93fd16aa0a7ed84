"""The suite for sections."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest
from pydantic import TypeAdapter

from agentgateway.interfaces import (
    Lowered,
    Section,
)
from agentgateway.testing.contracts.plugin import PluginContract
from agentgateway.testing.hosts import LoopbackHost


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
