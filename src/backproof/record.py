"""`run.json` read back: what a run says of itself, every word of it checked. Imports nothing heavy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from backproof.files import read_bytes
from backproof.training.errors import ModelFileError
from backproof.training.folder import MARKER, recover
from backproof.training.kinds import settings_from
from backproof.training.settings import Settings, SettingsError
from backproof.training.status import Status

if TYPE_CHECKING:
    from backproof.training.kinds import AnySettings

FORMATS = ("backproof-run-1", "backproof-run-2")
"""Of runs of the exercise's network, and of models that read whole words."""
MODEL = "model.safetensors"
_MOST_BYTES = 2**24  # 65,535 symbols take one


def format_of(settings: AnySettings) -> str:
    """How a run.json of such a run calls itself."""
    return FORMATS[0] if isinstance(settings, Settings) else FORMATS[1]


class SplitLosses(NamedTuple):
    """Cross-entropy of the calibrated model on each split, in nats per example."""

    train: float
    validation: float
    test: float


class Rung(NamedTuple):
    """What a run was measured by on its way, after so many steps: nats per example, None where it was not finite."""

    steps: int
    loss: float | None


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` says. `losses` are None where one was not finite; `seconds` are those of the training loop."""

    settings: AnySettings
    symbols: tuple[str, ...]
    data_source: str
    data_sha256: str
    model_sha256: str
    status: Status
    steps: int
    seconds: float
    losses: SplitLosses | None
    rungs: tuple[Rung, ...]


def read_record(folder: Path) -> RunRecord:
    """Read the record of the run in `folder`; raises ModelFileError where it is not as it was written."""
    path = folder / MARKER
    if not folder.exists():
        recover(folder)  # perhaps one who was to replace it was killed in between
    try:
        said = json.loads(read_bytes(path, _MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelFileError(
            f"{folder} is not the folder of a run (it has no {MARKER}); see 'backproof train'."
        ) from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}); restore the run's own file.") from None
    except (ValueError, RecursionError):  # the latter for brackets in brackets in brackets
        raise ModelFileError(f"{path} is damaged: it is not JSON; restore the run's own file.") from None
    if isinstance(said, dict) and said.get("format", FORMATS[0]) not in FORMATS:
        raise ModelFileError(f"{path} was not written by this version of Backproof; train the model again.")
    try:
        return _record(said)
    except (KeyError, TypeError, ValueError, OverflowError, SettingsError):
        raise ModelFileError(f"{path} is incomplete or was altered; restore the run's own file.") from None


def _record(said: Mapping[str, Any]) -> RunRecord:
    from backproof.text.vocabulary import checked  # here, with numpy: the commands' options know this module

    settings = settings_from(said["settings"])
    if said.get("format", FORMATS[0]) != format_of(settings):
        raise ValueError
    data, figures = said["data"], said["figures"]
    return RunRecord(
        settings,
        checked(said["vocabulary"]),
        _name_of_a_file(data["source"]),
        _text(data["sha256"]),
        _text(said["files"][MODEL]),
        Status(said["status"]),
        _steps(figures["steps"], settings),
        _number(figures["seconds"]),
        _losses(figures["losses"]),
        tuple(_rung(said, settings) for said in figures.get("rungs", ())),
    )


def _losses(said: Mapping[str, Any]) -> SplitLosses | None:
    values = [said[name] for name in SplitLosses._fields]
    return None if None in values else SplitLosses(*map(_number, values))


def _rung(said: Sequence[Any], settings: AnySettings) -> Rung:
    steps, loss = said
    return Rung(_steps(steps, settings), None if loss is None else _number(loss))


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not isfinite(value) or value < 0:
        raise ValueError
    return float(value)


def _steps(value: Any, settings: AnySettings) -> int:
    if type(value) is not int or not 0 <= value <= settings.steps:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _name_of_a_file(value: Any) -> str:
    if b"\0" in os.fsencode(_text(value)):  # of half of a surrogate pair it makes a ValueError
        raise ValueError
    return value
