"""What servers call things, and what clients call them when there are several servers (the reference's section 4.1).

Tools and prompts are `TARGET_name`; resources `TARGET+uri`, and `ui://TARGET+rest`; tasks `TARGET+id`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from agentgateway_mcp.edits import Seen

UI = "ui://"
TAKEN = "%s `%s` of %s is not there for clients: its name is given to `%ss.edit.%s` of %s"

logger = logging.getLogger("agentgateway.mcp")


class Names:
    """The naming of one backend, with how the file would have each target seen. With `prefixed` unset every name that
    the file does not change is as its server has it."""

    def __init__(self, seen: Mapping[str, Seen], *, prefixed: bool) -> None:
        self.seen = seen
        self.targets = tuple(seen)
        self.prefixed = prefixed
        self._given: dict[tuple[str, str], tuple[str, str]] = {
            (kind, name): (target, own)
            for target, one in seen.items()
            for kind, names in one.renamed.items()
            for own, name in names.items()
        }
        self._told: set[tuple[str, str, str]] = set()
        self.changes = any(one.changes for one in seen.values())

    def outward(self, target: str, name: str, kind: str = "tool") -> str:
        """What clients call a tool or prompt."""
        given = self.seen[target].renamed[kind].get(name)
        return given or (f"{target}_{name}" if self.prefixed else name)

    def is_taken(self, target: str, own: str, kind: str, name: str) -> bool:
        """Whether the file has given a thing's name to another one, which is then what clients see and call by it."""
        given = self._given.get((kind, name))
        if given is None or given == (target, own):
            return False
        if (kind, target, own) not in self._told:
            self._told.add((kind, target, own))
            logger.warning(TAKEN, kind, own, target, kind, given[1], given[0])
        return True

    def is_as_named(self, target: str, name: str, kind: str) -> bool:
        """Whether a tool or prompt of a target, if there is one, has that name for clients without prefixes."""
        return self.seen[target].has(kind, name) and name not in self.seen[target].renamed[kind]

    def inward(self, name: str, kind: str = "tool") -> tuple[str | None, str]:
        """The target of a tool or prompt, None if the name does not tell, and what that server calls it."""
        if (kind, name) in self._given:
            return self._given[(kind, name)]
        if not self.prefixed:
            target: str | None = self.targets[0] if len(self.targets) == 1 else None
            return (None, "") if target is not None and name in self.seen[target].renamed[kind] else (target, name)
        target, mark, rest = name.partition("_")
        if not mark or target not in self.targets or rest in self.seen[target].renamed[kind]:
            return None, name
        return target, rest

    def outward_uri(self, target: str, uri: str) -> str:
        if not self.marks_uris or ":" not in uri or self.seen[target].keeps(uri):
            return uri
        if uri.startswith(UI):
            return f"{UI}{target}+{uri.removeprefix(UI)}"
        return f"{target}+{uri}"

    def inward_uri(self, uri: str) -> tuple[str | None, str]:
        if not self.marks_uris:
            return self.targets[0], uri
        scheme = UI if uri.startswith(UI) else ""
        target, mark, rest = uri.removeprefix(scheme).partition("+")
        if mark and target in self.targets:
            return target, scheme + rest
        return next((target for target, seen in self.seen.items() if seen.keeps(uri)), None), uri

    def outward_task(self, target: str, task: str) -> str:
        return f"{target}+{task}" if self.marks_uris else task

    def inward_task(self, task: str) -> tuple[str | None, str]:
        target, mark, rest = task.partition("+")
        if not self.marks_uris:
            return self.targets[0], task
        return (target, rest) if mark and target in self.targets else (None, task)

    @property
    def marks_uris(self) -> bool:
        """Whether resources and tasks carry their target: a server is not to be guessed from them."""
        return self.prefixed or len(self.targets) > 1

    def outward_id(self, target: str, wanted: str | int) -> str | int:
        """What a client answers to when a server asks it something: ids of several servers may be alike."""
        if len(self.targets) == 1:
            return wanted
        return f"agw_{target}_{'s' if isinstance(wanted, str) else 'n'}_{wanted}"

    def inward_id(self, given: Any) -> tuple[str | None, Any]:
        if len(self.targets) == 1:
            return self.targets[0], given
        parts = given.split("_", 3) if isinstance(given, str) else []
        if len(parts) != 4 or parts[0] != "agw" or parts[1] not in self.targets or parts[2] not in ("s", "n"):
            return None, given
        if parts[2] == "s":
            return parts[1], parts[3]
        return (parts[1], int(parts[3])) if parts[3].lstrip("-").isdigit() else (None, given)
