"""Token buckets that the worker processes of one machine share, exact to the token.

A file, mapped by every worker: groups of slots, a key's digest says which group. A worker locks the group, changes one
slot, unlocks. The locks are POSIX record locks, which belong to a process and so end with it, also by SIGKILL; what a
dying worker leaves half-written is read as a fresh bucket. Times are CLOCK_MONOTONIC, one clock for all of the machine.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable
from fcntl import LOCK_EX, LOCK_UN, lockf
from hashlib import blake2b
from math import ceil
from pathlib import Path

from agentgateway.buckets import filled
from agentgateway.interfaces import Bucket, Buckets, Taken

GROUPS = 2048
SLOTS = 32
"""Slots in a group; more than this many keys of one group, and the one that is full again, or was not used for the
longest time, gives way."""

_SLOT = struct.Struct("<16sdddd")  # digest, level, time of the last fill, time of the last use, time when full again
_GROUP = SLOTS * _SLOT.size
_HEAD = 4096
_MARK = struct.pack("<16sIIII", b"agentgateway-buc", 1, GROUPS, SLOTS, _SLOT.size)
_SIZE = _HEAD + GROUPS * _GROUP
_SANE = 1e15
_REMEMBERED = 4096
"""Keys of which a process knows by heart where their slots are."""


class SharedBuckets(Buckets):
    """Buckets in a file of `folder`, which is made if it is not there; `name` tells one file from another."""

    def __init__(self, folder: Path, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder / f"{blake2b(name.encode(), digest_size=16).hexdigest()}.buckets"
        self._clock = clock
        self._places: dict[str, tuple[bytes, int, int]] = {}  # by key: its digest, its group, where its slot was
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _prepare(self._file)
            self._map = mmap.mmap(self._file, _SIZE)
        except BaseException:
            os.close(self._file)
            raise

    def take(self, key: str, rule: Bucket, amount: int = 1, *, force: bool = False) -> Taken:
        digest, group, at = self._places.get(key) or self._place(key)
        lockf(self._file, LOCK_EX, _GROUP, group)
        try:
            now = self._clock()
            found, level, since, _, _ = _SLOT.unpack_from(self._map, at)
            if found != digest:
                at = self._find(key, rule, now)
                _, level, since, _, _ = _SLOT.unpack_from(self._map, at)
            if not (-_SANE < level <= rule.capacity and 0 <= since <= now):
                level, since = rule.capacity, now
            elif now - since >= rule.interval:
                level, since = filled(level, since, now, rule)
            allowed = level >= amount if amount else level > 0
            if allowed or force:
                level -= amount
            full = since + ceil((rule.capacity - level) / rule.fill) * rule.interval
            _SLOT.pack_into(self._map, at, digest, level, since, now, full)
        finally:
            lockf(self._file, LOCK_UN, _GROUP, group)
        return Taken(allowed, int(level) if level > 0 else 0, since + rule.interval - now)

    def _place(self, key: str) -> tuple[bytes, int, int]:
        """A key's digest, its group, and where to look for its slot first; remembered."""
        if len(self._places) >= _REMEMBERED:
            self._places.clear()
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        group = _HEAD + int.from_bytes(digest[:4], "little") % GROUPS * _GROUP
        place = self._places[key] = (digest, group, group)
        return place

    def _find(self, key: str, rule: Bucket, now: float) -> int:
        """Where the key's slot is now; one that was nowhere is made, full. Needs the lock of the group."""
        digest, group, _ = self._places[key]
        at = self._map.find(digest, group, group + _GROUP)
        while at >= 0 and (at - group) % _SLOT.size:
            at = self._map.find(digest, at + 1, group + _GROUP)
        if at < 0:
            at = self._give_way(group, now)
            _SLOT.pack_into(self._map, at, digest, rule.capacity, now, now, now)
        self._places[key] = (digest, group, at)
        return at

    def _give_way(self, group: int, now: float) -> int:
        """The slot for a new key: an unused one, one that is full again, or the least recently used."""
        slots = enumerate(_SLOT.iter_unpack(self._map[group : group + _GROUP]))
        index, _ = min(slots, key=lambda slot: (slot[1][4] > now, slot[1][3]))
        return group + index * _SLOT.size

    def close(self) -> None:
        self._map.close()
        os.close(self._file)


def _prepare(file: int) -> None:
    """Make the file what it should be, if it is not: new, or somebody else's, or of another version."""
    lockf(file, LOCK_EX, _HEAD, 0)
    try:
        if os.fstat(file).st_size != _SIZE or os.pread(file, len(_MARK), 0) != _MARK:
            os.ftruncate(file, 0)
            os.ftruncate(file, _SIZE)
            os.pwrite(file, _MARK, 0)
    finally:
        lockf(file, LOCK_UN, _HEAD, 0)
