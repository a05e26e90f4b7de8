"""Reading files that other people made: only regular files are opened, and opening never waits."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

from snellen.core.errors import DataError


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading in binary mode; a pipe or a device, which may block or never end, is an OSError.

    Files of the user's data are opened by this function: whoever made the data may have put a pipe in place of a file.
    """
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 (the caller closes it)
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
    except BaseException:
        file.close()
        raise
    return file


def real_path(path: Path) -> Path:
    """The path without links. Raises DataError for a link that leads back to itself, where `Path.resolve` may fail."""
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DataError(
                f"{path} is a symbolic link that leads back to itself", "Remove the link, or give the data itself."
            ) from error
    return Path(os.path.realpath(path))


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # else opening a pipe waits for its other end


def read_bytes(path: Path) -> bytes:
    """Content of a file of the user's data; raises OSError as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def read_text(path: Path, encoding: str = "utf-8-sig") -> str:
    """Text of a file of the user's data; raises OSError as `open_regular`, UnicodeDecodeError for another encoding."""
    with io.TextIOWrapper(open_regular(path), encoding=encoding) as file:
        return file.read()
