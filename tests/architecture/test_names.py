"""One name across folder, distribution, module and entry point; every plugin folder has the same face."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))
WITHOUT_KIND = {"providers", "protocols", "observability"}
SINGULAR = {"guardrails": "guardrail", "stores": "store", "sources": "source"}

plugins = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


@plugins
def test_folder_distribution_and_module_have_one_name(folder):
    kind, name = folder.parent.name, folder.name
    words = ["agentgateway"] if kind in WITHOUT_KIND else ["agentgateway", SINGULAR.get(kind, kind)]
    distribution = "-".join([*words, name.replace("_", "-")])
    assert project(folder)["name"] == distribution
    assert [path.name for path in (folder / "src").iterdir()] == [distribution.replace("-", "_")]


@plugins
def test_entry_points_lead_into_the_module_of_the_distribution(folder):
    described = project(folder)
    for group, points in described["entry-points"].items():
        assert group.startswith("agentgateway.")
        for value in points.values():
            assert value.split(".")[0] == described["name"].replace("-", "_")


@plugins
def test_every_plugin_folder_has_the_same_face(folder):
    (module,) = (folder / "src").iterdir()
    for path in ("README.md", "tests", f"src/{module.name}/py.typed", f"src/{module.name}/plugin.py"):
        assert (folder / path).exists(), path
    assert (module / "__init__.py").read_text().startswith('"""')
    assert "import" not in re.sub(r'"""[\s\S]*?"""', "", (module / "__init__.py").read_text())


@plugins
def test_a_readme_says_what_happens_on_a_stream_and_how_it_fails(folder):
    text = (folder / "README.md").read_text().lower()
    assert "stream" in text
    assert "fail" in text
    assert "```yaml" in text


@plugins
def test_a_plugin_is_in_the_tables_of_the_documentation(folder):
    name = project(folder)["name"]
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `agentgateway")]
    assert any(row.startswith(f"| `{name}` |") for row in rows), f"README.md: {name}"
    place = f"../plugins/{folder.parent.name}/{folder.name}/README.md"
    assert place in (ROOT / "docs/configuration.md").read_text(), f"docs/configuration.md: {place}"


@plugins
def test_a_plugin_needs_the_core_and_pins_its_line(folder):
    assert any(re.match(r"agentgateway>=\d", one) and "<" in one for one in project(folder)["dependencies"])


def test_the_catalogue_of_hints_is_true():
    done = subprocess.run([sys.executable, ROOT / ".ci/catalogue", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
