"""Calling what the user wrote: inputs in, named values and gradients out, and an exception that says who raised it."""

from __future__ import annotations

import dis
import inspect
import linecache
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


class CannotProveError(ValueError):
    """The user's functions, inputs or file cannot be run, so nothing is proved or disproved; the message says why.

    `brief` leaves the line of the code out.
    """

    def __init__(self, message: str, brief: str | None = None) -> None:
        super().__init__(message)
        self.brief = brief or message


def call(role: str, function: Callable, args: Iterable, named: Mapping[str, Any] | None = None, when: str = "") -> Any:
    """`function(*args, **named)`; what it raises becomes a CannotProveError that names role, error and line."""
    try:
        return function(*args, **(named or {}))
    except (Exception, SystemExit) as error:
        line = blamed_line(error, function)[1]
        brief = f"{role} raised {describe(error)}"
        raise CannotProveError(f"{brief}{when}{f' at {line}' if line else ''}", brief) from error


def describe(error: BaseException) -> str:
    """`TypeError: message`, on one line and without a full stop."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}".rstrip(".: ")


def blamed_line(error: BaseException, function: Callable) -> tuple[str | None, str]:
    """The innermost statement of the function's own file that was running when `error` was raised."""
    own = getattr(inspect.unwrap(function), "__code__", None)
    trace, found = error.__traceback__, (None, "")
    while trace is not None and own is not None:
        if trace.tb_frame.f_code.co_filename == own.co_filename:
            found = statement(trace.tb_frame.f_code, trace.tb_lasti, trace.tb_lineno)
        trace = trace.tb_next
    return found


def statement(code: Any, lasti: int, lineno: int) -> tuple[str | None, str]:
    """The name assigned by the statement that is running at instruction `lasti`, and the text of its line."""
    text = linecache.getline(code.co_filename, lineno).strip()
    line = f"line {lineno}" + (f": {text}" if text else "")
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if instruction.offset < lasti:
            continue
        if name.startswith(("STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF")):
            target = instruction.argval
            return (target[0] if isinstance(target, tuple) else target), line
        if name in ("POP_TOP", "STORE_SUBSCR", "STORE_ATTR") or "RETURN" in name:
            break  # the statement ends without giving its result a name
    return None, line


def takes_upstream(backward: Callable) -> bool:
    """Whether `backward` has room for a second argument; a callable without a readable signature has."""
    try:
        inspect.signature(backward).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The same random numbers each time, and the caller's own random state untouched."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        # where there is no accelerator, torch.manual_seed notes the whole call stack for each kind that might appear
        seed_all = torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed
        seed_all(seed)
        yield


def user_frame() -> Any:
    """The innermost running frame that belongs neither to PyTorch nor to this package's prover."""
    torch_folder = torch.__path__[0]
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        package = frame.f_globals.get("__name__", "")
        if not name.startswith(torch_folder) and not package.startswith("backproof.proof."):
            return frame
        frame = frame.f_back
    return None
