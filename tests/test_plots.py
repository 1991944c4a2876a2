import struct

import numpy as np
import pytest

from backproof import plots


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


@pytest.mark.parametrize("steps", [1, 2, 19, 20_001])
def test_losses_of_any_length_are_drawn(steps: int):
    losses = 0.4 + 0.05 * np.random.default_rng(0).standard_normal(steps).astype(np.float32)
    assert min(size_of(plots.loss_png(losses, steps // 2))) > 400


@pytest.mark.parametrize("zeros", [slice(0, 1), slice(20, 90), slice(None)])
def test_losses_of_0_are_gaps(zeros: slice):
    losses = np.linspace(0.5, 0.4, 100, dtype=np.float32)
    losses[zeros] = -np.inf
    assert min(size_of(plots.loss_png(losses, 50))) > 400


@pytest.mark.parametrize("symbols", [2, 27, 300])
def test_dlogits_of_any_vocabulary_are_drawn(symbols: int):
    labels = [".", "$", "李", "^_", *(chr(0x430 + i) for i in range(symbols))][:symbols]
    png = plots.dlogits_png(np.zeros((5, symbols)), [f"..$ → {i}" for i in range(5)], labels)
    width, height = size_of(png)
    assert 100 < height < 2000
    assert width <= 14 * 110


def test_the_picture_shows_the_numbers():
    flat = plots.dlogits_png(np.zeros((4, 4)), list("abcd"), list("wxyz"))
    strong = plots.dlogits_png(np.eye(4) / 4, list("abcd"), list("wxyz"))
    assert flat != strong
