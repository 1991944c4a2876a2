"""What is only said, and never decides anything: no bug is planted there."""

from __future__ import annotations

import ast
from collections.abc import Iterable

# Whole files of text and pictures, by their names.
FILES = frozenset({"heat.py", "html.py", "page.py", "page_style.py", "style.py", "text.py", "words.py", "wording.py"})
_TEXTS = frozenset(
    {"str", "str | None", "Iterator[str]", "list[str]", "tuple[str, str]", "tuple[str, str, str]", "tuple[str, ...]"}
)
_JOINING = frozenset({"join", "format", "rstrip", "strip", "removeprefix", "removesuffix"})


def text_functions(trees: Iterable[ast.AST]) -> frozenset[str]:
    """The names of functions that put words together: they return text, and a sentence stands in them."""
    return frozenset(
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) in _TEXTS
        if any(_is_sentence(child) for statement in _without_docstring(node) for child in ast.walk(statement))
    )


def _without_docstring(function: ast.FunctionDef) -> list[ast.stmt]:
    return function.body[1:] if ast.get_docstring(function) is not None else function.body


def _is_sentence(node: ast.AST) -> bool:
    """A text with words in it, as against a name or an attribute."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip(", ")


class Wording:
    """Tells text from decisions, in a package whose functions of text are known by name."""

    def __init__(self, functions: frozenset[str]) -> None:
        self.functions = functions

    def is_text(self, node: ast.AST | None) -> bool:
        """Whether an expression is words, or a choice or a list of words."""
        match node:
            case ast.JoinedStr():
                return True
            case ast.Constant(value=str()):
                return True
            case ast.BinOp(left=left, right=right):
                return self.is_text(left) or self.is_text(right)
            case ast.IfExp(body=body, orelse=orelse):
                return all(self.is_text(one) or _is_empty(one) for one in (body, orelse))
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return bool(parts) and all(self.is_text(part) for part in parts)
            case ast.Starred(value=value) | ast.Yield(value=value) | ast.YieldFrom(value=value):
                return self.is_text(value)
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _JOINING:
                return self.is_text(value)
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                return name in self.functions
        return False

    def is_statement(self, node: ast.stmt) -> bool:
        """Whether a statement only makes or keeps words; a choice between such statements is one itself."""
        match node:
            case ast.Assign(value=value) | ast.AugAssign(value=value) | ast.Return(value=value):
                return self.is_text(value) and not _is_name(value)
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="append" | "extend"), args=[only])):
                return self.is_text(only) and not _is_name(only)
            case ast.Expr(value=ast.Yield(value=value) | ast.YieldFrom(value=value)):
                return self.is_text(value) and not _is_name(value)
            case ast.If(body=body, orelse=orelse):
                return all(self.is_statement(one) for one in (*body, *orelse))
        return False


def _is_empty(node: ast.AST) -> bool:
    return isinstance(node, ast.List) and not node.elts


def _is_name(node: ast.AST | None) -> bool:
    """A single word, such as the name of a value or of a cause, which something may depend on."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(node.value) and " " not in node.value


# Calls whose arguments from a place on are text: cause and kind come before.
_TOLD = {"Finding": 1, "finding": 2, "Meaning": 1}


def told_from(call: ast.Call) -> int | None:
    """The position from which the arguments of a call are words; None for an ordinary call."""
    return _TOLD.get(call.func.id) if isinstance(call.func, ast.Name) else None
