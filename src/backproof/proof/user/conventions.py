"""What people call a gradient: `dx`, `d_x`, `dL_dx`, `grad_x`, `x_grad`, and second versions such as `dx_fast`."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple


class Convention(NamedTuple):
    """`<prefix><value><suffix>`. A weak one is also a usual name of other things, and needs more evidence."""

    prefix: str
    suffix: str = ""
    weak: bool = False

    def base(self, called: str) -> str:
        """The name of the value whose gradient would be called so; empty where the convention does not fit."""
        if not (called.startswith(self.prefix) and called.endswith(self.suffix)):
            return ""
        return called[len(self.prefix) : len(called) - len(self.suffix)]

    def called(self, name: str) -> str:
        """What the gradient of `name` is called."""
        return f"{self.prefix}{name}{self.suffix}"

    def __str__(self) -> str:
        return self.called("<name>")


class Reading(NamedTuple):
    """One way to read the name of a gradient."""

    base: str
    version: str
    convention: Convention


PLAIN = Convention("d")
_OF_A_LOSS = [
    Convention(f"d{loss}{joint}") for loss in ("L", "l", "loss", "Loss", "J", "E") for joint in ("_d", "d", "_d_", "d_")
]
USUAL = (
    PLAIN,
    Convention("d_"),
    *_OF_A_LOSS,
    Convention("grad_"),
    Convention("grad"),
    Convention("gradient_"),
    Convention("", "_grad"),
    Convention("", "_gradient"),
    Convention("g_", weak=True),
    Convention("g", weak=True),
    Convention("", "_bar", weak=True),
    Convention("", "_g", weak=True),
)
# Second versions of one gradient: another way to write it, or the same once more.
_VERSION = re.compile(
    r"_?(?:manual|manually|by_hand|hand|mine|own|fast|fused|slow|staged|simple|good|better|best|new|old|alt|"
    r"v?\d{1,2}|[ab])$"
)
# Words that begin as a gradient does, and are none.
_ORDINARY = frozenset(
    [
        "data",
        "dataset",
        "dataloader",
        "date",
        "day",
        "days",
        "debug",
        "decay",
        "decoder",
        "deep",
        "default",
        "degree",
        "delta",
        "demo",
        "denom",
        "denominator",
        "density",
        "depth",
        "desired",
        "dest",
        "det",
        "dev",
        "device",
        "devices",
        "df",
        "diag",
        "diagonal",
        "dict",
        "diff",
        "difference",
        "differences",
        "digits",
        "dim",
        "dimension",
        "dimensions",
        "dims",
        "dir",
        "direction",
        "discount",
        "disp",
        "dist",
        "distance",
        "distances",
        "distribution",
        "div",
        "document",
        "documents",
        "domain",
        "done",
        "dot",
        "double",
        "down",
        "draw",
        "draws",
        "drop",
        "dropout",
        "dropped",
        "dt",
        "dtype",
        "dummy",
        "dump",
        "duration",
        "dx_grid",
    ]
)


def readings(called: str, values: Collection[str], conventions: Collection[Convention]) -> list[Reading]:
    """The ways to read `called` as the gradient of one of `values`: those of a whole name before those of a version."""
    whole, versions = [], []
    for convention in conventions:
        base = convention.base(called)
        if base in values:
            whole.append(Reading(base, "", convention))
        elif base and (match := _VERSION.search(base)) and base[: match.start()] in values:
            versions.append(Reading(base[: match.start()], match.group(), convention))
        elif (version := _VERSION.search(called)) and convention.base(called[: version.start()]) in values:
            versions.append(Reading(convention.base(called[: version.start()]), version.group(), convention))
    return whole or versions


def looks_like_a_gradient(called: str, conventions: Collection[Convention]) -> str:
    """The name of the value that would belong to it; empty where the name is a word of its own, or of no convention."""
    if called in _ORDINARY or called.split("_")[0] in _ORDINARY:
        return ""
    return next((base for convention in conventions if (base := convention.base(called).strip("_"))), "")
