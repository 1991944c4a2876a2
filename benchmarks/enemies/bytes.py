"""Changes to a file: to its bytes, to what stands in it as JSON, or to what kind of thing it is."""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**6, 10**9, 2**63, 10**400, -0.0, 0.5, 1e308, float("nan"), float("inf"), "", "a",
    ".", "ab", "\x1b[2J\x1b]0;owned\x07", "\x00", "\ud800", "\u202e", "x" * 5000, "../../etc", [], [[]], [None], {},
    {"": 0}, list(range(70)), [".", "a", "a"], [".", "\ud800"], "e" * 64,
)  # fmt: skip


def change_bytes(content: bytes, draw: random.Random) -> bytes:
    """Flip, cut, double, splice, fill: what failing disks, transfers and fuzzers do."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 8, 64))):
        at = draw.randrange(len(data) + 1)
        length = draw.choice((1, 2, 4, 8, 64, len(data) // 2))
        match draw.randrange(7):
            case 0 if data:
                data[min(at, len(data) - 1)] ^= 1 << draw.randrange(8)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                data[at:at] = draw.randbytes(length % 65)
            case 4:
                data[at : at + 8] = draw.choice((0, 1, 2**31, 2**40, 2**63, 2**64 - 1)).to_bytes(8, "little")
            case 5:
                del data[at:]
            case _:
                data[at : at + length] = draw.choice((b"\0", b"\xff", b"\n", b"[", b"\xf0\x9f\x98\x80")) * length
    return bytes(data)


def change_json(content: bytes, draw: random.Random) -> bytes:
    """Replace, remove, add or repeat one value somewhere in it."""
    said = json.loads(content)
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            spots.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(said)
    node, key = draw.choice(spots)
    match draw.randrange(6):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[draw.choice(("", "steps", "__class__", "\ud800"))] = draw.choice(VALUES)
        case 2:
            for _ in range(draw.choice((10, 500, 5000))):
                node[key] = [0]
                node = node[key]
                key = 0
            with suppress(RecursionError):
                return json.dumps(said).encode(errors="surrogatepass")
            return b"[" * 100_000
        case _:
            node[key] = draw.choice(VALUES)
    return json.dumps(said).encode(errors="surrogatepass")


def change_kind(path: Path, draw: random.Random) -> None:
    """Put something else than a file in its place."""
    content = path.read_bytes()
    path.unlink()
    made: tuple[Callable[[], object], ...] = (
        lambda: None,
        lambda: path.mkdir(),
        lambda: os.mkfifo(path),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("absent"),
        lambda: path.symlink_to(os.devnull),
        lambda: path.symlink_to("/dev/zero"),
        lambda: _socket(path),
        lambda: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 3 * 2**30),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(content * 3),
    )
    draw.choice(made)()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, suppress(OSError):  # its path may be too long for one
        made.bind(str(path))


def snapshot(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder with what is in it; of what is no file, what it is."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"a link to {path.readlink()}"
        elif path.is_file() and path.stat().st_size < 2**26:
            found[name] = path.read_bytes()
        else:
            found[name] = oct(path.lstat().st_mode)
    return found
