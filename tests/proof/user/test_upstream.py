"""Upstream gradients to prove with."""

from __future__ import annotations

import torch

from backproof.proof.user.upstream import upstream_for


def test_the_same_numbers_in_every_dtype_and_others_for_every_seed() -> None:
    x = torch.empty(40, 5)
    one = upstream_for(x, 3)
    assert torch.equal(one, upstream_for(x, 3)) and not torch.equal(one, upstream_for(x, 4))
    assert torch.equal(upstream_for(x.double(), 3).float(), one)
    assert upstream_for(x.bfloat16(), 3).dtype is torch.bfloat16
    assert abs(float(one.mean())) < 0.2 and 0.8 < float(one.std()) < 1.2
    assert upstream_for(torch.empty(3, dtype=torch.complex64), 3).imag.all()


def test_a_single_number_gets_neither_one_nor_nearly_zero() -> None:
    """With one, a line that ignores it is right; with nearly zero, all gradients vanish."""
    drawn = [float(upstream_for(torch.tensor(0.0), seed)) for seed in range(200)]
    assert max(drawn) <= -1.25 and min(drawn) > -6
    assert max(drawn) > -1.3


def test_a_plain_loss_gets_one() -> None:
    assert float(upstream_for(torch.tensor(7.0), 3, unit=True)) == 1.0
    assert not torch.equal(upstream_for(torch.empty(3), 3, unit=True), torch.ones(3))
