"""Proving a file: load FILE.py with `forward`, `backward` and `inputs`, and say in one sentence what hinders it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import torch

from backproof.proof.prove import prove
from backproof.proof.replays.pair_calls import Functions
from backproof.proof.report.report import Report
from backproof.proof.report.words import listed
from backproof.proof.user.calls import CannotProveError, text_of

_WANTED = "define forward, backward and inputs in it"


def prove_file(path: str | Path, **options: Any) -> Report:
    """`prove(forward, backward, inputs)` with what FILE.py defines; `options` are those of `prove`.

    Raises CannotProveError, one sentence with the way out, where the file or its functions cannot be run.
    """
    with _imported(Path(path)) as defined:
        options.setdefault("output", defined.output)
        return prove(defined.forward, defined.backward, defined.inputs, **options)


@contextmanager
def _imported(path: Path) -> Iterator[Functions]:
    """Runs the file as Python runs a script: its own folder is importable for as long as its functions may run."""
    name = f"backproof_proved_{path.stem}"
    code = _compiled(path)
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None  # its name ends in .py
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    try:
        try:
            exec(code, module.__dict__)
        except KeyboardInterrupt:
            raise  # it is pressed, and ends the proof
        except BaseException as error:
            raise CannotProveError(f"{path} cannot be imported: {_reason(error, path)}.") from error
        yield _definitions(path, vars(module))
    finally:
        sys.modules.pop(name, None)
        if folder in sys.path:
            sys.path.remove(folder)


def _compiled(path: Path) -> CodeType:
    """The file's code, compiled here so that no cache file appears beside it and none that is stale is used."""
    if path.is_dir():
        raise CannotProveError(f"{path} is a folder; give a Python file and {_WANTED}.")
    if path.exists() and not path.is_file():
        raise CannotProveError(f"{path} is not a file that can be read; give a Python file and {_WANTED}.")
    if path.suffix != ".py":
        raise CannotProveError(f"{path} is not a Python file; give a file that ends in .py and {_WANTED}.")
    try:
        return compile(path.read_bytes(), str(path.resolve()), "exec")
    except FileNotFoundError:
        raise CannotProveError(f"There is no file {path}; give the path of a Python file and {_WANTED}.") from None
    except OSError as error:
        raise CannotProveError(f"{path} cannot be read: {error.strerror}.") from error
    except SyntaxError as error:
        if not error.lineno:  # NUL bytes, or no UTF-8
            raise CannotProveError(f"{path} is not a Python file: {error.msg}.") from error
        raise CannotProveError(f"{path} has a syntax error at line {error.lineno}: {error.msg}.") from error
    except (RecursionError, MemoryError, ValueError, OverflowError) as error:
        raise CannotProveError(f"{path} cannot be compiled: {type(error).__name__}: {text_of(error)}.") from error


def _reason(error: BaseException, path: Path) -> str:
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == str(path.resolve()):
            line = frame.tb_lineno
        frame = frame.tb_next
    if isinstance(error, SyntaxError) and error.filename and error.lineno:  # in a module that the file imports
        return f"{error.filename} has a syntax error at line {error.lineno}: {error.msg}"
    text = text_of(error).rstrip(".")
    return f"{type(error).__name__}{f' at line {line}' if line else ''}{f': {text}' if text else ''}"


def _definitions(path: Path, names: Mapping[str, Any]) -> Functions:
    missing = [name for name in ("forward", "backward", "inputs") if name not in names]
    if len(missing) == 3:
        raise CannotProveError(f"{path} defines nothing that could be proved; {_WANTED}.")
    if missing:
        raise CannotProveError(f"{path} does not define {listed(missing)}; {_WANTED}.")
    for name in ("forward", "backward"):
        if not callable(names[name]):
            raise CannotProveError(f"{name} in {path} must be a function; it is a {type(names[name]).__name__}.")
    inputs = names["inputs"]
    if not callable(inputs) and not isinstance(inputs, Mapping | tuple | list | torch.Tensor):
        raise CannotProveError(
            f"inputs in {path} must be a mapping of names to tensors, a tuple of tensors, or a function that returns "
            f"one of these (its first argument, if it has one, is the size); it is a {type(inputs).__name__}."
        )
    output = names.get("output")
    if output is not None and not isinstance(output, str):
        raise CannotProveError(
            f"output in {path} must be the name of one of forward's values; it is a {type(output).__name__}."
        )
    return Functions(names["forward"], names["backward"], inputs, output)
