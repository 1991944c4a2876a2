import json
import os
import signal
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Generator

from backproof.engines.eager import EagerEngine
from backproof.models import mlp
from backproof.text import Corpus, make_examples, vocabulary_of
from backproof.training import loop
from backproof.training.interrupt import deferred_interrupt
from backproof.training.settings import Settings, SettingsError
from backproof.training.status import Status

SMALL = Settings(steps=50, batch_size=6, hidden=11, embedding=2, block_size=2)


def start(corpus: Corpus, **changes: float) -> tuple[EagerEngine, int, Settings, Generator]:
    settings = replace(SMALL, **changes)  # type: ignore[arg-type]
    vocabulary = vocabulary_of(corpus.words)
    examples = make_examples(corpus.words, vocabulary, 2)
    generator = Generator().manual_seed(settings.seed)
    shape = mlp.Shape(len(vocabulary), 2, 2, 11)
    engine = EagerEngine(shape, mlp.initial_parameters(shape, generator), examples)
    return engine, len(examples), settings, generator


def test_the_published_schedule():
    rates = Settings().rates()
    assert len(rates) == 200_000
    assert rates[99_999] == 0.1
    assert rates[100_000] == 0.01


@pytest.mark.parametrize(("drop_at", "high"), [(0.0, 0), (0.25, 2), (1.0, 8)])
def test_the_drop_may_be_anywhere(drop_at: float, high: int):
    rates = Settings(steps=8, lr=1.0, lr_drop_at=drop_at, lr_after=0.5).rates()
    assert rates.tolist() == [1.0] * high + [0.5] * (8 - high)


def test_the_same_seed_gives_the_same_bits_however_chunks_fall(small_corpus: Corpus, monkeypatch):
    outcomes = []
    for first in (1, 7, 50):
        monkeypatch.setattr(loop, "_next_chunk", lambda *_, first=first: first)
        engine, *_ = given = start(small_corpus)
        outcomes.append((loop.run(*given), engine.parameters()))
    for outcome, parameters in outcomes[1:]:
        np.testing.assert_array_equal(outcome.losses, outcomes[0][0].losses)
        assert all(map(torch.equal, parameters, outcomes[0][1]))


def test_progress_is_told_and_ends_at_the_end(small_corpus: Corpus):
    given = start(small_corpus)
    seen = []
    outcome = loop.run(*given, on_progress=seen.append)
    assert outcome.status is Status.FINISHED
    assert seen[-1].steps_done == seen[-1].steps == 50
    assert [p.steps_done for p in seen] == sorted({p.steps_done for p in seen})
    np.testing.assert_array_equal(seen[-1].losses, outcome.losses)
    assert seen[0].learning_rate == 0.1
    assert seen[-1].learning_rate == 0.01


