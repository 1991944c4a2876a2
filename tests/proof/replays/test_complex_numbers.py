"""Complex inputs and outputs of kernels: right ones are proved, and each part of a wrong one is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from backproof.proof.function import prove_function
from backproof.proof.prove import prove
from backproof.proof.replays.complex_numbers import _equal, parts_of, whole_row
from backproof.proof.report.rows import Row, Verdict
from backproof.proof.user.calls import CannotProveError


def mixing(z: Tensor, w: Tensor) -> Tensor:
    """A complex linear layer: z of shape (n, 3), w of shape (3, 4)."""
    return z @ w


def mixing_inputs(n: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 3, dtype=torch.cfloat), torch.randn(3, 4, dtype=torch.cfloat)


def mixing_kernel(dz: Callable) -> type[Function]:
    class Mixing(Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(z, w)
            return z @ w

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            z, w = ctx.saved_tensors
            return dz(g, w), z.mH @ g

    return Mixing


def test_a_right_complex_layer_is_proved_in_every_replay() -> None:
    report = prove_function(mixing_kernel(lambda g, w: g @ w.mH), mixing, mixing_inputs)
    assert report.ok and {row.verdict for row in report.rows} <= {Verdict.EXACT, Verdict.ROUNDING}
    skipped = [one for one in report.skipped if "no complex numbers" not in one]
    assert skipped == [] and len(report.skipped) == 2


@pytest.mark.parametrize(
    ("dz", "cause", "said"),
    [
        (lambda g, w: g @ w.mT, "F16", "lacks a conjugate"),
        (lambda g, w: (g @ w.mH).conj(), "F13", "the conjugate of the right gradient"),
        (lambda g, w: (g @ w.mH).real + 0j, "F6", "no imaginary part; its real part is right"),
        (lambda g, w: torch.complex((g @ w.mH).real, (g @ w.mH).imag * 3), None, "wrong imaginary part; its real part"),
        (lambda g, w: -(g @ w.mH), "F13", "wrong sign"),
        (lambda g, w: 0.5 * (g @ w.mH), "F12", "constant factor 1/2"),
    ],
)
def test_wrong_complex_gradients_are_told_apart(dz: Callable, cause: str | None, said: str) -> None:
    report = prove_function(mixing_kernel(dz), mixing, mixing_inputs, dtypes=())
    assert [(row.name, row.cause) for row in report.culprits] == [("z", cause)]
    assert said in report["z"].message and "part: got" in report["z"].message and "view" not in report["z"].message


@pytest.mark.parametrize("right", [True, False])
def test_a_real_parameter_of_a_complex_layer_lacks_a_conjugate(right: bool) -> None:
    class Rotate(Function):
        """y = z e^(i a), for real angles a."""

        @staticmethod
        def forward(ctx: Any, z: Tensor, a: Tensor) -> Tensor:
            turn = torch.polar(torch.ones_like(a), a)
            ctx.save_for_backward(z, turn)
            return z * turn

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            z, turn = ctx.saved_tensors
            slope = 1j * z * turn
            return g * turn.conj(), (g * (slope.conj() if right else slope)).real.sum(0)

    def rotated(z: Tensor, a: Tensor) -> Tensor:
        return z * torch.polar(torch.ones_like(a), a)

    report = prove_function(Rotate, rotated, lambda n=4: (torch.randn(n, 3, dtype=torch.cfloat), torch.randn(3)))
    assert [(row.name, row.cause) for row in report.culprits] == ([] if right else [("a", "F16")]), report


def test_outputs_that_are_real_and_complex_are_sent_back_through_together() -> None:
    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = torch.fft.rfft(x)
        return spectrum, spectrum.abs().square().sum(-1)

    report = prove_function(both, both, lambda n=3: (torch.randn(n, 6),), dtypes=())
    assert report.ok and report["x"].verdict in (Verdict.EXACT, Verdict.ROUNDING)


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, Verdict.EXACT), (1e-3j, Verdict.WRONG), (1e-3, Verdict.WRONG)])
def test_each_part_of_a_complex_output_is_compared(shift: complex, verdict: Verdict) -> None:
    def polar(r: Tensor, a: Tensor) -> Tensor:
        return torch.polar(r.exp(), a)

    def inputs(n: int = 4) -> tuple[Tensor, Tensor]:
        return torch.randn(n, 2), torch.randn(n, 2)

    report = prove_function(lambda r, a: polar(r, a) + shift, polar, inputs, dtypes=())
    assert report["output"].verdict is verdict
    if verdict is Verdict.WRONG:
        assert f"{'imaginary' if isinstance(shift, complex) else 'real'} part" in report["output"].message


def test_float64_goes_to_complex128_where_a_wrong_formula_stays_wrong() -> None:
    """The eighth digit is rounding in complex64, and none in complex128."""
    right = mixing_kernel(lambda g, w: g @ w.mH)
    slightly = mixing_kernel(lambda g, w: (g @ w.mH) * (1 + (1e-3 if g.dtype is torch.complex128 else 0)))
    assert prove_function(right, mixing, mixing_inputs, dtypes=()).ok
    report = prove_function(slightly, mixing, mixing_inputs, dtypes=())
    assert [(row.name, row.replay) for row in report.culprits] == [("z", "float64")]


def test_a_kernel_that_overlooks_a_pending_conjugation_is_found() -> None:
    def reads_memory(g: Tensor, w: Tensor) -> Tensor:
        return (g.conj() if g.is_conj() else g) @ w.mH  # as a kernel of one's own reads the numbers

    report = prove_function(mixing_kernel(reads_memory), mixing, mixing_inputs, dtypes=())
    assert [(row.name, row.cause, row.replay) for row in report.culprits] == [("z", "F2", "upstream conjugated")]


def test_a_gradient_of_a_wrong_shape_says_what_its_last_dimension_is() -> None:
    report = prove_function(mixing_kernel(lambda g, w: (g @ w.mH).sum(0)), mixing, mixing_inputs, dtypes=())
    assert report["z"].verdict is Verdict.SHAPE and "holds real and imaginary part" in report["z"].message


def test_prove_says_that_complex_inputs_are_not_followed() -> None:
    with pytest.raises(CannotProveError, match="The input z is complex, and prove follows real inputs only"):
        prove(lambda z: {"y": z.abs()}, lambda s, dy: {"z": dy}, {"z": torch.ones(2, dtype=torch.cfloat)})


def test_rows_without_evidence_stay_and_real_gradients_have_no_imaginary_part() -> None:
    row = Row("z", Verdict.EXACT)
    assert whole_row(row, None, parts=True) is row
    real = parts_of({"z": torch.ones(2), "x": torch.ones(2), "none": None}, {"z", "none"})
    assert real["none"] is None and real["x"] is not None and real["x"].shape == (2,)
    assert real["z"] is not None and real["z"].tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize(("roundings", "equal"), [(60, True), (70, False)])
def test_equal_is_what_is_off_by_64_roundings_of_the_largest_number(roundings: int, equal: bool) -> None:
    other = torch.tensor([1e-3, 1.0], dtype=torch.float64)
    for place in (0, 1):
        got = other.clone()
        got[place] += roundings * torch.finfo(torch.float64).eps
        assert _equal(got, other) is equal


def test_zeros_and_nothing_and_other_shapes_are_equal_to_no_gradient() -> None:
    for other in (torch.zeros(2), torch.empty(0), torch.tensor([1.0, float("inf")])):
        assert not _equal(other.clone(), other)
    assert not _equal(torch.ones(2), torch.ones(1)) and _equal(torch.ones(2), torch.ones(2))
