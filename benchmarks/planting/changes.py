"""What a bug may be: for every kind of node, the small changes that a slip of the hand could have made.

A change that could not matter is left out where that is easily seen: the border of a comparison of real numbers,
the order of arguments that may be exchanged, one more on a number of hundreds.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple


class Change(NamedTuple):
    """What kind of slip, and what stands there instead; None where a statement is gone."""

    kind: str
    instead: ast.expr | ast.Slice | None


_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_BORDER: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_PAIRS = (("min", "max"), ("any", "all"), ("amin", "amax"), ("minimum", "maximum"), ("argmin", "argmax"))
_TWINS = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
_LARGE = 16  # from here on numbers are scaled, and below counted up and down
_COUNTS = frozenset({"len", "dim", "numel", "ndim", "sum", "int", "_version", "shape", "count", "depth", "size"})
_DISPLAYS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp, ast.JoinedStr)

_SYMMETRIC = frozenset({"same_bits", "_equal", "_same", "_proportional", "within", "outside"})

Parameters = Mapping[str, list[str]]
"""By a function's name, the annotations of its positional parameters."""


def _compare(node: ast.Compare) -> Iterator[Change]:
    for position, operator in enumerate(node.ops):
        kinds = [_OPPOSITE[type(operator)]]
        sides = [node.left, *node.comparators][position : position + 2]
        if type(operator) in _BORDER and any(_is_count(side) for side in sides):
            kinds.append(_BORDER[type(operator)])
        for kind in kinds:
            changed = copy.deepcopy(node)
            changed.ops[position] = kind()
            yield Change("comparison", changed)


def _is_count(node: ast.expr) -> bool:
    """Whether a side of a comparison is a whole number, where its border is a case of its own."""
    match node:
        case ast.Constant(value=int()):
            return True
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name in _COUNTS
        case ast.Subscript(value=ast.Attribute(attr=name)) | ast.Attribute(attr=name):
            return name in _COUNTS
    return False


def _binary(node: ast.BinOp) -> Iterator[Change]:
    instead = _ARITHMETIC.get(type(node.op))
    if instead is None or any(isinstance(side, _DISPLAYS) or _is_string(side) for side in (node.left, node.right)):
        return
    yield Change("arithmetic", ast.BinOp(node.left, instead(), node.right))
    yield Change("operand left out", node.left)
    if not isinstance(node.op, ast.Sub | ast.Div | ast.Pow | ast.Mod | ast.FloorDiv):
        yield Change("operand left out", node.right)


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _boolean(node: ast.BoolOp) -> Iterator[Change]:
    other = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    yield Change("boolean", ast.BoolOp(other, node.values))
    for position in range(len(node.values)):
        rest = node.values[:position] + node.values[position + 1 :]
        yield Change("operand left out", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))


def _unary(node: ast.UnaryOp) -> Iterator[Change]:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            yield Change("small number", ast.Constant(value))
            yield Change("small number", ast.Constant(-value - 1) if value == 1 else ast.Constant(1 - value))
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            yield Change("negation", node.operand)
        case ast.UnaryOp(op=ast.USub()):
            yield Change("sign", node.operand)


def _constant(node: ast.Constant) -> Iterator[Change]:
    """Numbers that measure something are made larger and smaller by factors, small whole ones counted up and down."""
    value = node.value
    if isinstance(value, bool):
        yield Change("flag", ast.Constant(not value))
    elif isinstance(value, int) and value < _LARGE:
        yield Change("small number", ast.Constant(value + 1))
        if value:
            yield Change("small number", ast.Constant(value - 1))
    elif isinstance(value, int):
        for changed in (value * 4, value * 100, value // 4):
            yield Change("number", ast.Constant(changed))
    elif isinstance(value, float) and value not in (0.0, 1.0):
        for factor in (4.0, 10.0, 100.0, 0.25, 0.1):
            yield Change("number", ast.Constant(float(f"{value * factor:.3g}")))
    elif isinstance(value, float):
        yield Change("small number", ast.Constant(1.0 - value))


def named_number(node: ast.Assign) -> Iterator[Change]:
    """A constant with a name of its own, `_MOST = 8`: twice, four times, and a quarter of it."""
    match node:
        case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=int(value))) if not isinstance(value, bool):
            scaled = (2 * value, 4 * value, value // 4 or 1)
            yield from (Change("number", ast.Constant(changed)) for changed in scaled if changed != value)
        case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=float())):
            assert isinstance(node.value, ast.Constant)
            yield from _constant(node.value)


