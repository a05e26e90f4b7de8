"""Mutants of a small module by hand."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from mutants import mutants

MODULE = '''"""A message of 1 word."""
LIMIT = 0.5

@dataclass(frozen=True)
class Box:
    side: Literal[3] = 200

def area(x: int = 1) -> int:
    if x < LIMIT and not x:
        raise ValueError("less than " + str(1))
    assert x > 0
    table[x] = f"{x + 1}"
    check(True)
    return -x ** 2
'''
EXPECTED = """
0.5  ->  0.55
200  ->  220
1  ->  2
if x < LIMIT and (not x):  ->  if True:
if x < LIMIT and (not x):  ->  if False:
x < LIMIT and (not x)  ->  x < LIMIT or not x
x < LIMIT  ->  x <= LIMIT
not x  ->  x
raise ValueError('less than ' + str(1))  ->  pass
table[x] = f'{x + 1}'  ->  pass
check(True)  ->  pass
True  ->  False
-x ** 2  ->  x ** 2
x ** 2  ->  x * 2
2  ->  3
"""


def test_a_mutant_changes_one_place_and_never_text_annotations_decorators_or_assertions(tmp_path: Path) -> None:
    path = tmp_path / "area.py"
    path.write_text(MODULE)
    found = list(mutants(path))
    assert [str(mutant).partition("  ")[2] for mutant in found] == EXPECTED.split("\n")[1:-1]
    assert [mutant.lines for mutant in found] == [None] * 2 + [(8, 14)] * 13
    assert len({mutant.name for mutant in found}) == len(found)


def test_a_mutant_is_compiled_without_changing_its_tree(tmp_path: Path) -> None:
    path = tmp_path / "twice.py"
    path.write_text("def twice(x):\n    return 2 * x\n")
    results = []
    for mutant in mutants(path):
        namespace: dict[str, Any] = {}
        exec(mutant.code(), namespace)
        results.append(namespace["twice"](8))
        assert ast.unparse(mutant.tree) == path.read_text().strip()
    assert results == [2 / 8, 3 * 8]
