"""The table of replays: each has a name of its own, a group and a meaning, and can be left out by either."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.pair import Pair
from backproof.proof.replays.pair_calls import Functions
from backproof.proof.replays.runner import Replay, prove_subject
from backproof.proof.replays.subject import FIRST, Proof, SkippedError
from backproof.proof.replays.table import replays_of_kernels, replays_of_pairs
from backproof.proof.user.calls import CannotProveError

GROUPS = {"state", "upstream", "outputs", "inputs", "layouts", "dtypes", "sizes"}


def forward(x: Tensor, w: Tensor) -> dict[str, Tensor]:
    return {"y": x * w}


def backward(values: dict[str, Tensor], dy: Tensor) -> dict[str, Tensor]:
    return {"y": dy}


def inputs(n: int = 5, width: int = 3) -> dict[str, Tensor]:
    return {"x": torch.randn(n, width), "w": torch.randn(width)}


PAIR = Pair(Functions(forward, backward, inputs, constants=frozenset({"x", "w"})))
KERNEL = Kernel(torch.mul, lambda x, w: x * w, inputs)


def names(replays: list[Replay]) -> list[str]:
    return [replay.name for replay in replays]


def of_pair(sizes: tuple[int, ...] = (7,)) -> list[Replay]:
    return replays_of_pairs(Proof(PAIR, PAIR.tried(FIRST)), sizes)


def of_kernel(sizes: tuple[int, ...] = (7,)) -> list[Replay]:
    return replays_of_kernels(Proof(KERNEL, KERNEL.tried(FIRST)), (torch.bfloat16,), sizes)


@pytest.mark.parametrize("replays", [of_pair(), of_kernel()])
def test_a_replay_has_a_name_of_its_own_a_group_and_a_meaning(replays: list[Replay]) -> None:
    assert len(set(names(replays))) == len(replays)
    assert {replay.group for replay in replays} <= GROUPS
    assert all(replay.meaning and not replay.meaning.endswith(".") for replay in replays)
    assert not GROUPS - {"sizes"} & set(names(replays))  # a name that is a group as well would be ambiguous


def test_both_kinds_share_what_makes_sense_for_both() -> None:
    shared = {"arguments unchanged", "second backward", "upstream strided", "float64", "size 7", "size width=5"}
    assert shared <= set(names(of_pair())) & set(names(of_kernel()))
    same = {replay.name: replay.rows for replay in of_pair()}["second backward"]
    assert {replay.name: replay.rows for replay in of_kernel()}["second backward"] is same


def test_a_group_is_data_and_leaves_out_all_of_its_replays() -> None:
    made: list[str] = []

    def replay(name: str, group: str) -> Replay:
        def rows(proof: object, ledger: object) -> list:
            made.append(name)
            return []

        return Replay(name, group, "it is made", rows)

    table = [replay("one", "first"), replay("two", "first"), replay("first class", "second"), replay("four", "second")]
    report = prove_subject(PAIR, lambda proof: table, ["first", "four"])
    assert made == ["first class"]
    assert report.skipped == ("one: left out as asked.", "two: left out as asked.", "four: left out as asked.")
    with pytest.raises(CannotProveError, match="no replay 'third' to skip; there are one, two, first class, four, fi"):
        prove_subject(PAIR, lambda proof: table, "third")


def test_a_replay_that_cannot_be_made_is_listed_and_the_others_are_made() -> None:
    def skipped(proof: object, ledger: object) -> list:
        raise SkippedError("there is no moon tonight.")

    def refused(proof: object, ledger: object) -> list:
        raise CannotProveError("forward raised ValueError at line 3: x", brief="forward raised ValueError")

    table = [Replay("moon", "sky", "light", skipped), Replay("sun", "sky", "light", refused)]
    report = prove_subject(PAIR, lambda proof: table, ())
    assert report.skipped == ("moon: there is no moon tonight.", "sun: forward raised ValueError.")


def test_parts_of_a_kernel_are_used_where_it_has_several() -> None:
    """Each input alone, from three on all but each, which of two would be the same again; and each output."""

    def made(function: Callable, *inputs: Tensor) -> list[str]:
        kernel = Kernel(function, function, inputs)
        table = replays_of_kernels(Proof(kernel, kernel.tried(FIRST)), (), ())
        parts = (replay.name for replay in table if replay.group in ("inputs", "outputs"))
        return [name for name in parts if name != "upstream undefined"]

    x, y, z = torch.rand(3), torch.rand(3), torch.rand(3)
    assert made(lambda x: x.exp(), x) == []
    assert made(lambda x, y: x * y, x, y) == ["only x needs a gradient", "only y needs a gradient"]
    found = made(lambda x, y, z: (x * y, z.exp()), x, y, z)
    assert {name for name in found if name.startswith("all but")} == {f"all but {n} need a gradient" for n in "xyz"}
    assert {name for name in found if "output" in name} == {"only output[0]", "only output[1]"} and len(found) == 8


def test_the_parameters_of_a_module_are_frozen_together() -> None:
    def made(net: torch.nn.Module) -> list[str]:
        kernel = Kernel(net, net, (torch.rand(3, 2),))
        table = replays_of_kernels(Proof(kernel, kernel.tried(FIRST)), (), ())
        return [replay.name for replay in table if replay.group == "inputs"]

    assert made(torch.nn.Linear(2, 2)) == ["only input needs a gradient", "only the parameters need a gradient"]
    alone = made(torch.nn.Linear(2, 2, bias=False))
    assert alone == ["only input needs a gradient", "only weight needs a gradient"]
