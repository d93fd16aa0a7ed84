"""What the documentation must not forget."""

import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from click import Context
from click.testing import CliRunner

from agentgateway._host import config
from agentgateway._host.cli import main
from agentgateway._host.load import parse
from agentgateway._host.registry import GROUPS
from agentgateway._host.runtime import Runtime
from agentgateway._host.schema import schema
from agentgateway.hookspecs import PHASES
from agentgateway.settings import PluginConfig

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("agentgateway"))


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """The schema; making it takes two seconds."""
    return schema()


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_every_phase_is_on_the_plugin_page():
    for phase in PHASES:
        assert f"`{phase}`" in page("plugins.md"), phase


def test_every_group_of_entry_points_is_on_the_plugin_page():
    for group in GROUPS:
        assert f"`{group}`" in page("plugins.md"), group


def test_every_key_of_the_fixed_part_is_on_the_configuration_page():
    text = page("configuration.md")
    for model in vars(config).values():
        if isinstance(model, type) and issubclass(model, PluginConfig) and model is not PluginConfig:
            for name, field in model.model_fields.items():
                assert f"`{field.alias or name}`" in text, f"{model.__name__}.{field.alias or name}"


def test_every_installed_name_is_on_the_configuration_page():
    text = page("configuration.md")
    for group in GROUPS:
        for point in entry_points(group=group):
            if point.dist is not None and point.dist.name.startswith("agentgateway"):
                assert f"`{point.name}`" in text, f"{group} {point.name}"


@pytest.mark.parametrize("part", ["providers", "guards", "policies", "credentials", "backends"])
def test_nothing_that_is_installed_is_said_to_be_missing(part):
    missing = re.search(rf"^\| {part} \|(.*)\|$", page("differences.md").partition("## Configuration")[0], re.M)
    assert missing is not None
    offered = {point.name for point in entry_points(group=f"agentgateway.{part}")}
    assert offered.isdisjoint(re.findall(r"`([^`]*)`", missing[1].partition("Compatible servers")[0]))


def commands() -> list[str]:
    """The core's own, and those of plugins."""
    return main.list_commands(Context(main))


def test_every_command_is_on_the_operations_page():
    for name in commands():
        assert f"agentgateway {name}" in page("operations.md"), name


def test_every_metric_that_may_be_left_out_is_on_the_operations_page():
    settings, document = config.StaticConfig(), parse("llm: {models: [{name: m, provider: simulator}]}")
    for name in Runtime("-", document, {}, settings).metrics.names():
        assert re.search(rf"`agentgateway_{name}(_total)?`", page("operations.md")), name


def test_every_page_that_is_linked_exists():
    for file in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


@pytest.mark.parametrize("file", sorted((ROOT / "conf").glob("*.yaml")), ids=lambda file: file.name)
def test_every_example_configuration_loads_and_explains(file):
    env = {"OPENAI_API_KEY": "sk-x", "ANTHROPIC_API_KEY": "sk-y"}
    assert CliRunner(env=env).invoke(main, ["validate", str(file)]).exit_code == 0
    explained = CliRunner(env=env).invoke(main, ["explain", str(file)])
    assert explained.exit_code == 0
    assert f"{file}:" in explained.output


@pytest.mark.parametrize("file", sorted((ROOT / "conf").glob("*.yaml")), ids=lambda file: file.name)
def test_every_example_configuration_fits_the_schema(file, made):
    import jsonschema
    from ruamel.yaml import YAML

    jsonschema.Draft202012Validator(made).validate(YAML(typ="safe").load(file.read_text()))


def test_the_schema_is_a_valid_schema_without_dangling_references(made):
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(made)
    text = json.dumps(made)
    for part in text.split('"$ref": "#/$defs/')[1:]:
        assert part.partition('"')[0] in made["$defs"], part[:60]


def test_the_command_line_answers_help_for_every_command():
    for name in commands():
        done = subprocess.run([COMMAND, name, "--help"], capture_output=True, text=True, check=True)
        assert "Usage:" in done.stdout
