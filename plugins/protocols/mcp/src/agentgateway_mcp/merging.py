"""One answer made of several servers' (the reference's section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from agentgateway_mcp.eras import SUPPORTED

Json = dict[str, Any]

NAME = "agentgateway"
VERSION = version("agentgateway-mcp")
LISTED = ("tools", "prompts", "resources")
KEPT_FOR = "ttlMs"
SHARED = "cacheScope"


def initialized(results: Mapping[str, Json]) -> Json:
    """The result of `initialize`: the lowest version, every capability, each server's instructions."""
    versions = [str(result.get("protocolVersion", "")) for result in results.values()]
    return {
        "protocolVersion": min(versions),
        "capabilities": capabilities(results),
        "serverInfo": {"name": NAME, "version": VERSION},
        **instructions(results),
    }


def discovered(results: Mapping[str, Json]) -> Json:
    """The result of `server/discover`: the versions that all of them speak."""
    spoken = [result.get("supportedVersions") for result in results.values()]
    common = [one for one in SUPPORTED if all(isinstance(each, list) and one in each for each in spoken)]
    return {
        "resultType": "complete",
        "supportedVersions": common,
        "capabilities": capabilities(results),
        **instructions(results),
        **hints(results.values()),
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": NAME, "version": VERSION}},
    }


def capabilities(results: Mapping[str, Json]) -> Json:
    """What any of the servers can do."""
    merged: Json = {}
    for result in results.values():
        offered = result.get("capabilities")
        for name, value in offered.items() if isinstance(offered, dict) else ():
            known = merged.setdefault(name, {})
            if isinstance(value, dict) and isinstance(known, dict):
                known.update({key: one for key, one in value.items() if one or key not in known})
    return merged


def instructions(results: Mapping[str, Json]) -> Json:
    told = [f"[{name}]\n{result['instructions']}" for name, result in results.items() if result.get("instructions")]
    return {"instructions": "\n\n".join(told)} if told else {}


def hints(results: Iterable[Json]) -> Json:
    """How long, and by whom, a merged result may be kept: as the most careful of its parts says."""
    parts = list(results)
    times = [part.get(KEPT_FOR) for part in parts]
    shared = all(part.get(SHARED) == "public" for part in parts)
    known = [one for one in times if isinstance(one, int)]
    return {KEPT_FOR: min(known) if len(known) == len(parts) else 0, SHARED: "public" if shared else "private"}


def listed(key: str, named: str, results: Mapping[str, Json]) -> list[Any]:
    """The things of all servers, in their order. Of two with one name the first is in the list: the same that a call
    goes to."""
    things: dict[Any, Any] = {}
    for result in results.values():
        part = result.get(key)
        for thing in part if isinstance(part, list) else ():
            things.setdefault(thing.get(named) if isinstance(thing, dict) else id(thing), thing)
    return list(things.values())
