"""Who may import whom: three sentences of the architecture, proven on every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "core/src/agentgateway"
PLUGINS = sorted(ROOT.glob("plugins/*/*/src/*"))


def imports(file: Path, package: str) -> Iterator[str]:
    """Dotted names that a file imports, at the top or inside a function; relative ones made absolute."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: -node.level + 1 or None], base]).strip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_imports_no_underscore_name_of_the_core(folder):
    for file in files(folder):
        for name in imports(file, folder.name):
            assert not (inside(name, "agentgateway") and any(part.startswith("_") for part in name.split("."))), file


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_imports_another_one_only_when_its_project_says_so(folder):
    project = (folder.parents[1] / "pyproject.toml").read_text()
    for file in files(folder):
        for name in imports(file, folder.name):
            top = name.split(".")[0]
            if top.startswith("agentgateway_") and top != folder.name:
                assert top.replace("_", "-") in project, f"{file} imports {name}"


def test_the_core_imports_no_plugin():
    for file in files(CORE):
        for name in imports(file, "agentgateway"):
            assert not name.startswith("agentgateway_"), f"{file} imports {name}"


def test_nothing_public_imports_the_host():
    for file in files(CORE):
        if "_host" in file.relative_to(CORE).parts:
            continue
        for name in imports(file, "agentgateway"):
            assert not inside(name, "agentgateway._host"), f"{file} imports {name}"


def test_what_the_core_offers_uses_the_door_that_plugins_use():
    """`_host/builtin` imports nothing else of the host."""
    for file in files(CORE / "_host/builtin"):
        for name in imports(file, "agentgateway._host.builtin"):
            if inside(name, "agentgateway._host"):
                assert inside(name, "agentgateway._host.builtin"), f"{file} imports {name}"


def test_one_module_reads_the_environment_of_the_process():
    for file in files(CORE):
        if file.relative_to(CORE).as_posix() == "_host/load.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            assert text not in ("os.environ", "os.getenv"), file


def test_the_core_has_no_branch_on_the_name_of_a_plugin():
    """No comparison with a name that some entry point of a plugin has; dialects compare words of their wire formats."""
    names = plugin_names()
    for file in files(CORE):
        if "dialects" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                compared = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
                assert not names & {one for one in compared if isinstance(one, str)}, f"{file}:{node.lineno}"


def plugin_names() -> set[str]:
    import tomllib

    found: set[str] = set()
    for file in ROOT.glob("plugins/*/*/pyproject.toml"):
        for group in tomllib.loads(file.read_text())["project"].get("entry-points", {}).values():
            found.update(group)
    return found - {"key"}
