"""Drawing bugs by a seed from all places of a package where one could be."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from random import Random
from typing import NamedTuple

from planting.changes import Change, Parameters, changes_of, conditions_of, deletable, named_number
from planting.wording import FILES, Wording, text_functions, told_from

_SPEED_ONLY = frozenset({"one_thread"})  # functions that make things quick and change no number
_RANDOM = frozenset({"manual_seed", "seeded"})  # other random numbers are as good
_DRAWN = frozenset({"draw"})  # an argument that says which of them, likewise
_PRESENTATION = frozenset({"WIDTH", "_WIDTH", "MOST", "_STEPS"})  # how wide or how fine something is shown
_FOR_SPEED = "for speed alone"  # in the comment beside a number: no verdict or cause depends on it
_GUARDS = frozenset({"strict", "frozen"})  # arguments that only guard against slips of ours
_NAMING = frozenset({"isinstance", "issubclass", "hasattr", "getattr", "TypeVar"})


class Family(Enum):
    """The kinds of bugs, rare places first; a bug is drawn from each equally often."""

    NUMBER = "a number that decides"
    CONDITION = "a condition forced"
    STRUCTURE = "a statement, an argument, an index"
    OPERATOR = "an operator, an operand, a small number"


_FAMILIES = {
    "number": Family.NUMBER,
    "condition": Family.CONDITION,
    "statement left out": Family.STRUCTURE,
    "arguments swapped": Family.STRUCTURE,
    "index": Family.STRUCTURE,
    "slice": Family.STRUCTURE,
}


class Bug(NamedTuple):
    """One change of one file: from byte `start` to byte `end` of `source`, `instead` stands there."""

    path: Path
    where: str  # the function, by its qualified name; empty outside of functions
    line: int
    kind: str
    start: int
    end: int
    instead: str
    source: str

    @property
    def family(self) -> Family:
        return _FAMILIES.get(self.kind, Family.OPERATOR)

    @property
    def planted(self) -> str:
        """The whole file with the bug in it."""
        data = self.source.encode()
        return (data[: self.start] + self.instead.encode() + data[self.end :]).decode()

    @property
    def change(self) -> str:
        """`a < b -> a >= b`, on one line."""
        old = " ".join(self.source.encode()[self.start : self.end].decode().split())
        return f"{old} -> {self.instead}"

    def diff(self, name: str) -> str:
        """The change as a patch of the file `name` shows it."""
        old, new = self.source.splitlines(keepends=True), self.planted.splitlines(keepends=True)
        return "".join(difflib.unified_diff(old, new, name, name))


Site = tuple[Bug, ...]
"""A place where a bug could be: all that it could be."""


def draw(files: Iterable[Path], seed: int, count: int, only: str = "") -> list[Bug]:
    """`count` bugs at different places, in the order of the files; those in files whose path holds `only`.

    As many of each family as there can be: a number that decides is one place among thirty, and the one whose
    change is hardest to see.
    """
    random = Random(seed)
    found = [site for path, sites in sites_of(files).items() if only in path.as_posix() for site in sites]
    chosen: list[int] = []
    for families_left, family in zip((4, 3, 2, 1), Family, strict=True):
        members = [i for i, site in enumerate(found) if site[0].family is family]
        share = -(-(count - len(chosen)) // families_left)
        chosen += random.sample(members, min(share, len(members)))
    return [random.choice(found[i]) for i in sorted(chosen)]


def sites_of(files: Iterable[Path]) -> dict[Path, list[Site]]:
    """All places where a bug could be, by file."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(files)}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    words, parameters = Wording(text_functions(trees.values())), _parameters(trees.values())
    return {
        path: list(_Places(path, sources[path], words, parameters).inside(tree, ""))
        for path, tree in trees.items()
        if path.name not in FILES
    }


def _parameters(trees: Iterable[ast.AST]) -> Parameters:
    """Of functions the positional parameters' annotations, of records the fields': alike ones could be swapped."""
    found: dict[str, list[str]] = {"where": ["condition", "Tensor", "Tensor"]}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef):
            own = [one for one in (*node.args.posonlyargs, *node.args.args) if one.arg not in ("self", "cls")]
            kinds = [ast.unparse(one.annotation) if one.annotation else one.arg for one in own]
        elif isinstance(node, ast.ClassDef):
            kinds = [ast.unparse(one.annotation) for one in node.body if isinstance(one, ast.AnnAssign)]
        else:
            continue
        found[node.name] = kinds if found.get(node.name, kinds) == kinds else []
    return found


