"""What the gateway relies on in every plugin."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import pydantic
import pytest
from pydantic import TypeAdapter

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
