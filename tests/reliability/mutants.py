"""Mutants: one small fault each, planted in the syntax tree of a module.

An operator is exchanged (< and <=, + and -, `and` and `or`); a condition is always true, or always false; a number is
changed; a sign or `not`, a call for its effect, an assignment to an element or attribute, or a `raise` is left out.
Never changed: text (messages, docstrings), annotations, decorators, assertions, and the arguments of a `raise`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

_PAIRS = (
    "Lt LtE, Gt GtE, Eq NotEq, In NotIn, Is IsNot, And Or, Add Sub, Mult Div, BitAnd BitOr, LShift RShift, "
    "FloorDiv Mult, Mod Mult, Pow Mult, BitXor BitAnd"
)
OTHER = {
    getattr(ast, a): getattr(ast, b)
    for one, other in reversed([pair.split() for pair in _PAIRS.split(", ")])
    for a, b in ((other, one), (one, other))
    if (a, b) != ("Mult", "FloorDiv")
}
UNCHANGED = {"annotation", "returns", "decorator_list"}


class Mutant(NamedTuple):
    """A module with one node replaced: field `field` of `parent`, at `index` if that is a list.

    `lines`: the first and last line of the innermost function, decorators included; None at module or class level.
    """

    path: Path
    tree: ast.Module
    parent: ast.AST
    field: str
    index: int
    old: Any
    new: Any
    lines: tuple[int, int] | None
    number: int = 0

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}:{self.old.lineno}#{self.number}"

    def __str__(self) -> str:
        before, after = ((ast.unparse(node).splitlines() or [""])[0] for node in (self.old, self.new))
        return f"{self.name}  {before}  ->  {after}"

    def code(self) -> CodeType:
        """The compiled module. Its tree is restored."""
        self._put(ast.copy_location(self.new, self.old))
        code = compile(ast.fix_missing_locations(self.tree), str(self.path), "exec")
        self._put(self.old)
        return code

    def _put(self, node: ast.AST) -> None:
        value = getattr(self.parent, self.field)
        if isinstance(value, list):
            value[self.index] = node
        else:
            setattr(self.parent, self.field, node)


def variants(node: Any) -> Iterator[ast.AST]:
    """Nodes that replace this node."""
    match node:
        case ast.Compare():
            for k, op in enumerate(node.ops):
                yield ast.Compare(node.left, [*node.ops[:k], OTHER[type(op)](), *node.ops[k + 1 :]], node.comparators)
        case ast.BinOp(left, op, right) | ast.AugAssign(left, op, right) if type(op) in OTHER:
            yield type(node)(left, OTHER[type(op)](), right)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(OTHER[type(op)](), values)
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1 if value < 100 else value * 11 // 10)
        case ast.Constant(float(value)):  # a tolerance a tenth larger is no fault
            yield ast.Constant(value * 1.1 if value >= 0.01 else value + 1)
        case ast.If(_, body, orelse) | ast.IfExp(_, body, orelse):
            yield from (type(node)(ast.Constant(value), body, orelse) for value in (True, False))
        case ast.Expr(ast.Call()) | ast.Raise() | ast.Assign([ast.Subscript() | ast.Attribute()]):
            yield ast.Pass()


def mutants(path: Path) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for number, mutant in enumerate(_below(path, tree, tree, None)):
        yield mutant._replace(number=number)


def _below(path: Path, tree: ast.Module, node: ast.AST, lines: tuple[int, int] | None) -> Iterator[Mutant]:
    for field, value in ast.iter_fields(node):
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if field in UNCHANGED or not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Assert):
                continue
            for new in variants(child):
                yield Mutant(path, tree, node, field, index, child, new, lines)
            inside = lines
            if isinstance(child, ast.FunctionDef):
                inside = min(d.lineno for d in [*child.decorator_list, child]), child.end_lineno or 0
            if not isinstance(child, ast.Raise):
                yield from _below(path, tree, child, inside)
