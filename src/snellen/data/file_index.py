"""File listing of a folder, and an index of facts about its files, cached outside the folder.

One sqlite file per data folder, under `$SNELLEN_CACHE` (else the XDG cache folder). An entry is valid while path, size
and both times are unchanged. Facts about all files are also stored jointly, under a digest of all paths, sizes
and times, so that an unchanged folder needs one lookup. If the cache cannot be written, everything works, only slower.

Links never lead out of the folder: whoever made the data would choose which files of the user are read. Skipped are:
links to a place outside, links to a folder inside (it is read anyway, so every loop ends), dangling links, folders
without read permission, pipes and devices, and names that are not UTF-8. A folder's name has no meaning.
"""

from __future__ import annotations

import contextlib
import errno
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

VERSION = 2  # of the facts; others are not used
_OUTSIDE = "Copy its target into the folder, or move the target there."
_MAX_JOINT = 4  # joint facts stored of each kind: the newest


class File(NamedTuple):
    """A file: path relative to the root with "/", size in bytes, times of the last change of content and of state.

    Programs can set the modification time (`cp -a`, archives), but not the change time.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int = 0


class Listing(NamedTuple):
    """Content of a folder. `folders` are those walked, relative to the root; the root is ""."""

    files: list[File]
    skipped: list[Skipped]
    folders: list[str]


def walk(root: Path) -> Listing:
    """List all files below `root`, sorted by path, hidden ones included; `root` itself may be a link."""
    listing = Listing([], [], [])
    top, pending = os.path.realpath(root), [""]
    while pending:
        relative = pending.pop()
        try:
            with os.scandir(root / relative) as iterator:
                entries = list(iterator)
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            listing.skipped.append(
                Skipped(relative or ".", f"is a folder that cannot be read ({reason})", "Fix its permissions.")
            )
            continue
        listing.folders.append(relative)
        for entry in entries:
            path = f"{relative}/{entry.name}" if relative else entry.name
            if _is_folder(entry, path, listing, top):
                pending.append(path)
    listing.files.sort(key=itemgetter(0))  # paths are unique, and strings alone compare faster
    listing.folders.sort()
    return listing


def _is_folder(entry: os.DirEntry[str], path: str, listing: Listing, top: str) -> bool:
    """Whether the entry is a folder to read; adds a file to the listing. `top`: real path of the root."""
    try:
        if not path.isascii():
            path.encode()
        if entry.is_symlink():
            state = entry.stat()  # fails for a dangling link
            is_folder = stat.S_ISDIR(state.st_mode)
            if not _is_below(os.path.realpath(entry.path), top):
                kind = "folder" if is_folder else "file"
                listing.skipped.append(Skipped(path, f"is a link to a {kind} outside this folder", _OUTSIDE))
                return False
            if is_folder:
                listing.skipped.append(Skipped(path, "is a link to a folder that is already read", "Remove the link."))
                return False
        elif entry.is_dir():
            return True
        else:
            state = entry.stat()
    except UnicodeEncodeError:
        escaped = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        listing.skipped.append(Skipped(escaped, "has a name that is not UTF-8", "Rename it."))
    except OSError as error:
        reason = "is a dangling link" if entry.is_symlink() else "cannot be accessed"
        reason = "is a symbolic link that leads back to itself" if error.errno == errno.ELOOP else reason
        listing.skipped.append(Skipped(path, reason, "Repair or remove it."))
    else:
        if stat.S_ISREG(state.st_mode):
            listing.files.append(File(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
        else:
            listing.skipped.append(Skipped(path, "is not a regular file", "Move it out of the data."))
    return False


def links_outside(listing: Listing) -> str:
    """The end of a message that names the first link that leads out of the folder; "" if there is none."""
    first = next((entry for entry in listing.skipped if entry.remedy == _OUTSIDE), None)
    return "" if first is None else f"; {first.path} {first.reason}, which is not followed"


class LinkCheck:
    """Finds names below a folder that lead out of it by a link, on the way or at the end.

    Args:
        root: the folder; it may be a link itself.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._top = os.path.realpath(root)
        self._folders: dict[str, bool] = {}

    def leads_out(self, name: str) -> bool:
        """Whether `name`, which exists, lies outside once all links are resolved. Raises OSError, ValueError."""
        path = os.path.join(self.root, name)
        folder = os.path.dirname(path)
        if folder not in self._folders:  # most files share few folders
            self._folders[folder] = _is_below(os.path.realpath(folder), self._top)
        return not self._folders[folder] or (os.path.islink(path) and not _is_below(os.path.realpath(path), self._top))

    def is_file(self, name: str) -> bool:
        """Whether `name` is a regular file inside."""
        try:
            return (self.root / name).is_file() and not self.leads_out(name)
        except (OSError, ValueError):  # a name too long, a zero byte
            return False


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top if top.endswith(os.sep) else top + os.sep)


