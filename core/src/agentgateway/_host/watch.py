"""Notices that configuration files changed.

Folders are watched, not files: an editor replaces a file by renaming, and Kubernetes swaps the symlink `..data` beside
the one the file's own symlink goes through; watching the file sees neither. Every folder on the way that holds a
symlink is watched too, so that a swap higher up is seen. What decides is the SHA-256 of the content.
"""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

QUIET_MS = 100
"""Changes closer together than this are one."""
LONGEST_MS = 1000
"""A folder that never gets quiet is looked at this often."""
SETTLED_SECONDS = 2.0
"""A younger file may change again without its time stamp telling: FAT counts in steps of two seconds."""


@dataclass(frozen=True)
class Content:
    """What is known of a file that could be read."""

    digest: bytes
    stamp: tuple[int, ...] | None
    """Device, inode, size and times, if they would tell a change; saves reading the file again."""


class FileWatch:
    """Watches files that may come, go and be replaced.

    Made before the files are read, it misses nothing. A file that goes is a change, told once, and so is its return.
    `poll` is the seconds after which files are compared without any event: network file systems send none, and the
    system may have no watches left.
    """

    def __init__(self, paths: Collection[Path], poll: float = 5.0) -> None:
        self._known: dict[Path, Content | None] = {}
        self._interrupt = asyncio.Event()
        self._closed = False
        self._poll = poll
        self._warned = False
        self.update(paths)

    def update(self, paths: Collection[Path]) -> None:
        """Watch these from now on. One watched already keeps its known content, a new one starts with its present."""
        wanted = {Path(os.path.abspath(path)) for path in paths}
        self._known = {path: self._known.get(path) or _content(path) for path in wanted}
        self._interrupt.set()

    async def changes(self) -> AsyncIterator[set[Path]]:
        """Sets of files whose content is new, or that are gone; for one consumer. Ends after `close`."""
        while not self._closed:
            self._interrupt = asyncio.Event()
            try:
                async with aclosing(self._until_moved()) as events:
                    async for changed in events:
                        yield changed
            except (OSError, RuntimeError) as error:  # no inotify left, or a folder went while being added
                self._warn(error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._interrupt.wait(), self._poll)
            if changed := self._changed():
                yield changed

    async def close(self) -> None:
        """End `changes`, within a moment."""
        self._closed = True
        self._interrupt.set()

    async def _until_moved(self) -> AsyncGenerator[set[Path], None]:
        """Changes, until the set of folders to watch is another one or `update` was called."""
        from watchfiles import awatch

        trails = self._trails()
        names = {part for step in trails for part in step.parts}
        folders = _folders(trails)
        events = awatch(
            *folders,
            watch_filter=lambda _, path: Path(path).name in names,
            step=QUIET_MS,
            debounce=LONGEST_MS,
            rust_timeout=round(self._poll * 1000),
            yield_on_timeout=True,
            stop_event=self._interrupt,
            recursive=False,
            ignore_permission_denied=True,
        )
        # Runs when awatch waits for the first time, so what changed before the folders were watched is not missed.
        asyncio.get_running_loop().call_soon(self._recheck, folders)
        async with aclosing(events):
            async for _ in events:
                if changed := self._changed():
                    yield changed
                if _folders(self._trails()) != folders:
                    return

    def _recheck(self, folders: dict[Path, object]) -> None:
        if self._news() or _folders(self._trails()) != folders:
            self._interrupt.set()

    def _changed(self) -> set[Path]:
        news = self._news()
        self._known |= news
        return set(news)

    def _news(self) -> dict[Path, Content | None]:
        news: dict[Path, Content | None] = {}
        for path, known in self._known.items():
            content = _content(path, known)
            if content and known and content.digest == known.digest:
                self._known[path] = content  # a fresher stamp
            elif content or known:
                news[path] = content
        return news

    def _trails(self) -> list[Path]:
        return [step for path in self._known for step in _trail(path)]

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            log.warning("cannot watch the configuration's folders, comparing files every %g s: %s", self._poll, error)
        self._warned = True


def _content(path: Path, known: Content | None = None) -> Content | None:
    """None if the file cannot be read."""
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if known and stamp == known.stamp:
                return known
            settled = abs(time.time() - status.st_mtime) > SETTLED_SECONDS
            return Content(hashlib.file_digest(stream, "sha256").digest(), stamp if settled else None)
    except OSError:
        return None


def _trail(path: Path) -> list[Path]:
    """The path, and each path that the symlinks on the way lead to."""
    trail = [path]
    for step in trail:
        for part in reversed([step, *step.parents]):
            if part.is_symlink() and len(trail) < 40:  # the kernel's own limit
                target = part.parent / part.readlink() / step.relative_to(part)
                trail.append(Path(os.path.abspath(target)))
                break
    return trail


def _folders(trail: Collection[Path]) -> dict[Path, object]:
    """What to watch: the folder of each step, or what exists above it, and the folder of each symlink on the way.

    The values tell a folder from another one that took its name.
    """
    folders = {next(folder for folder in step.parents if folder.is_dir()) for step in trail}
    folders.update(part.parent for step in trail for part in step.parents if part.is_symlink())
    return {folder: _identity(folder) for folder in folders}


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
