"""Calling what the user wrote: inputs in, named values and gradients out, and an exception that says who raised it."""

from __future__ import annotations

import copy
import dataclasses
import dis
import inspect
import linecache
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


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
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()), enabled=True):
        torch.manual_seed(seed)
        yield


def refuse_options(sizes: object, seed: object, dtypes: object = ()) -> None:
    """Raises CannotProveError for options of `prove` and `prove_function` of a wrong kind."""
    if not isinstance(sizes, Sequence) or not all(type(n) is int for n in sizes):
        raise CannotProveError(f"sizes must be a sequence of whole numbers, such as (7, 1); it is {sizes!r}.")
    if type(seed) is not int:
        raise CannotProveError(f"seed must be a whole number; it is {seed!r}.")
    for dtype in dtypes if isinstance(dtypes, Sequence) else (dtypes,):
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise CannotProveError(f"dtypes must hold floating-point dtypes, as torch.bfloat16 is; {dtype!r} is none.")


def make_inputs(inputs: Any, size: int | None, seed: int) -> Any:
    """The mapping or tuple of inputs; a size is only asked of a callable."""
    if not callable(inputs):
        return inputs
    when = "" if size is None else f" for size {size}"
    with seeded(seed):
        return call("inputs", inputs, () if size is None else (size,), when=when)


def named_inputs(inputs: Any, forward: Callable) -> dict[str, Any]:
    """Inputs under their parameter names; a tuple takes the names of the parameters of `forward`."""
    if isinstance(inputs, Tensor):
        inputs = (inputs,)
    if isinstance(inputs, Mapping):
        named = dict(inputs)
    elif isinstance(inputs, Sequence) and not isinstance(inputs, str):
        named = dict(zip(_parameter_names(forward, len(inputs)), inputs, strict=True))
    else:
        raise CannotProveError(
            f"inputs must be a mapping of names to tensors, a tuple in the order of the parameters, or a function "
            f"that returns one of these; it is a {type(inputs).__name__}."
        )
    for name, value in named.items():
        if isinstance(value, Tensor) and (unfit := _unfit(value)):
            raise CannotProveError(f"The input {name} {unfit}.")
    return named


def _unfit(value: Tensor) -> str:
    """Why nothing can be proved with a tensor; empty for most."""
    if value.is_meta:
        return "is on the meta device, which holds no numbers; make it on a device that does"
    if value.layout is not torch.strided or value.is_nested or value.is_quantized:
        return "is no ordinary dense tensor; make it dense, with to_dense()"
    if value.is_complex():
        return "is complex, and only real gradients are proved; give its real and its imaginary part as two inputs"
    return ""


def _parameter_names(function: Callable, count: int) -> list[str]:
    """The first `count` positional parameters; `name0, …` for a parameter `*name`, `x0, …` as a last resort."""
    kinds = inspect.Parameter
    names: list[str] = []
    rest = "x"
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    for parameter in parameters:
        if parameter.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
        elif parameter.kind is kinds.VAR_POSITIONAL:
            rest = parameter.name
    if len(names) < count:
        names += [f"{rest}{number}" for number in range(count - len(names))]
    return names[:count]


def fields(record: Any, role: str) -> dict[str, Any]:
    """A NamedTuple, dataclass or mapping as a dictionary of its named entries."""
    if isinstance(record, Mapping):
        odd = next((name for name in record if not isinstance(name, str)), None)
        if odd is not None:
            raise CannotProveError(f"{role} must return values under names that are strings, and {odd!r} is none.")
        return dict(record)
    if isinstance(record, tuple) and hasattr(record, "_asdict"):
        return record._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    raise CannotProveError(
        f"{role} must return named values (a NamedTuple, a dataclass or a mapping), "
        f"not {_article(type(record).__name__)}."
    )


def _article(noun: str) -> str:
    return noun if noun == "NoneType" else f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def replaced(record: Any, new: Mapping[str, Any]) -> Any:
    """The same kind of record with other entries; the record itself is left alone."""
    if isinstance(record, Mapping):
        try:
            twin: Any = copy.copy(record)
            twin.update(new)
        except (TypeError, AttributeError):  # a read-only mapping
            return {**record, **new}
        return twin
    if isinstance(record, tuple):
        return record._replace(**new)  # pyright: ignore[reportAttributeAccessIssue]
    twin = copy.copy(record)
    for name, value in new.items():
        object.__setattr__(twin, name, value)  # frozen dataclasses too
    return twin


def is_float(value: Any) -> bool:
    """A tensor that can carry a gradient."""
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def leaf(value: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A copy of `value` that autograd starts from, in the same layout where the numbers allow it."""
    copied = value.detach().clone()
    if dtype is not None and copied.is_floating_point():
        copied = copied.to(dtype)
    return copied.requires_grad_(is_float(copied))


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal shape, dtype and bits (a NaN equals itself, 0.0 differs from -0.0)."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(_bytes(a), _bytes(b))


def _bytes(value: Tensor) -> Tensor:
    """The bits, in memory of their own: one element may count as contiguous and still have a stride of 3."""
    plain = value.detach().resolve_conj().resolve_neg()
    return plain.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)


def is_finite(values: Mapping[str, Any]) -> bool:
    """Whether every floating-point tensor among `values` is finite throughout."""
    return all(bool(torch.isfinite(value).all()) for value in values.values() if is_float(value))


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