def cache_folder() -> Path:
    """Cache folder: `$SNELLEN_CACHE`, else `snellen` in the XDG cache folder."""
    override = os.environ.get("SNELLEN_CACHE")
    if override:
        return Path(override).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "snellen"


def private_cache_folder(name: str) -> Path:
    """The folder `name` of the cache, created if it is missing; only this user can write to either.

    Raises:
        OSError: it cannot be created, belongs to another user, or everyone can write to it. What such a folder holds
            could have been prepared: wrong facts about files, other pixels.
    """
    top = cache_folder()
    for folder in (top, top / name):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
        if hasattr(os, "getuid"):
            if state.st_uid not in (os.getuid(), 0):
                raise PermissionError(errno.EPERM, "belongs to another user", str(folder))
            if state.st_mode & stat.S_IWOTH:
                raise PermissionError(errno.EPERM, "can be written by everyone", str(folder))
            if state.st_mode & stat.S_IWGRP and state.st_uid == os.getuid():  # by the umask of an earlier version
                folder.chmod(stat.S_IMODE(state.st_mode) & ~stat.S_IWGRP)
    return top / name


class FileIndex:
    """Index of facts about files that are slow to compute: header, digest, thumbnail. A cache, safe to delete.

    Args:
        root: the folder of the data. `lookup(kind, files)` and `store(kind, files, facts)` use paths relative to it.
    """

    def __init__(self, root: Path) -> None:
        name = hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=12).hexdigest()
        self.path = cache_folder() / "index" / f"{name}.sqlite"

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        connection = None
        try:
            private_cache_folder(self.path.parent.name)
            connection = sqlite3.connect(self.path, timeout=5)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS facts2 (kind TEXT, path TEXT, size INTEGER, mtime INTEGER,"
                " ctime INTEGER, fact BLOB, PRIMARY KEY (kind, path)) WITHOUT ROWID"
            )
        except sqlite3.DatabaseError as error:
            if connection is not None:
                connection.close()
                connection = None
            if not isinstance(error, sqlite3.OperationalError):  # not a database: another file, or damaged
                with contextlib.suppress(OSError):
                    self.path.unlink()
        except OSError:
            pass
        try:
            yield connection
        finally:
            if connection is not None:
                connection.close()

    def lookup(self, kind: str, files: Mapping[str, File]) -> dict[str, bytes]:
        """Valid facts by path."""
        with self._open() as connection:
            if connection is None:
                return {}
            try:
                rows = connection.execute(
                    "SELECT path, size, mtime, ctime, fact FROM facts2 WHERE kind = ?", (f"{kind} {VERSION}",)
                ).fetchall()
            except sqlite3.DatabaseError:
                return {}
        valid = {}
        for path, size, mtime, ctime, fact in rows:
            file = files.get(path)
            if file is not None and (file.size, file.mtime_ns, file.ctime_ns) == (size, mtime, ctime):
                valid[path] = fact
        return valid

    def store(self, kind: str, files: Mapping[str, File], facts: Mapping[str, bytes]) -> None:
        """Store facts; does nothing if the index cannot be written."""
        if not facts:
            return
        rows = [(f"{kind} {VERSION}", path, *files[path][1:], fact) for path, fact in facts.items()]
        with self._open() as connection, contextlib.suppress(sqlite3.DatabaseError):
            if connection is not None:
                with connection:
                    connection.executemany("INSERT OR REPLACE INTO facts2 VALUES (?, ?, ?, ?, ?, ?)", rows)

    def lookup_joint(self, kind: str, key: str) -> bytes | None:
        """Joint fact of many files, by a digest of them."""
        with self._open() as connection, contextlib.suppress(sqlite3.DatabaseError):
            if connection is not None:
                row = connection.execute(
                    "SELECT fact FROM facts2 WHERE kind = ? AND path = ?", (f"all {kind} {VERSION}", key)
                ).fetchone()
                return None if row is None else bytes(row[0])
        return None

    def store_joint(self, kind: str, key: str, fact: bytes) -> None:
        """Store a joint fact and delete the oldest ones."""
        kind = f"all {kind} {VERSION}"
        with self._open() as connection, contextlib.suppress(sqlite3.DatabaseError):
            if connection is not None:
                with connection:
                    connection.execute(
                        "INSERT OR REPLACE INTO facts2 VALUES (?, ?, 0, ?, 0, ?)", (kind, key, time.time_ns(), fact)
                    )
                    connection.execute(
                        "DELETE FROM facts2 WHERE kind = ? AND path NOT IN (SELECT path FROM facts2 WHERE "
                        "kind = ? ORDER BY mtime DESC LIMIT ?)",
                        (kind, kind, _MAX_JOINT),
                    )


def files_digest(files: Iterable[File]) -> str:
    """Digest of the paths, sizes, times and order of files."""
    text = "\n".join(["\0".join(map(str, file)) for file in files])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def to_bytes(fact: Any) -> bytes:
    return json.dumps(fact, separators=(",", ":")).encode()
