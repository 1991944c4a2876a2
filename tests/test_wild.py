"""The benchmark of what people really write: its programs are what they say, and its table can fail."""

from __future__ import annotations

import pytest
import torch

import wild
from in_the_wild import Found, Function, Pass, entries

ALL = entries()
QUICK = ("swiglu", "prelu", "top-k values", "l2 normalise", "triplet loss", "mlp, dx", "linear solve, x_bar",
         "layers of a class", "manual version", "freed graph")  # fmt: skip


def named(name: str) -> Found:
    return next(found for found in ALL if found.entry.name == name)


def test_names_are_unique_and_every_wrong_line_can_be_put_in_place() -> None:
    assert len({found.entry.name for found in ALL}) == len(ALL)
    for found in ALL:
        wrong = found.wrong()  # raises unless the right line is there once
        assert wrong.name == found.entry.name and wrong is not found.entry


@pytest.mark.parametrize("found", [one for one in ALL if isinstance(one.entry, Pass)], ids=lambda one: one.entry.name)
def test_a_pass_is_right_and_with_its_fault_it_is_not(found: Found) -> None:
    assert _agrees(found.entry) and not _agrees(found.wrong())


def _agrees(entry: object) -> bool:
    assert isinstance(entry, Pass)
    names = entry.run()
    value, got = (eval(text, {"torch": torch}, names) for text in (entry.value, entry.gradient))
    if names["loss"].grad_fn is None or entry.name == "freed graph":
        wanted = value.grad
    else:
        (wanted,) = torch.autograd.grad(names["loss"], value, retain_graph=True)
    return got.shape == wanted.shape and torch.allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", QUICK)
def test_backproof_accepts_the_right_program_and_catches_the_wrong_one(name: str) -> None:
    got = wild.outcome(named(name), wild.by_backproof)
    assert (got.right, got.wrong, got.line) == ("accepted", "caught", True), got.words


def test_gradcheck_is_asked_where_it_can_be() -> None:
    got = wild.outcome(named("triplet loss"), wild.by_gradcheck)
    assert (got.right, got.wrong) == ("accepted", "caught")
    assert wild.outcome(named("mlp, dx"), wild.by_gradcheck).right is None


def test_the_table_can_fail() -> None:
    found = named("triplet loss")
    entry = found.entry
    assert isinstance(entry, Function)
    spoilt = entry._replace(function=found.wrong().function)  # type: ignore[union-attr]
    accused = wild.outcome(found._replace(entry=spoilt), wild.by_backproof)
    assert accused.right == "ACCUSED"
    passed = wild.outcome(found, lambda entry: wild.Said(False, proved=frozenset({"n"}), ok=True))
    assert (passed.right, passed.wrong, passed.line) == ("accepted", "CALLED PROVED", False)
    elsewhere = wild.outcome(found, lambda entry: wild.Said(True, frozenset({"a"}), {"a": ("F13",)}))
    assert (elsewhere.wrong, elsewhere.line, elsewhere.cause) == ("caught", False, False)
    missed = wild.goals_missed([found, found], [accused, passed])
    assert missed[:2] == ["triplet loss is right and was accused", "triplet loss is wrong and was called proved"]
    assert (
        missed[3] == "1 of 2 causes right, fewer than 90%"
        and missed[2] == "1 of 2 inputs or lines right, fewer than 98%"
    )


def test_a_name_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["wild.py", "--only", "no such thing"])
    with pytest.raises(SystemExit):
        wild.main()