def _call(node: ast.Call, parameters: Parameters) -> Iterator[Change]:
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if name in _TWINS:
        twin: ast.expr = copy.deepcopy(node.func)
        if isinstance(twin, ast.Name):
            twin.id = _TWINS[name]
        elif isinstance(twin, ast.Attribute):
            twin.attr = _TWINS[name]
        yield Change("min, max", ast.Call(twin, node.args, node.keywords))
    kinds = [] if name in _SYMMETRIC else parameters.get(name, [])
    for first in range(min(len(node.args), len(kinds)) - 1):
        one, other = node.args[first : first + 2]
        if isinstance(one, ast.Starred) or isinstance(other, ast.Starred) or kinds[first] != kinds[first + 1]:
            continue
        if ast.dump(one) != ast.dump(other):
            swapped = [*node.args[:first], other, one, *node.args[first + 2 :]]
            yield Change("arguments swapped", ast.Call(node.func, swapped, node.keywords))


def _subscript(node: ast.Subscript) -> Iterator[Change]:
    """Of `x[0]` and `x[-1]` the other end."""
    ends = {"0": -1, "-1": 0}
    if ast.unparse(node.slice) in ends:
        yield Change("index", ast.Subscript(node.value, ast.Constant(ends[ast.unparse(node.slice)]), node.ctx))


def _slice(node: ast.Slice) -> Iterator[Change]:
    if node.lower is not None:
        yield Change("slice", ast.Slice(None, node.upper, node.step))
    if node.upper is not None:
        yield Change("slice", ast.Slice(node.lower, None, node.step))


def changes_of(node: ast.AST, parameters: Parameters) -> Iterator[Change]:
    """The changes of an expression or a slice itself, not of what is in it."""
    simple: dict[type, Callable] = {
        ast.Compare: _compare,
        ast.BinOp: _binary,
        ast.BoolOp: _boolean,
        ast.UnaryOp: _unary,
        ast.Constant: _constant,
        ast.Subscript: _subscript,
        ast.Slice: _slice,
    }
    if isinstance(node, ast.Call):
        yield from _call(node, parameters)
    elif type(node) in simple:
        yield from simple[type(node)](node)


def conditions_of(node: ast.AST) -> list[tuple[ast.expr, list[Change]]]:
    """The conditions that a statement, a choice or a comprehension depends on, each forced either way."""
    yes, no = Change("condition", ast.Constant(True)), Change("condition", ast.Constant(False))
    match node:
        case ast.If(test=test) | ast.IfExp(test=test):
            names_something = any(isinstance(child, ast.NamedExpr) for child in ast.walk(test))
            found = [(test, [no] if names_something else [yes, no])]
        case ast.While(test=test):
            found = [(test, [no])]  # for ever would only be slow to find
        case ast.comprehension(ifs=tests):
            found = [(test, [yes, no]) for test in tests]
        case _:
            found = []
    return [(test, changes) for test, changes in found if not isinstance(test, ast.Constant)]


def deletable(node: ast.stmt, assigned: frozenset[str]) -> bool:
    """Whether the code still runs without a statement: a call, a jump, an error, a second assignment to a name."""
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            return True
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            return True
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            reads = {child.id for child in ast.walk(value) if isinstance(child, ast.Name)}
            return name in reads and name in assigned
    return False
