"""Many steps: repeatable, the same however they are cut into calls, and the same as an eager loop but for rounding."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from native import _fused
from reference import NAMES, Sizes, examples, make_parameters, make_stream, manual

SIZES = Sizes(27, 10, 3, 50, 32)


def make_trainer(sizes: Sizes = SIZES):
    stream = make_stream(sizes, words=500)
    return _fused.Trainer(*make_parameters(sizes), stream, sizes.block, correction=sizes.correction)


def draw(trainer, steps: int, batch: int, rate: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    indices = np.random.default_rng(5).integers(0, trainer.examples, (steps, batch))
    return indices, np.full(steps, rate, dtype=np.float32)


def same(first, second) -> bool:
    return all(np.array_equal(a.view(np.int32), b.view(np.int32)) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("sizes", [SIZES, Sizes(300, 3, 2, 17, 7, 0)], ids=["published but smaller", "odd"])
def test_repeats_bit_by_bit_however_it_is_cut(isa, sizes):
    whole, parts = make_trainer(sizes), make_trainer(sizes)
    indices, rates = draw(whole, 60, sizes.batch)
    losses = whole.run(indices, rates)
    cut = [parts.run(indices[a:b], rates[a:b]) for a, b in ((0, 1), (1, 2), (2, 2), (2, 45), (45, 60))]
    assert np.array_equal(losses, np.concatenate(cut))
    assert same(whole.parameters(), parts.parameters())


def test_another_batch_size_and_a_look_at_gradients_in_between_change_nothing(isa):
    plain, disturbed = make_trainer(), make_trainer()
    indices, rates = draw(plain, 20, 32)
    plain.run(indices, rates)
    disturbed.run(indices[:10], rates[:10])
    disturbed.gradients(np.arange(77))
    disturbed.gradients(np.arange(2))
    disturbed.run(indices[10:], rates[10:])
    assert same(plain.parameters(), disturbed.parameters())


def test_load_restores_a_snapshot(isa):
    trainer = make_trainer()
    indices, rates = draw(trainer, 30, 32)
    trainer.run(indices[:10], rates[:10])
    snapshot = trainer.parameters()
    first = trainer.run(indices[10:], rates[10:])
    end = trainer.parameters()
    trainer.load(*snapshot)
    assert same(snapshot, trainer.parameters())
    assert np.array_equal(first, trainer.run(indices[10:], rates[10:]))
    assert same(end, trainer.parameters())


def test_each_step_has_its_own_rate(isa):
    trainer, other = make_trainer(), make_trainer()
    indices, _ = draw(trainer, 3, 32)
    rates = np.array([0.1, 0.0, 0.02], dtype=np.float32)
    trainer.run(indices, rates)
    other.run(indices[:1], rates[:1])
    after_first = other.parameters()
    other.run(indices[1:2], rates[1:2])
    assert same(after_first, other.parameters())  # rate 0: nothing moves
    other.run(indices[2:], rates[2:])
    assert same(trainer.parameters(), other.parameters())


def eager_parameters(sizes: Sizes, indices: np.ndarray, dtype: torch.dtype) -> list[torch.Tensor]:
    stream = make_stream(sizes, words=500)
    tensors = [torch.tensor(p).to(dtype) for p in make_parameters(sizes)]
    for row in indices:
        X, Y = (torch.from_numpy(a) for a in examples(stream, sizes.block, row))
        for tensor, gradient in zip(tensors, manual(tensors, X, Y, sizes.correction)[1], strict=True):
            tensor -= 0.1 * gradient
    return tensors


def test_a_thousand_steps_agree_with_an_eager_loop_to_rounding(isa):
    """The yardstick is how far PyTorch's own float32 and float64 loops have drifted apart after the same steps.

    Or a unit in the last place: b1, whose gradient is all rounding, may have drifted by less than it is stored to.
    """
    trainer = make_trainer()
    indices, rates = draw(trainer, 1000, 32)
    trainer.run(indices, rates)
    truth, float32 = (
        eager_parameters(SIZES, indices, torch.float64),
        eager_parameters(SIZES, indices, torch.float32),
    )
    for name, ours, true, theirs in zip(NAMES, trainer.parameters(), truth, float32, strict=True):
        drift = float((theirs.double() - true).abs().max())
        error = float((torch.from_numpy(ours).double() - true).abs().max())
        unit = torch.finfo(torch.float32).eps * float(true.abs().max())
        assert error <= max(3 * drift, unit), (name, error, drift)
        assert error < 1e-3, (name, error)


def eager_losses(parameters, indices: np.ndarray) -> list[float]:
    tensors = [torch.from_numpy(p.copy()) for p in parameters]
    losses = []
    for row in indices:
        X, Y = (torch.from_numpy(a) for a in examples(make_stream(SIZES, words=500), SIZES.block, row))
        loss, gradients = manual(tensors, X, Y, SIZES.correction)
        losses.append(float(loss))
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor -= 0.1 * gradient
    return losses


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", range(7), ids=NAMES)
def test_what_is_not_finite_is_seen_when_pytorch_sees_it(isa, poison, where):
    """One bad number in each parameter in turn. An infinite bnbias gives finite losses, in PyTorch too."""
    parameters = [p.copy() for p in make_parameters(SIZES)]
    parameters[where].flat[0] = poison  # C's row 0 is the symbol 0, which begins every word
    trainer = _fused.Trainer(*parameters, make_stream(SIZES, words=500), SIZES.block)
    indices, rates = draw(trainer, 3, 32)
    losses = trainer.run(indices, rates)
    assert np.isfinite(losses).tolist() == np.isfinite(eager_losses(parameters, indices)).tolist()
    assert np.isnan(poison) <= np.isnan(losses).all()
    assert not all(np.isfinite(p).all() for p in trainer.parameters())


def test_a_run_that_explodes_leaves_no_trace_after_load(isa):
    trainer, fresh = make_trainer(), make_trainer()
    start = trainer.parameters()
    indices, rates = draw(trainer, 20, 32)
    losses = trainer.run(indices, np.full(20, 1e30, dtype=np.float32))
    assert not np.isfinite(losses[-1])
    trainer.load(*start)
    assert np.array_equal(trainer.run(indices, rates), fresh.run(indices, rates))
    assert same(trainer.parameters(), fresh.parameters())


def test_the_loss_falls(isa):
    trainer = make_trainer()
    indices, rates = draw(trainer, 2000, 32)
    losses = trainer.run(indices, rates)
    assert losses[-100:].mean() < losses[:20].mean() - 0.5


def test_the_lock_is_released_and_a_second_thread_is_turned_away():
    trainer = make_trainer(Sizes(hidden=400, batch=256))
    indices, rates = draw(trainer, 400, 256)
    turned_away = []
    worker = threading.Thread(target=trainer.run, args=(indices, rates))
    worker.start()
    while worker.is_alive():
        try:
            trainer.parameters()
        except RuntimeError as error:
            turned_away.append(str(error))
            break
    worker.join()
    assert turned_away == ["this Trainer is at work in another thread; give each thread its own"]
