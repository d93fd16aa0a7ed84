"""The plugins of one configuration, each built at its place, or taken over from the configuration before."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentgateway._host import registry
from agentgateway._host.host import Lends, PluginHost
from agentgateway._host.load import Document, dotted, validate
from agentgateway.interfaces import Level

KeyPath = tuple[str | int, ...]
PartKey = tuple[str, str, str]
"""The plugin's kind; its place in the file, its name and the level it stands on; its configuration's fingerprint."""


class Parts:
    """What is `built`, and the `files` that each part was made from."""

    def __init__(self, document: Document, lends: Lends, body_limit: int) -> None:
        self.built: dict[PartKey, Any] = {}
        self.files: dict[PartKey, set[Path]] = {}
        self._document = document
        self._lends = lends
        self._limit = body_limit
        self._previous: Mapping[PartKey, Any] = {}
        self._previous_files: Mapping[PartKey, set[Path]] = {}

    def inherit(self, built: Mapping[PartKey, Any], files: Mapping[PartKey, set[Path]]) -> None:
        """Take over from the configuration before what did not change."""
        self._previous, self._previous_files = built, files

    def at(self, group: str, name: str, raw: Any, path: KeyPath, level: Level) -> Any:
        """The plugin at that place. Raises `ConfigError`; the files that were asked for are watched even then."""
        key = (group, f"{dotted(path)}:{name} on {level}", fingerprint(raw, self._document.folder))
        if key not in self.built:
            own = replace(self._document, files={self._document.folder / name for name in files_in(raw)})
            own.files.update(self._previous_files.get(key, ()))
            try:
                kept = self._previous.get(key)
                self.built[key] = kept if kept is not None else self._build(group, name, raw, path, level, own)
            finally:
                self._document.files.update(own.files)
            self.files[key] = own.files
        return self.built[key]

    def _build(self, group: str, name: str, raw: Any, path: KeyPath, level: Level, document: Document) -> Any:
        plugin = registry.load(group, name)
        config = validate(plugin.Config, raw, document, path)
        return plugin(config, PluginHost(self._lends, document, path, level, self._limit))


def fingerprint(raw: Any, folder: Path) -> str:
    """A digest of a configuration value, with the contents of the files it names."""
    digest = hashlib.sha256(json.dumps(raw, sort_keys=True, default=str).encode())
    for name in files_in(raw):
        path = folder / name
        if path.is_file():  # not a pipe or device, which might never end
            with contextlib.suppress(OSError):
                digest.update(path.read_bytes())
    return digest.hexdigest()


def files_in(raw: Any) -> Iterator[str]:
    if isinstance(raw, dict):
        names = ("file",) if set(raw) == {"file"} else ("cert", "key", "root") if "cert" in raw or "root" in raw else ()
        for key, value in raw.items():
            if key in names and isinstance(value, str):
                yield value
            else:
                yield from files_in(value)
    elif isinstance(raw, list):
        for value in raw:
            yield from files_in(value)
