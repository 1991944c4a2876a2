"""Calling what the user wrote: inputs in, named values and gradients out, and an exception that says who raised it."""

from __future__ import annotations

import dis
import inspect
import linecache
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

_TORCH = torch.__path__[0]
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


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
    except KeyboardInterrupt:
        raise  # it is pressed, and ends the proof
    except BaseException as error:
        line = blamed_line(error, function)[1]
        brief = f"{role} raised {describe(error)}"
        raise CannotProveError(f"{brief}{when}{f' at {line}' if line else ''}", brief) from error


def describe(error: BaseException) -> str:
    """`TypeError: message`, on one line and without a full stop; without a message that cannot be had."""
    return f"{type(error).__name__}: {text_of(error)}".rstrip(".: ")


def text_of(error: BaseException) -> str:
    """What an exception says, on one line; nothing where saying it raises another."""
    try:
        return " ".join(str(error).split())
    except KeyboardInterrupt:
        raise
    except BaseException:
        return ""


def blamed_line(error: BaseException, function: Callable | None = None) -> tuple[str | None, str]:
    """The innermost statement of the user's that was running when `error` was raised.

    That is one in the function's own file, or else one that belongs to no library, or at least not to PyTorch.
    """
    places = list(_steps_of(error))
    own = _file_of(function)
    for belongs in (lambda file: file == own, lambda file: not file.startswith(_LIBRARIES), lambda file: True):
        chosen = [place for place in places if belongs(place[0].co_filename)]
        if chosen:
            return statement(*chosen[-1])
    return None, ""


def _steps_of(error: BaseException) -> Iterator[tuple[Any, int, int]]:
    """Code, instruction and line of all frames that belong neither to PyTorch nor to the prover, the innermost last."""
    trace = error.__traceback__
    while trace is not None:
        if not _is_ours(trace.tb_frame):
            yield trace.tb_frame.f_code, trace.tb_lasti, trace.tb_lineno
        trace = trace.tb_next


def _file_of(function: Callable | None) -> str | None:
    """Where the function is written; of the `apply` of an autograd Function, its class; of a module, its forward."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and issubclass(owner, torch.autograd.Function):
        function = owner.forward
    elif isinstance(function, torch.nn.Module):
        function = function.forward
    code = getattr(inspect.unwrap(function), "__code__", None) if function is not None else None
    return getattr(code, "co_filename", None)


def _is_ours(frame: Any) -> bool:
    """Whether a frame belongs to PyTorch or to the prover."""
    module = frame.f_globals.get("__name__", "")
    return frame.f_code.co_filename.startswith(_TORCH) or module.startswith("backproof.proof.")


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
    frame = sys._getframe(1)
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    return frame
