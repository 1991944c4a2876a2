"""One call of a function or of its reference, and what comes back through it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.sides import (
    Side,
    apply_of,
    called,
    cut_off,
    glance_side,
    gradients_of,
    is_function,
    judged_side,
    raw_gradients,
    run_side,
    upstreams_for,
)
from backproof.proof.report.rows import Verdict
from backproof.proof.user.calls import CannotProveError


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, up: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return up * w, up * x  # the engine sums the second one to (1, 3)


VALUES = {"x": torch.arange(6.0).reshape(2, 3), "w": torch.tensor([[1.0, 2.0, 3.0]])}


def side(function: Any = torch.mul, needs: tuple[str, ...] = ("x", "w")) -> Side:
    return run_side("function", function, VALUES, needs, 0)


def test_functions_and_callables() -> None:
    assert is_function(Product) and not is_function(Product.apply) and not is_function(int) and not is_function(3)
    assert apply_of(torch.mul) is torch.mul and callable(apply_of(Product))
    with pytest.raises(CannotProveError, match="Function or a callable; it is a int"):
        apply_of(3)


def test_leaves_of_its_own_in_the_same_layout() -> None:
    values = {"x": VALUES["x"].T, "w": VALUES["w"].T, "n": 3}
    made = run_side("function", lambda x, w, n: x * w * n, values, ("x",), 0)
    x = made.leaves["x"]
    assert x.requires_grad and x.stride() == (1, 3) and x.data_ptr() != values["x"].data_ptr()
    assert not made.leaves["w"].requires_grad and made.leaves["n"] == 3
    assert list(made.differentiable) == ["output"]
    assert list(run_side("function", lambda x, w, n: (x.detach(), x * 2), values, ("x",), 0).differentiable) == [
        "output[1]"
    ]


def test_upstream_gradients_differ_from_output_to_output() -> None:
    both = run_side("function", lambda x, w: (x * w, x + w), VALUES, ("x", "w"), 0)
    one, other = upstreams_for(both, 0).values()
    assert not torch.equal(one, other)
    assert torch.equal(upstreams_for(both, 1)["output[0]"], other)


def test_gradients_of_what_is_needed_and_none_for_the_rest() -> None:
    made = side(needs=("w",))
    up = torch.ones(2, 3)
    found = gradients_of(made, {"output": up}, ("w",), retain=True)
    assert found["w"] is not None and torch.equal(found["w"], VALUES["x"].sum(0, keepdim=True))
    made = side(lambda x, w: x * 2.0)
    assert gradients_of(made, {"output": up}, ("x", "w"))["w"] is None
    detached = side(lambda x, w: (x * w).detach())
    assert gradients_of(detached, {"output": up}, ("x", "w")) == {"x": None, "w": None}


def test_a_graph_is_freed_unless_it_is_retained() -> None:
    made, up = side(lambda x, w: x.exp() * w), {"output": torch.ones(2, 3)}
    gradients_of(made, up, ("x",), retain=True)
    gradients_of(made, up, ("x",))
    with pytest.raises(RuntimeError):
        gradients_of(made, up, ("x",))


def test_what_a_function_returns_before_the_engine_sums_it() -> None:
    raw = raw_gradients(side(Product.apply), {"output": torch.ones(2, 3)})
    assert raw is not None and raw["w"] is not None and raw["w"].shape == (2, 3)
    assert raw_gradients(side(), {"output": torch.ones(2, 3)}) is None


def test_an_output_that_nobody_sends_a_gradient_to_gets_zeros() -> None:
    class Both(Product):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Any:
            ctx.save_for_backward(x, w)
            return x * w, x + w

        @staticmethod
        def backward(ctx: Any, first: Tensor, second: Tensor) -> Any:
            return first + second, None

    raw = raw_gradients(side(Both.apply), {"output[1]": torch.ones(2, 3)})
    assert raw is not None and raw["x"] is not None and torch.equal(raw["x"], torch.ones(2, 3)) and raw["w"] is None


def both(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    first = x * w
    return first, first.exp()


def test_several_outputs_are_judged_together() -> None:
    """The second is computed from the first: only the inputs are judged, and each by all that comes back."""
    reference = side(both)
    upstreams = upstreams_for(reference, 0)
    own = gradients_of(reference, upstreams, ("x", "w"), retain=True)
    rows = judged_side(reference, own, upstreams)
    assert {row.name: row.verdict for row in rows} == {"x": Verdict.EXACT, "w": Verdict.EXACT}
    assert own["x"] is not None
    wrong = {**own, "x": 2 * own["x"]}
    assert [row.name for row in judged_side(reference, wrong, upstreams) if row.culprit] == ["x"]
    seen = glance_side(reference, wrong, upstreams)
    assert seen.faults == {"x"} and set(seen.right) == {"w"}


def test_one_output_is_judged_with_its_own_upstream_gradient() -> None:
    reference = side()
    upstreams = upstreams_for(reference, 0)
    own = gradients_of(reference, upstreams, ("x", "w"), retain=True)
    assert glance_side(reference, own, upstreams).faults == frozenset()
    assert {row.name for row in judged_side(reference, own, upstreams)} == {"x", "w"}


def test_what_a_function_returns_goes_to_the_argument_that_it_is_for() -> None:
    """A callable may hand its arguments on in another order, changed, or with others between."""
    swapped = side(lambda x, w: Product.apply(w, x))
    raw = raw_gradients(swapped, {"output": torch.ones(2, 3)})
    assert raw is not None and raw["x"] is not None and torch.equal(raw["x"], VALUES["w"].expand(2, 3))
    assert set(raw_gradients(side(lambda x, w: Product.apply(x * 2, w)), {"output": torch.ones(2, 3)}) or {}) == {"w"}


def test_outputs_without_a_graph_beside_others_with_one() -> None:
    reference = side(both)
    marked = side(lambda x, w: (both(x, w)[0], both(x, w)[1].detach()))
    assert cut_off(marked, reference) == ["output[1]"] and list(upstreams_for(reference, 0, marked)) == ["output[0]"]
    lost = side(lambda x, w: tuple(one.detach() for one in both(x, w)))
    assert cut_off(lost, reference) == [] == cut_off(None, reference) == cut_off(marked, marked)
    assert len(upstreams_for(reference, 0, lost)) == 2


def test_a_function_that_writes_into_a_leaf_is_given_copies() -> None:
    made = side(lambda x, w: x.mul_(w))
    assert made.on_copies and torch.equal(made.leaves["x"], VALUES["x"])
    found = gradients_of(made, {"output": torch.ones(2, 3)}, ("x",), retain=True)
    assert found["x"] is not None and torch.equal(found["x"], VALUES["w"].expand(2, 3))
    assert made.again is not None and made.again().on_copies
    with pytest.raises(CannotProveError, match="a leaf Variable that requires grad"):
        called("function", lambda x, w: x.mul_(w), side().leaves, 0)


def test_backward_where_nothing_else_goes_through() -> None:
    class Only(Product):
        @staticmethod
        def backward(ctx: Any, up: Tensor) -> Any:
            if calls:
                calls.pop()
                raise RuntimeError("Checkpointing is not compatible with .grad()")
            return Product.backward(ctx, up)[0], None

    calls = [1]
    made = side(Only.apply)
    found = gradients_of(made, {"output": torch.ones(2, 3)}, ("x", "w"))
    assert found["x"] is not None and torch.equal(found["x"], VALUES["w"].expand(2, 3)) and found["w"] is None
    assert made.leaves["x"].grad is None and not calls


def test_sparse_gradients_are_made_dense_unless_they_are_asked_for() -> None:
    made = side(lambda x, w: torch.nn.functional.embedding(torch.tensor([1]), x, sparse=True))
    up = {"output": torch.ones(1, 3)}
    layouts = [gradients_of(made, up, ("x",), retain=True, sparse=sparse)["x"] for sparse in (False, True)]
    assert [one is not None and one.layout for one in layouts] == [torch.strided, torch.sparse_coo]
