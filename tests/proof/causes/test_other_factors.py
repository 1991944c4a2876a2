"""Another value in the place of a factor."""

from __future__ import annotations

import pytest
import torch

from backproof.proof.check import check

RANDOM = torch.Generator().manual_seed(3)
STATES, ACTIONS, RETURNS = torch.randn(8, 4, generator=RANDOM), torch.arange(8) % 3, torch.randn(8, generator=RANDOM)
THETA = torch.randn(4, 3, generator=RANDOM)


@pytest.mark.parametrize(("name", "right"), [("advantage", True), ("returns", False)])
def test_a_named_value_stands_where_another_belongs(name: str, right: bool) -> None:
    theta, returns = THETA.clone().requires_grad_(), RETURNS
    advantage = returns - returns.mean() + 0.5
    logits = STATES @ theta
    chosen = torch.log_softmax(logits, 1).gather(1, ACTIONS[:, None]).squeeze(1)
    loss = -(chosen * advantage).mean() + 0.1 * logits.square().mean()
    probs, onehot = torch.softmax(logits.detach(), 1), torch.nn.functional.one_hot(ACTIONS, 3)
    factor = {"advantage": advantage, "returns": returns}[name]
    dlogits = (probs - onehot) * factor[:, None] / 8 + 0.2 * logits.detach() / 24
    values = {"loss": loss, "logits": logits, "returns": returns, "advantage": advantage, "dlogits": dlogits}
    row = check(loss, values)["logits"]
    assert row.ok == right
    if not right:
        assert row.cause == "F15"
        assert "returns stands where another factor belongs" in row.message


@pytest.mark.parametrize(("shift", "words"), [(1, "after"), (-1, "before")])
def test_the_factor_of_the_step_beside(shift: int, words: str) -> None:
    a = torch.rand(3, 6, generator=RANDOM).requires_grad_()
    b = torch.randn(3, 6, generator=RANDOM)
    h = [b[:, 0]]
    for t in range(1, 6):
        h.append(a[:, t] * h[-1] + b[:, t])
    y = torch.stack(h, 1)
    up = torch.randn(3, 6, generator=RANDOM)
    with torch.no_grad():
        da, carry = torch.zeros(3, 6), torch.zeros(3)
        for t in reversed(range(1, 6)):
            carry = carry + up[:, t]
            da[:, t] = carry * y[:, max(0, t - 1 + shift)]
            carry = carry * a[:, t]
    row = check(y, {"a": a, "y": y, "da": da}, upstream=up)["a"]
    assert row.cause == "F15"
    assert f"the factor of the step {words} stands in" in row.message


def test_products_of_other_sizes_are_no_rounds_of_a_loop() -> None:
    image = torch.randn(2, 4, 5, generator=RANDOM).requires_grad_()
    points = (0.2 + 2.6 * torch.rand(6, 2, generator=RANDOM)).requires_grad_()
    across = (1 - (points[:, :1] - torch.arange(5.0)).abs()).clamp(min=0)
    down = (1 - (points[:, 1:] - torch.arange(4.0)).abs()).clamp(min=0)
    rows = torch.bmm(image.view(1, 8, 5), across[None].permute(0, 2, 1)).view(2, 4, 6)
    y = torch.bmm(down[:, None], rows.permute(2, 1, 0)).squeeze(1)
    up = torch.randn(6, 2, generator=RANDOM)
    dimage, dpoints = torch.autograd.grad(y, [image, points], up, retain_graph=True)
    dpoints[:, 0] = torch.randn(6, generator=RANDOM)
    row = check(y, {"image": image, "points": points, "y": y, "dimage": dimage, "dpoints": dpoints}, upstream=up)[
        "points"
    ]
    assert row.verdict == "wrong"
    assert row.cause is None
