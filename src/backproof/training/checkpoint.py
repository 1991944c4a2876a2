"""The state of a run that is not over: written whole, synced to the disk, and read back with every number checked.

It stands in the folder `checkpoint` of the run's own folder:

about.json           settings, engine, number of symbols, data and its checksum
losses               of all steps so far, float32, little-endian; only ever appended to
state-000000012000   parameters and random state after so many steps (safetensors); the last two are kept
owner                who trains there, and locked by them for as long as they live
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Generator, Tensor

from backproof.files import read_beginning, read_bytes, write_bytes
from backproof.training import owner
from backproof.training.errors import ModelFileError
from backproof.training.folder import CHECKPOINT, STATE, FolderError, make_folder, remove_empty
from backproof.training.kinds import is_state, may_change, settings_from, template
from backproof.training.loop import State
from backproof.training.model import HEADER, unpacked
from backproof.training.settings import SettingsError

if TYPE_CHECKING:
    from backproof.training.kinds import AnySettings

_FORMAT = "backproof-checkpoint-1"
_ABOUT, _LOSSES, _OWNER = "about.json", "losses", "owner"
_KEPT = 2  # the last may be what a failing disk spoils
_MOST_SYMBOLS = 65_535
_MOST_TEXT = 2**16  # bytes of about.json, which takes less than a thousand but for a long path
_RANDOM = "random"
_COPIES = 2  # of the least that a state holds: the best parameters may stand beside it
_BESIDES = 32  # bytes a step, at most: losses since a measurement, and the measurements


@dataclass(frozen=True)
class About:
    """What a run is a run of: with another of these it would be another run."""

    settings: AnySettings
    engine: str
    symbols: int
    data_source: str
    data_sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """A run as it was when it was last saved."""

    about: About
    state: State


class Checkpoints:
    """Those of one run, while it goes on. `steps` are those of the last one, 0 before the first."""

    def __init__(self, folder: Path, about: About, begun: State | None = None) -> None:
        self._place = folder / CHECKPOINT
        self._identity = _identity(about)
        if begun is None:
            _clear(self._place)
            self.steps, self._sum = 0, hashlib.sha256()
        else:
            self.steps, self._sum = len(begun.losses), hashlib.sha256(_bytes(begun.losses))
        write_bytes(self._place / _ABOUT, json.dumps({"format": _FORMAT, **asdict(about)}, indent=2).encode())

    def save(self, state: State) -> None:
        """Write `state`, of this run and later than the last one. Raises OSError and leaves the last one as it was."""
        new = _bytes(state.losses[self.steps :])
        with open(self._place / _LOSSES, "r+b" if self.steps else "wb") as file:  # noqa: PTH123
            file.truncate(4 * self.steps)  # what did not get as far as a state
            file.seek(4 * self.steps)
            file.write(new)
            file.flush()
            os.fsync(file.fileno())
        self._sum.update(new)
        self.steps = len(state.losses)
        self._write(state)
        for old in _states(self._place)[_KEPT:]:
            old.unlink()

    def _write(self, state: State) -> None:
        from safetensors.torch import save

        tensors = {**state.tensors, _RANDOM: state.random}
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        metadata = {
            "format": _FORMAT,
            "steps": str(len(state.losses)),
            "seconds": repr(state.seconds),
            "losses_sha256": self._sum.hexdigest(),
            "about_sha256": self._identity,
            "sha256": _checksum(tensors),
        }
        write_bytes(self._path(len(state.losses)), save(tensors, metadata))

    def _path(self, steps: int) -> Path:
        return self._place / f"{STATE}{steps:012}"


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Keep everybody else out of the folder of a run. What is empty when it ends is removed.

    Raises FolderError, which says whose it is, where another process trains there.
    """
    place, created = folder / CHECKPOINT, []
    with ExitStack() as stack:
        stack.callback(lambda: remove_empty([place, *created]))
        try:
            created = make_folder(place)
            stack.enter_context(owner.owned(folder, place / _OWNER))
        except OSError as error:
            reason = f"{folder} cannot be written ({error.strerror})"
            raise FolderError(f"{reason}; choose another folder with --out.") from None
        try:
            yield
        finally:
            with suppress(OSError):
                if not _states(place):
                    _clear(place)


