"""What backward passes are multiplied by."""

from __future__ import annotations

import pytest
import torch

from backproof.proof.graph.graph import trace
from backproof.proof.verdict.signs import can_be_drawn, sent_twice, signed, signs, wide


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_signs_have_their_sizes_and_no_side(dtype: torch.dtype) -> None:
    drawn = signs(torch.ones(2000, dtype=dtype), torch.Generator().manual_seed(0))
    assert drawn.dtype == wide(dtype)
    assert float(drawn.abs().min()) >= 0.75 and float(drawn.abs().max()) <= 1.25
    assert abs(float(drawn.mean())) < 0.1
    assert signed(torch.ones(3, dtype=dtype), torch.Generator()).dtype == dtype


def test_what_holds_no_ordinary_numbers_is_left_alone() -> None:
    generator = torch.Generator()
    for other in (torch.ones(3, dtype=torch.int64), torch.ones(3).to_sparse(), torch.empty(3, device="meta")):
        assert not can_be_drawn(other, generator)
        assert signed(other, generator) is other


def test_what_a_node_sends_twice_to_one_place() -> None:
    x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    for line, twice in ((x - x, [0, 1]), (x - y, []), (x * 2.0, []), (torch.stack([x, y, x]), [0, 2])):
        assert sent_twice(trace(dict(x=x), line, torch.ones_like(line)).nodes[0]) == twice