class _Places:
    """A walk through one file that passes over wording, annotations and what is there for speed only."""

    def __init__(self, path: Path, source: str, words: Wording, parameters: Parameters) -> None:
        self.path, self.source, self.words, self.parameters = path, source, words, parameters
        self.lines, self.starts = source.splitlines(), [0]
        for line in source.encode().splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.assigned: dict[str, frozenset[str]] = {}

    def inside(self, node: ast.AST, where: str) -> Iterator[Site]:
        """The places in the children of a node."""
        for child in self._children(node):
            yield from self._at(child, self._name(child, where))

    def _name(self, node: ast.AST, where: str) -> str:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            return where
        outer = f"{where}.<locals>." if where.rpartition(".")[2] in self.assigned else f"{where}." if where else ""
        if isinstance(node, ast.FunctionDef):
            names = [child.id for child in ast.walk(node) if isinstance(child, ast.Name) and _stored(child)]
            given = [argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)]
            self.assigned[node.name] = frozenset({*given, *(name for name in names if names.count(name) > 1)})
        return f"{outer}{node.name}"

    def _at(self, node: ast.AST, where: str) -> Iterator[Site]:
        if isinstance(node, ast.Assign) and (
            ast.unparse(node.targets[0]) in _PRESENTATION or _FOR_SPEED in self.lines[node.lineno - 1]
        ):
            return
        if isinstance(node, ast.Assign) and not where and (named := list(named_number(node))):
            yield self._site(node.value, where, named)
            return
        for test, changes in self._conditions(node):
            yield self._site(test, where, changes)
        if isinstance(node, ast.stmt) and self._deletable(node, where):
            yield self._site(node, where, [Change("statement left out", None)])
        elif changes := [change for change in self._changes(node) if _differs(node, change)]:
            yield self._site(node, where, changes)
        yield from self.inside(node, where)

    def _changes(self, node: ast.AST) -> Iterable[Change]:
        if isinstance(node, ast.BinOp) and _is_type(node):
            return ()
        told = isinstance(node, ast.Call) and (told_from(node) is not None or any(map(self.words.is_text, node.args)))
        return (c for c in changes_of(node, self.parameters) if not (told and c.kind == "arguments swapped"))

    def _conditions(self, node: ast.AST) -> list[tuple[ast.expr, list[Change]]]:
        silent = isinstance(node, ast.If) and self.words.is_statement(node)
        return [] if silent else conditions_of(node)

    def _deletable(self, node: ast.stmt, where: str) -> bool:
        return not self.words.is_statement(node) and deletable(
            node, self.assigned.get(where.rpartition(".")[2], frozenset())
        )

    def _site(self, node: ast.AST, where: str, changes: Sequence[Change]) -> Site:
        start, end = (self._byte(*at) for at in _span(node))
        return tuple(
            Bug(self.path, where, _span(node)[0][0], change.kind, start, end, _written(change.instead), self.source)
            for change in changes
        )

    def _byte(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column

    def _children(self, node: ast.AST) -> Iterable[ast.AST]:
        match node:
            case ast.FunctionDef(name=name):
                if name in _SPEED_ONLY or name in self.words.functions:
                    return ()
                return (*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body)
            case ast.ClassDef():
                return node.body
            case ast.AnnAssign():
                return (node.value,) if node.value else ()
            case ast.Raise() | ast.Assert() | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
                return ()
            case ast.stmt() if self.words.is_statement(node) and not isinstance(node, ast.If):
                return ()
            case ast.If() if self.words.is_statement(node) or "TYPE_CHECKING" in ast.unparse(node.test):
                return node.orelse
            case ast.expr() if self.words.is_text(node) and not isinstance(node, ast.Tuple | ast.List):
                return ()
            case ast.Call():
                return self._arguments(node)
            case ast.BinOp() if "seed" in ast.unparse(node) or _is_type(node):
                return ()
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
                return ()
            case ast.Subscript(slice=ast.Constant(value=int())) | ast.Subscript(slice=ast.UnaryOp()):
                return (node.value,)
        return ast.iter_child_nodes(node)

    def _arguments(self, call: ast.Call) -> Iterable[ast.AST]:
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        if name in _RANDOM or name in _NAMING:
            return (call.func,) if name in _RANDOM else ()
        silent = _GUARDS | _DRAWN
        keywords = [one.value for one in call.keywords if one.arg not in silent and not self.words.is_text(one.value)]
        told = told_from(call)
        return (call.func, *call.args[:told], *(keywords if told is None else ()))


def _stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


_TYPES = frozenset({"int", "float", "str", "list", "tuple", "dict", "None", "Tensor", "Mapping", "Sequence", "Any"})


def _is_type(node: ast.AST) -> bool:
    """`int | float | None`, and the like."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.BitOr) and _is_type(node.left) and _is_type(node.right)
    name = node.value if isinstance(node, ast.Subscript) else node
    return ast.unparse(name).rpartition(".")[2] in _TYPES


def _differs(node: ast.AST, change: Change) -> bool:
    return change.instead is None or ast.dump(change.instead) != ast.dump(node)


def _span(node: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
    end = (getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0))
    return (getattr(node, "lineno", 0), getattr(node, "col_offset", 0)), end


def _written(node: ast.AST | None) -> str:
    if node is None:
        return "pass"
    text = ast.unparse(ast.fix_missing_locations(node))
    return text if isinstance(node, ast.Slice | ast.Name | ast.Attribute | ast.Call | ast.Constant) else f"({text})"