def test_ctrl_c_ends_the_run_between_two_chunks(small_corpus: Corpus):
    given = start(small_corpus, steps=5000)

    def interrupt(progress):
        if progress.steps_done > 10:
            os.kill(os.getpid(), signal.SIGINT)

    outcome = loop.run(*given, on_progress=interrupt)
    assert outcome.status is Status.INTERRUPTED
    assert 10 < len(outcome.losses) < 5000
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_is_not_deferred():
    with deferred_interrupt() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_the_loop_began_is_not_forgotten_in_it(small_corpus: Corpus):
    given = start(small_corpus)
    with deferred_interrupt() as interrupted:
        signal.raise_signal(signal.SIGINT)
        outcome = loop.run(*given)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (outcome.status, len(outcome.losses)) == (Status.INTERRUPTED, 0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_main_thread_nothing_is_deferred(small_corpus: Corpus):
    statuses = []
    arguments = start(small_corpus)
    thread = threading.Thread(target=lambda: statuses.append(loop.run(*arguments).status))
    thread.start()
    thread.join()
    assert statuses == [Status.FINISHED]


@pytest.mark.parametrize("chunk", [1, 13, 50])
def test_a_run_that_diverges_keeps_the_last_finite_state(small_corpus: Corpus, monkeypatch, chunk: int):
    monkeypatch.setattr(loop, "_next_chunk", lambda *_: chunk)
    engine, *_ = given = start(small_corpus, lr=1e25, lr_drop_at=1.0)
    outcome = loop.run(*given)
    assert outcome.status is Status.DIVERGED
    assert len(outcome.losses) < 50
    assert np.isfinite(outcome.losses).all()
    assert all(torch.isfinite(tensor).all() for tensor in engine.parameters())

    again, examples, settings, generator = start(small_corpus, lr=1e25, lr_drop_at=1.0)
    steps = len(outcome.losses)
    indices = torch.randint(0, examples, (steps + 1, 6), generator=generator)
    again.run(indices[:steps], settings.rates()[:steps])
    assert all(map(torch.equal, again.parameters(), engine.parameters()))
    losses = again.run(indices[steps:], settings.rates()[steps : steps + 1])
    spoilt = not torch.isfinite(losses).all() or not all(torch.isfinite(t).all() for t in again.parameters())
    assert spoilt


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "--steps is 0; it has to be at least 1."),
        ({"batch_size": 1}, "--batch-size is 1; it has to be at least 2."),
        ({"hidden": 0}, "--hidden is 0"),
        ({"block_size": -3}, "--block-size is -3"),
        ({"lr": -0.1}, "--lr is -0.1; it has to be at least 0."),
        ({"lr": float("inf")}, r"--lr is inf; it has to be at most 3.4e\+38."),
        ({"lr_after": float("nan")}, "--lr-after is nan; it has to be a number."),
        ({"lr_drop_at": 2.0}, "--lr-drop-at is 2.0; it has to be a part of the run, from 0 to 1."),
        ({"correction": 3}, r"--correction is 3; it has to be 1 \(unbiased\) or 0 \(biased\)."),
        ({"seed": -1}, "--seed is -1"),
        ({"steps": 10**23}, "--steps is 1(0+); it has to be at most 1000000000."),
        ({"hidden": 2_000_000}, "--hidden is 2000000; it has to be at most 1048576."),
        ({"batch_size": 2_000_000}, "--batch-size is 2000000; it has to be at most 1048576."),
        ({"block_size": 2000}, "--block-size is 2000; it has to be at most 1024."),
        ({"embedding": 70_000}, "--embedding is 70000; it has to be at most 65535."),
    ],
)
def test_settings_that_make_no_sense(changes: dict, message: str):
    with pytest.raises(SettingsError, match=message):
        Settings(**changes)


def unchecked(**changes: object) -> Settings:
    """As outside of the tests, where no annotation is checked before Settings looks for itself."""
    settings = object.__new__(Settings)
    for name, value in (asdict(Settings()) | changes).items():
        object.__setattr__(settings, name, value)
    settings.__post_init__()
    return settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split_seed": 42.5}, "--split-seed is 42.5; it has to be a whole number."),
        ({"steps": "5"}, "--steps is '5'; it has to be a whole number."),
        ({"steps": 2.5}, "--steps is 2.5; it has to be a whole number."),
        ({"hidden": True}, "--hidden is True; it has to be a whole number."),
        ({"lr": None}, "--lr is None; it has to be a number."),
        ({"engine": 5}, "--engine is 5; it has to be the name of an engine."),
    ],
)
def test_settings_of_the_wrong_type(changes: dict, message: str):
    with pytest.raises(SettingsError, match=message):
        unchecked(**changes)


def test_numbers_of_numpy_are_made_plain():
    settings = unchecked(hidden=np.int64(8), lr=np.float32(0.5), lr_after=0)
    assert json.dumps(asdict(settings)) == json.dumps(asdict(Settings(hidden=8, lr=0.5, lr_after=0.0)))
