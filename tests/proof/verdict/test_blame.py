"""Whose line is at fault: what each gradient is compared with, and which culprits it suffers from."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.proof.graph.graph import trace
from backproof.proof.graph.node import dense
from backproof.proof.graph.passes import autograds
from backproof.proof.verdict.blame import Blames, blame
from backproof.proof.verdict.decide import Known


def chain() -> dict[str, Tensor]:
    """x -> a -> b, c -> loss: two ways from a, and one on from each."""
    x = torch.linspace(1, 2, 6).requires_grad_()
    a = x**2
    b = a * 3.0
    c = a.exp() * 0.1
    return dict(x=x, a=a, b=b, c=c, loss=(b * c).sum())


def judged(
    values: dict[str, Tensor], changes: dict[str, Tensor] | None = None, misshapen: dict[str, Known] | None = None
) -> Blames:
    """With autograd's own gradients, save for `changes`."""
    graph = trace(values, values["loss"])
    own = autograds(graph)
    right = {name: dense(one).clone() for name, one in own.items() if one is not None}
    given = {name: one for name, one in {**right, **(changes or {})}.items() if name not in (misshapen or {})}
    return blame(graph, given, own, misshapen or {})


def gradient(values: dict[str, Tensor], name: str) -> Tensor:
    return torch.autograd.grad(values["loss"], values[name], retain_graph=True)[0]


def culprits(found: Blames) -> set[str]:
    return {name for name, one in found.found.items() if one.culprit}


def test_right_gradients_are_their_own_and_nobody_suffers() -> None:
    found = judged(chain())
    assert {one.decision.known for one in found.found.values()} == {Known.EQUAL_BITS}
    assert not any(one.decision.roots for one in found.found.values())


def test_a_wrong_line_is_the_culprit_and_what_follows_it_inherits() -> None:
    values = chain()
    wrong = gradient(values, "b") * 2
    up = gradient(values, "c")
    heir = 3 * wrong + up * values["a"].detach().exp() * 0.1
    found = judged(values, {"b": wrong, "a": heir, "x": 2 * values["x"].detach() * heir})
    assert culprits(found) == {"b"}
    assert found.found["a"].decision.roots == ("b",) and found.found["x"].decision.roots == ("b",)
    assert found.found["c"].decision.roots == ()


def test_an_heir_of_two_culprits_names_both_and_the_nearer_one_stands_before_the_farther() -> None:
    values = chain()
    wrong = {name: gradient(values, name) * 2 for name in ("b", "c")}
    heir = gradient(values, "a") * 2
    found = judged(values, {**wrong, "a": heir, "x": heir})  # dx lacks a factor: a culprit itself, behind the others
    assert culprits(found) == {"b", "c", "x"}
    assert set(found.found["a"].decision.roots) == {"b", "c"}
    found = judged(values, {**wrong, "a": heir * 3, "x": 2 * values["x"].detach() * heir * 3})
    assert found.found["x"].decision.roots == ("a",)  # a is wrong itself, and what is behind it is not named again


def test_what_is_right_by_value_hands_no_blame_on() -> None:
    """A line that puts right what came: da is autograd's own, and with it all that follows."""
    values = chain()
    found = judged(values, {"b": gradient(values, "b").roll(1)})
    assert culprits(found) == {"b"}
    assert found.found["a"].decision.known is Known.EQUAL_BITS
    assert found.found["x"].decision.roots == ()


def test_what_proves_nothing_by_value_hands_the_blame_on() -> None:
    """A zero is no proof that its line did not read the wrong gradient: what follows it may still inherit."""
    x = torch.ones(4, requires_grad=True)
    a = x + 0.0
    b = a * torch.tensor([0.0, 0.0, 0.0, 0.0])
    values = dict(x=x, a=a, b=b, loss=(b * torch.arange(4.0)).sum())
    found = judged(values, {"b": torch.full((4,), 5.0)})
    assert culprits(found) == {"b"}
    assert found.found["a"].decision.known is Known.NOISE
    found = judged(values, {"b": torch.full((4,), 5.0), "x": torch.ones(4)})
    assert found.found["x"].decision.roots == ("b",)


def test_a_gradient_of_a_wrong_shape_is_a_root_although_it_is_not_compared() -> None:
    values = chain()
    found = judged(values, {"a": gradient(values, "a") * 5}, {"b": Known.OTHER_SHAPE})
    assert "b" not in found.found
    assert found.found["a"].decision == (Known.BEHIND_A_SHAPE, ("b",), False, False)


def test_a_shape_that_is_inherited_is_nobodys_root() -> None:
    values = chain()
    wrong = {name: gradient(values, name) * 5 for name in ("a", "x")}
    found = judged(values, wrong, {"b": Known.SHAPE_FROM_ABOVE})
    assert culprits(found) == {"a"}


def test_a_gradient_changed_after_its_use_is_the_culprit_and_its_users_are_right_as_they_were() -> None:
    values = chain()
    changed = gradient(values, "b").clone()
    a = 3 * changed + gradient(values, "c") * values["a"].detach().exp() * 0.1
    changed.mul_(2)
    found = judged(values, {"b": changed, "a": a, "x": 2 * values["x"].detach() * a})
    assert culprits(found) == {"b"}
    assert found.found["a"].decision.as_used


def test_an_accusation_is_doubted_first() -> None:
    """x² from 10,000: the allowance of the line alone would not do, and stands widened in what is reported."""
    x = (1e4 + torch.rand(6, generator=torch.Generator().manual_seed(0))).requires_grad_()
    values = dict(x=x, loss=((x - 1e4) ** 2).sum())
    right = gradient(values, "x")
    plain = judged(values).measures["x"].allowed
    found = judged(values, {"x": right + 3e-3})
    assert not culprits(found)
    assert bool((found.measures["x"].allowed > 2 * plain).all())
    assert found.found["x"].numbers.yardstick is found.measures["x"]


def test_what_a_right_gradient_would_look_like() -> None:
    values = chain()
    found = judged(values, misshapen={"b": Known.OTHER_SHAPE})
    right = found.as_if_right("b")
    assert torch.equal(right.numbers.got, gradient(values, "b")) and not right.culprit
    assert right.numbers.yardstick is found.measures["b"]


def test_sparse_gradients_are_compared_by_their_numbers() -> None:
    table = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rows = torch.tensor([1, 1, 4])
    emb = torch.nn.functional.embedding(rows, table, sparse=True)
    values = dict(table=table, emb=emb, loss=(emb**2).sum())
    found = judged(values)
    assert found.found["table"].decision.known is Known.EQUAL_BITS
    right = 2 * emb.detach()
    wrong = torch.zeros(7, 3).index_copy(0, torch.tensor([1, 4]), right[1:])  # the last writer wins
    assert culprits(judged(values, {"table": wrong})) == {"table"}
