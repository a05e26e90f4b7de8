"""Files that the arguments of a prediction name: files, folders, globs, and standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from snellen.core.errors import DataError

FolderFiles = Callable[[Path, dict[str, str]], Iterator[Path]]


def list_paths(arguments: Iterable[str], problems: dict[str, str], list_folder: FolderFiles) -> Iterator[Path]:
    """Files that the arguments name; `list_folder` lists those of a folder."""
    for argument in arguments:
        if argument == "-":
            yield from list_paths(_standard_input(problems), problems, list_folder)
            continue
        if not argument:
            raise DataError("The name of an input is empty", "Give files, folders, globs, or - for standard input.")
        path = Path(argument).expanduser()
        if path.is_dir():
            yield from list_folder(path, problems)
        elif path.exists() or path.is_symlink():
            yield path
        elif glob.has_magic(argument):
            matches = sorted(_glob(path))
            if not matches:
                raise DataError(
                    f"{argument} matches no file",
                    "Correct the pattern, and quote it so that the shell does not expand it.",
                )
            yield from (Path(match) for match in matches if not Path(match).is_dir())
        else:
            raise DataError(f"{argument} does not exist", "Give files, folders, globs, or - for standard input.")


def _standard_input(problems: dict[str, str]) -> Iterator[str]:
    """Read paths from standard input; a missing file is recorded in `problems`, without stopping."""
    for line in sys.stdin:
        argument = line.rstrip("\r\n")
        if "\0" in argument:
            raise DataError("Standard input is binary: it holds no paths", "Give files, or their paths, one on a line.")
        if argument and not glob.has_magic(argument) and not os.path.lexists(Path(argument).expanduser()):
            problems[argument] = "does not exist"
        elif argument and argument != "-":
            yield argument


def _glob(pattern: Path) -> list[str]:
    """Paths that match a glob; `**` does not follow links, one of which may lead to the root of the file system."""
    parts = pattern.parts
    if "**" not in parts:
        return glob.glob(str(pattern))
    start = next(k for k, part in enumerate(parts) if glob.has_magic(part))
    base, rest = Path(*parts[:start]), [*parts[start:], *(["*"] if parts[-1] == "**" else [])]
    matches = (path.relative_to(base) for path in base.glob("/".join(rest)))
    hidden = any(part.startswith(".") for part in rest)
    return [str(base / path) for path in matches if hidden or not any(part.startswith(".") for part in path.parts)]


def files_with(folder: Path, suffixes: Iterable[str], kind: str) -> Iterator[Path]:
    """The files of a folder with these suffixes, sorted; without any, those of the folders below it.

    Raises:
        DataError: there is none; it names the kind.
    """
    of_kind = tuple(suffixes)
    paths: list[Path] = []
    for entries in (folder.iterdir(), folder.rglob("*")):
        paths = paths or sorted(path for path in entries if path.suffix.lower() in of_kind and path.is_file())
    if not paths:
        raise DataError(f"{folder} contains no {kind}", f"Give files that end in {', '.join(suffixes)}.")
    return iter(paths)
