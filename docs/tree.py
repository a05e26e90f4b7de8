"""Writes the tree of packages into docs/architecture.md, from the first line of each `__init__.py`.

python docs/tree.py
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "snellen"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tree -->", "<!-- /tree -->"


def tree() -> str:
    """Every package on a line: its path below `src/snellen` and the first line of its docstring."""
    packages = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
    names = ["  " * (len(p.relative_to(PACKAGE).parts)) + f"{p.name}/" for p in packages]
    width = max(map(len, names))
    lines = [f"{name:<{width}}  {summary(p)}" for name, p in zip(names, packages, strict=True)]
    return "```\n" + "\n".join(lines) + "\n```"


def summary(package: Path) -> str:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    return docstring.splitlines()[0] if docstring else ""


def filled(text: str) -> str:
    """The text with the tree between its markers.

    Raises:
        ValueError: if a marker is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{tree()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
