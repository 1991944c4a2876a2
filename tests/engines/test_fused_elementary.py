"""tanh, exp and log of the kernel against float64, in units in the last place."""

from __future__ import annotations

import numpy as np
import pytest
from native import _fused


def worst_ulp(name: str, truth, x: np.ndarray) -> float:
    got, true = _fused.elementary(name, x), truth(x.astype(np.float64))
    return float((np.abs(got - true) / np.spacing(np.abs(true).astype(np.float32))).max())


def every_nth_float(low: float, high: float, count: int) -> np.ndarray:
    """Floats from low to high, both positive, evenly spaced in their bits: every size of number gets its share."""
    bits = np.array([low, high], dtype=np.float32).view(np.int32)
    return np.linspace(bits[0], bits[1], count).astype(np.int32).view(np.float32)


def test_tanh(isa):
    x = every_nth_float(1e-38, 3e38, 1_000_001)
    x = np.concatenate([x, -x, every_nth_float(0.01, 10, 1_000_001)])
    assert worst_ulp("tanh", np.tanh, x) <= 7
    assert np.abs(_fused.elementary("tanh", x)).max() == 1


def test_exp(isa):
    assert worst_ulp("exp", np.exp, -every_nth_float(1e-30, 87.3, 1_000_001)) <= 3
    assert _fused.elementary("exp", np.array([0, -88, -1e30], dtype=np.float32)).tolist() == [1, 0, 0]


def test_log(isa):
    x = every_nth_float(1, 1e6, 1_000_001)
    truth = np.log(x.astype(np.float64))
    error = np.abs(_fused.elementary("log", x) - truth)
    assert (error <= 3 * np.spacing(truth.astype(np.float32))).all()
    assert _fused.elementary("log", np.ones(1, np.float32))[0] == 0


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17])
def test_arrays_of_any_size(isa, size):
    x = np.linspace(-1, 1, size, dtype=np.float32)
    np.testing.assert_allclose(_fused.elementary("tanh", x), np.tanh(x), rtol=1e-6)


def test_what_is_not_finite(isa):
    inf, nan = np.float32(np.inf), np.float32(np.nan)
    assert np.array_equal(_fused.elementary("tanh", np.array([nan, inf, -inf])), np.array([nan, 1, -1]), equal_nan=True)
    assert np.array_equal(_fused.elementary("exp", np.array([nan, -inf])), np.array([nan, 0]), equal_nan=True)
    assert np.isnan(_fused.elementary("log", np.array([nan, inf]))).all()  # infinity too: a sum of counts cannot be


def test_an_unknown_name():
    with pytest.raises(ValueError, match="name must be tanh, exp or log; got sin"):
        _fused.elementary("sin", np.zeros(3, np.float32))
