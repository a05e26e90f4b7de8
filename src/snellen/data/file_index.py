"""Which files lie in a folder and what their headers say, remembered outside the folder.

One sqlite file per data folder, under `$SNELLEN_CACHE` (else the XDG cache folder). An entry holds while path, size
and time of change stay the same. What is known of many files together is kept once more under a digest of the paths,
sizes and times of all, so that a folder in which nothing has changed is one look. Where the cache cannot be written
everything works, only slower.

Outcomes: a folder is a folder whatever its name; a link to a folder is followed, one to a folder that is read already
(so every loop) is set aside, as are links to nothing, folders that may not be read, pipes and devices, and names that
are not UTF-8.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from snellen.data.source import Skipped

VERSION = 1
_LISTS = 4  # of each kind of fact, that are kept together: the newest


class File(NamedTuple):
    """A file found: its path relative to the root with "/", its size in bytes, its time of change."""

    path: str
    size: int
    mtime_ns: int


class Listing(NamedTuple):
    """All of a folder. `folders` are those walked, relative to the root; the root is ""."""

    files: list[File]
    aside: list[Skipped]
    folders: list[str]


def walk(root: Path) -> Listing:
    """Every file below `root`, sorted by path, hidden ones too. Links to folders come after all real folders."""
    listing = Listing([], [], [])
    waiting, links, seen = [""], list[str](), set[tuple[int, int]]()
    while waiting or links:
        linked = not waiting
        relative = links.pop(0) if linked else waiting.pop()
        try:
            state = (root / relative).stat()
            place = (state.st_dev, state.st_ino)
            if linked and place in seen:
                listing.aside.append(
                    Skipped(relative, "is a link to a folder that is read already", "Remove the link.")
                )
                continue
            seen.add(place)
            with os.scandir(root / relative) as found:
                entries = list(found)
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            listing.aside.append(
                Skipped(relative or ".", f"is a folder that cannot be read ({reason})", "Mend its permissions.")
            )
            continue
        listing.folders.append(relative)
        for entry in entries:
            path = f"{relative}/{entry.name}" if relative else entry.name
            if _is_folder(entry, path, listing):
                (links if entry.is_symlink() else waiting).append(path)
    listing.files.sort(key=itemgetter(0))  # no two have one path, and texts alone compare faster
    listing.folders.sort()
    return listing


def _is_folder(entry: os.DirEntry[str], path: str, listing: Listing) -> bool:
    """Whether the entry is to be walked; a file goes to the listing."""
    try:
        if not path.isascii():
            path.encode()
        if entry.is_dir():
            return True
        state = entry.stat()
    except UnicodeEncodeError:
        shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        listing.aside.append(Skipped(shown, "has a name that is not UTF-8", "Rename it."))
    except OSError:
        gone = "is a link to nothing" if entry.is_symlink() else "cannot be looked at"
        listing.aside.append(Skipped(path, gone, "Mend or remove it."))
    else:
        if stat.S_ISREG(state.st_mode):
            listing.files.append(File(path, state.st_size, state.st_mtime_ns))
        else:
            listing.aside.append(Skipped(path, "is no regular file", "Move it out of the data."))
    return False


def cache_folder() -> Path:
    """`$SNELLEN_CACHE`, else `snellen` in the XDG cache folder."""
    given = os.environ.get("SNELLEN_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "snellen"


class Index:
    """Facts about files that cost something to find out: header, digest, thumbnail. A cache: nothing is lost with it.

    Args:
        root: the folder of the data. `known(kind, files)` and `learn(kind, facts)` use paths relative to it.
    """

    def __init__(self, root: Path) -> None:
        name = hashlib.blake2b(os.fsencode(root.resolve()), digest_size=12).hexdigest()
        self.path = cache_folder() / "index" / f"{name}.sqlite"

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        connection = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=5)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS facts (kind TEXT, path TEXT, size INTEGER, mtime INTEGER,"
                " fact BLOB, PRIMARY KEY (kind, path)) WITHOUT ROWID"
            )
        except sqlite3.DatabaseError as error:
            if connection is not None:
                connection.close()
                connection = None
            if not isinstance(error, sqlite3.OperationalError):  # no database: a file of another kind, or damaged
                with contextlib.suppress(OSError):
                    self.path.unlink()
        except OSError:
            pass
        try:
            yield connection
        finally:
            if connection is not None:
                connection.close()

    def known(self, kind: str, files: Mapping[str, File]) -> dict[str, bytes]:
        """The facts that still hold, by path."""
        with self._open() as connection:
            if connection is None:
                return {}
            try:
                rows = connection.execute(
                    "SELECT path, size, mtime, fact FROM facts WHERE kind = ?", (f"{kind} {VERSION}",)
                ).fetchall()
            except sqlite3.DatabaseError:
                return {}
        held = {}
        for path, size, mtime, fact in rows:
            file = files.get(path)
            if file is not None and file.size == size and file.mtime_ns == mtime:
                held[path] = fact
        return held

    def learn(self, kind: str, files: Mapping[str, File], facts: Mapping[str, bytes]) -> None:
        """Remembers facts; where that is not possible, nothing happens."""
        if not facts:
            return
        rows = [
            (f"{kind} {VERSION}", path, files[path].size, files[path].mtime_ns, fact) for path, fact in facts.items()
        ]
        with self._open() as connection, contextlib.suppress(sqlite3.DatabaseError):
            if connection is not None:
                with connection:
                    connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", rows)

    def together(self, kind: str, key: str) -> bytes | None:
        """What was learned of many files together, by a digest of them."""
        with self._open() as connection, contextlib.suppress(sqlite3.DatabaseError):
            if connection is not None:
                found = connection.execute(
                    "SELECT fact FROM facts WHERE kind = ? AND path = ?", (f"all {kind} {VERSION}", key)
                ).fetchone()
                return None if found is None else bytes(found[0])
        return None

    def learn_together(self, kind: str, key: str, fact: bytes) -> None:
        """Remembers it, and forgets the oldest of many."""
        kind = f"all {kind} {VERSION}"
        with self._open() as connection, contextlib.suppress(sqlite3.DatabaseError):
            if connection is not None:
                with connection:
                    connection.execute(
                        "INSERT OR REPLACE INTO facts VALUES (?, ?, 0, ?, ?)", (kind, key, time.time_ns(), fact)
                    )
                    connection.execute(
                        "DELETE FROM facts WHERE kind = ? AND path NOT IN (SELECT path FROM facts WHERE "
                        "kind = ? ORDER BY mtime DESC LIMIT ?)",
                        (kind, kind, _LISTS),
                    )


def digest_of(files: Iterable[File]) -> str:
    """Changes whenever a file is added, removed, changed or moved to another place among them."""
    text = "\n".join([f"{path}\0{size}\0{mtime}" for path, size, mtime in files])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def to_bytes(fact: Any) -> bytes:
    return json.dumps(fact, separators=(",", ":")).encode()
