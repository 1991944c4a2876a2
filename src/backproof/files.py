"""Files and folders that are whole or not there, and the leftovers of processes that were killed meanwhile.

What is being written stands beside its place, under a name of one length that no other writer has, and its writer holds
a lock on it. The system takes the lock back however the process ends. So whoever meets such a name and can lock it
knows that nobody writes there any more, and removes it. Where the system has no such locks, leftovers stay.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from errno import EFBIG, EINVAL, EISDIR
from pathlib import Path
from secrets import token_hex

try:
    import fcntl
except ImportError:  # as on Windows
    fcntl = None

_BEGINNING = ".backproof-"
_PARTIAL = re.compile(re.escape(_BEGINNING) + "[0-9a-f]{8}")
_ASIDE = "aside"


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file of at most `most` bytes; a pipe is not waited for, and what is too large is not read.

    Raises OSError, whose `strerror` says what it is instead.
    """
    content = read_beginning(path, most + 1)
    if len(content) > most:
        raise OSError(EFBIG, f"it is larger than {most:,} bytes", str(path))
    return content


def read_beginning(path: Path, most: int) -> bytes:
    """The first bytes of a file, at most `most`; raises as `read_bytes` does."""
    # without O_NONBLOCK opening a pipe waits for its writer
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123 - of a descriptor
        found = os.fstat(file.fileno())
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(EINVAL, "it is a pipe, a socket or a device, and no file", str(path))
        return file.read(most)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of `text` in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and rename it, synced to the disk.

    Raises OSError and leaves what was there when that fails.
    """
    with _partial_file(path) as partial:
        partial.write_bytes(content)
        sync(partial)
        partial.replace(path)
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk and not only on their way to it. Raises OSError."""
    if fcntl is None and path.is_dir():
        return  # a folder cannot be opened there
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Whether nobody else holds the lock on the file, which is made where it is missing; ours until the block ends.

    It goes with its process, however that ends. Where the system has no such locks it is always had. Raises OSError.
    """
    path.touch()
    lock = _lock(path, wait=False)
    try:
        yield lock is not None or fcntl is None
    finally:
        if lock is not None:
            os.close(lock)


def check_file(path: Path) -> None:
    """Raise, before the work begins, the OSError that `write_text` would raise after it. Leaves nothing behind."""
    with suppress(FileNotFoundError):  # the name is free; one that is too long is said to be so
        path.lstat()
    if path.is_dir():
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
    with _partial_file(path):
        pass


@contextmanager
def partial_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in `parent` to write in. It is removed at the end, with all that was not renamed out of it.

    What was moved aside into it and not replaced goes back to its place. Raises OSError.
    """
    with _partial(parent, Path.mkdir) as partial:
        (partial / _ASIDE).mkdir()  # now, since at the end the disk may be full
        yield partial


def move_aside(place: Path, partial: Path) -> None:
    """Make room at `place`, which stands beside `partial`, until `partial` is removed. Raises OSError."""
    place.rename(partial / _ASIDE / place.name)


def put_back(partial: Path) -> None:
    """Undo `move_aside` unless another has taken the place meanwhile. Raises OSError."""
    aside = partial / _ASIDE
    for moved in list(aside.iterdir()) if aside.is_dir() else []:
        place = partial.parent / moved.name
        if not os.path.lexists(place):
            moved.rename(place)


def remove_leftovers(folder: Path) -> None:
    """Remove from `folder` what killed processes left there, and never what a living one writes. Raises nothing."""
    found: list[Path] = []
    with suppress(OSError):  # nobody may look into it
        found = [each for each in folder.iterdir() if _PARTIAL.fullmatch(each.name)]
    for partial in found:
        with suppress(OSError):  # another was first, or it is another user's
            if (lock := _lock(partial, wait=False)) is not None:
                _remove(partial)
                os.close(lock)


def _partial_file(path: Path) -> AbstractContextManager[Path]:
    if not path.name:  # Path("") and Path("."), which have no name to write beside
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
    return _partial(path.parent, lambda partial: partial.touch(exist_ok=False))


@contextmanager
def _partial(parent: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    remove_leftovers(parent)
    partial, lock = _make(parent, make)
    try:
        yield partial
    finally:
        _remove(partial)
        if lock is not None:
            os.close(lock)


def _make(parent: Path, make: Callable[[Path], None]) -> tuple[Path, int | None]:
    """A new partial file or folder, and its lock; None where there are no locks, and so nobody removes it."""
    while True:
        partial = parent / f"{_BEGINNING}{token_hex(4)}"
        with suppress(FileExistsError):
            make(partial)
            lock = _lock(partial, wait=True)
            if lock is not None or partial.exists():  # else it was taken for a leftover between the two
                return partial, lock


def _lock(partial: Path, wait: bool) -> int | None:
    """The open descriptor that locks `partial`; None where that cannot be done, it is gone, or another has locked it.

    It is flock, which belongs to the open file: two threads of one process are told apart as two processes are.
    """
    if fcntl is None:
        return None
    try:  # a network drive wants a file open for writing to lock it
        descriptor = os.open(partial, (os.O_RDONLY if partial.is_dir() else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.fstat(descriptor), partial.lstat()):
            return descriptor
    os.close(descriptor)
    return None


def _remove(partial: Path) -> None:
    with suppress(OSError):
        if partial.is_dir():
            put_back(partial)  # or nothing is removed: it holds the only copy
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
