"""One JSON Schema (draft 2020-12) of everything installed: the fixed part with each plugin's own model in its place."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from agentgateway._host import registry
from agentgateway._host.config import Root

Json = dict[str, Any]

IDENTIFIER = "https://json-schema.org/draft/2020-12/schema"


def schema() -> Json:
    """Raises `ConfigError` for a plugin that cannot be loaded."""
    made = Definitions()
    made.of(Root, "Root")
    body = made.definitions.pop("Root")
    for name in sorted(registry.names("agentgateway.sections")):
        body["properties"][name] = made.plugin("agentgateway.sections", name)
    body["additionalProperties"] = False
    made.plug("policies", "agentgateway.policies")
    made.plug_backends(("RouteBackendConfig", "NamedBackend"))
    made.plug_kinds(made.definitions)
    return {"$schema": IDENTIFIER, "title": "agentgateway configuration", **body, "$defs": made.definitions}


class Definitions:
    """Definitions of all models, each under a name of its own."""

    def __init__(self) -> None:
        self.definitions: Json = {}

    def of(self, model: Any, prefix: str) -> Json:
        """A reference to the model's definition; what it refers to goes along, prefixed where names clash."""
        made = TypeAdapter(model).json_schema(ref_template="#/$defs/{model}", by_alias=True)
        inner = made.pop("$defs", {})
        renames = {
            name: f"{prefix}.{name}"
            for name in inner
            if name in self.definitions and self.definitions[name] != inner[name]
        }
        for name, definition in inner.items():
            self.definitions[renames.get(name, name)] = _renamed(definition, renames)
        self.definitions[prefix] = _renamed(made, renames)
        return {"$ref": f"#/$defs/{prefix}"}

    def plugin(self, group: str, name: str) -> Json:
        plugin = registry.load(group, name)
        return self.of(plugin.Config, f"{registry.GROUPS[group]}.{name}")

    def plug(self, field: str, group: str) -> None:
        """Every property of that name that takes anything: the keys that a group offers, and no others."""
        offered = {name: self.plugin(group, name) for name in sorted(registry.names(group))}
        self.definitions[field] = {"type": "object", "properties": offered, "additionalProperties": False}
        for definition in list(self.definitions.values()):
            for name, entry in definition.get("properties", {}).items():
                if name in (field, "policy") and entry.get("additionalProperties") is True:
                    aliases = {
                        alias: offered[kind] for alias, kind in entry.get("x-aliases", {}).items() if kind in offered
                    }
                    shape = {"properties": {**offered, **aliases}, "additionalProperties": False} if aliases else None
                    text = entry.get("description", "")
                    definition["properties"][name] = {**(shape or {"$ref": f"#/$defs/{field}"}), "description": text}

    def plug_kinds(self, value: Any) -> None:
        """Mappings whose model says `x-kinds`: their free keys are the names that a group offers."""
        if isinstance(value, list):
            for one in value:
                self.plug_kinds(one)
        elif isinstance(value, dict):
            group = value.pop("x-kinds", None)
            if group is not None:
                offered = {name: self.plugin(group, name) for name in sorted(registry.names(group))}
                nothing = {name: {"anyOf": [one, {"type": "null"}]} for name, one in offered.items()}
                value["properties"] = {**value.get("properties", {}), **nothing}
                value["additionalProperties"] = False
            for one in list(value.values()):
                self.plug_kinds(one)

    def plug_backends(self, models: tuple[str, ...]) -> None:
        """Entries of `backends` take exactly one kind besides their own keys."""
        group = "agentgateway.backends"
        offered = {name: self.plugin(group, name) for name in sorted(registry.names(group))}
        offered["backend"] = {"type": "string", "description": "The name of an entry of `backends`."}
        for model in models:
            definition = self.definitions[model]
            definition["properties"].update(offered)
            definition["additionalProperties"] = False
            definition["oneOf"] = [{"required": [name]} for name in offered]


def _renamed(value: Any, renames: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: _reference(one, renames) if key == "$ref" else _renamed(one, renames) for key, one in value.items()
        }
    return [_renamed(one, renames) for one in value] if isinstance(value, list) else value


def _reference(target: str, renames: dict[str, str]) -> str:
    name = target.rpartition("/")[2]
    return f"#/$defs/{renames.get(name, name)}"