def last(folder: Path) -> Checkpoint | None:
    """The last state that is whole; None where there is none. Raises ModelFileError where all there are are damaged."""
    place = folder / CHECKPOINT
    states = _states(place)
    if not states:
        return None
    about = _about(place / _ABOUT)
    for path in states:
        state = _state(path, place, about)
        if state is not None:
            return Checkpoint(about, state)
    raise ModelFileError(f"{place} is damaged: none of its states is whole; begin again with --overwrite.")


def begun_as(folder: Path) -> About | None:
    """What was begun there; None where nothing was. Raises ModelFileError where that is damaged."""
    place = folder / CHECKPOINT
    return _about(place / _ABOUT) if (place / _ABOUT).exists() else None


def copy(folder: Path, into: Path) -> None:
    """Take the states of a run along into another folder. Raises OSError."""
    shutil.copytree(folder / CHECKPOINT, into / CHECKPOINT, ignore=shutil.ignore_patterns(_OWNER))


def _states(place: Path) -> list[Path]:
    """The newest first."""
    try:
        names = [each for each in place.iterdir() if each.name.startswith(STATE) and each.name[len(STATE) :].isdigit()]
    except OSError:
        return []
    return sorted(names, key=lambda each: int(each.name[len(STATE) :]), reverse=True)


def _clear(place: Path) -> None:
    for path in (*_states(place), place / _LOSSES, place / _ABOUT):
        path.unlink(missing_ok=True)


def _bytes(losses: np.ndarray) -> bytes:
    return losses.astype("<f4", copy=False).tobytes()


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256()
    for name in sorted(tensors):
        whole.update(tensors[name].contiguous().numpy().tobytes())
    return whole.hexdigest()


def _identity(about: About) -> str:
    """A checksum of all that the states of a run depend on; how long it is to be may change."""
    known = asdict(about)
    for name in may_change(about.settings):
        del known["settings"][name]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def _about(path: Path) -> About:
    try:
        read: Any = json.loads(read_bytes(path, _MOST_TEXT))
        if read.pop("format") != _FORMAT:
            raise ModelFileError(f"{path} was not written by this version of Backproof; begin again with --overwrite.")
        about = About(**{**read, "settings": settings_from(read["settings"])})
        texts = (about.engine, about.data_source, about.data_sha256)
        whole = asdict(about) == read and all(isinstance(text, str) for text in texts)
        whole = whole and type(about.symbols) is int and 1 < about.symbols <= _MOST_SYMBOLS
    except ModelFileError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, SettingsError):
        whole = False
    if not whole:
        raise ModelFileError(f"{path} is missing, damaged or was altered; begin again with --overwrite.")
    return about


def _state(path: Path, place: Path, about: About) -> State | None:
    """What is in the file; None for anything that was not written there as it is."""
    try:
        least = sum(tensor.nbytes for tensor in template(about.settings, about.symbols).values())
        most = _COPIES * least + _BESIDES * about.settings.steps + HEADER
        tensors, metadata = unpacked(read_bytes(path, most))
        steps, seconds = int(metadata["steps"]), float(metadata["seconds"])
        if metadata["format"] != _FORMAT or metadata["about_sha256"] != _identity(about):
            return None
        if metadata["sha256"] != _checksum(tensors) or path.name != f"{STATE}{steps:012}":
            return None
        if not 0 < steps <= about.settings.steps or not isfinite(seconds) or seconds < 0:
            return None
        random = tensors.pop(_RANDOM)
        Generator().set_state(random)
        losses = _losses(place / _LOSSES, steps)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, OverflowError):
        return None
    if hashlib.sha256(_bytes(losses)).hexdigest() != metadata["losses_sha256"]:
        return None
    if not is_state(tensors, about.settings, about.symbols):
        return None
    return State(tensors, random, losses, seconds)


def _losses(path: Path, steps: int) -> np.ndarray:
    """No more of them than belong to the state; what came after it may be half a loss."""
    return np.frombuffer(read_beginning(path, 4 * steps), "<f4").astype(np.float32)
