"""What must not come in, and what the message says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from native import _fused
from reference import NAMES, Sizes, make_parameters, make_stream

from backproof.training.settings import NUMBERS

SIZES = Sizes(27, 3, 2, 5, 4)
PARAMETERS = dict(zip(NAMES, make_parameters(SIZES), strict=True))
STREAM = make_stream(SIZES)
EXAMPLES = len(STREAM) - SIZES.block


def make(**changes):
    arguments = {**PARAMETERS, "stream": STREAM, "block_size": SIZES.block, **changes}
    return _fused.Trainer(**arguments)


def refused(kind: type[Exception], message: str):
    return pytest.raises(kind, match=re.escape(message))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"C": PARAMETERS["C"][0]}, ValueError, "C must be of shape (symbols, embedding); got (3,)"),
        ({"W1": PARAMETERS["W1"][:-1]}, ValueError, "W1 must be of shape (6, 5); got (5, 5)"),
        ({"b1": PARAMETERS["b1"][None]}, ValueError, "b1 must be of shape (5,); got (1, 5)"),
        ({"W2": PARAMETERS["W2"].T.copy()}, ValueError, "W1 must be of shape (6, 27); got (6, 5)"),
        ({"b2": PARAMETERS["b2"][:26]}, ValueError, "b2 must be of shape (27,); got (26,)"),
        ({"bngain": PARAMETERS["bngain"][0]}, ValueError, "bngain must be of shape (1, 5); got (5,)"),
        ({"bnbias": PARAMETERS["bnbias"].astype(float)}, TypeError, "bnbias must be of type float32"),
        ({"W1": np.asfortranarray(PARAMETERS["W1"])}, ValueError, "W1 must be contiguous, row by row"),
        ({"b1": np.zeros(10, np.float32)[::2]}, ValueError, "b1 must be contiguous, row by row"),
        ({"b1": [0.0] * 5}, TypeError, "b1 must be a numpy array; got list"),
        (
            {"C": PARAMETERS["C"].astype(">f4")},
            TypeError,
            "C must hold numbers in this processor's own byte order; got dtype >f4; convert it with .astype",
        ),
        ({"stream": STREAM.astype(object)}, TypeError, "stream must hold numbers in this processor's own byte order"),
        ({"b1": None}, TypeError, "b1 must be a numpy array; got NoneType"),
        (
            {"C": np.zeros((0, 3), np.float32)},
            ValueError,
            "the number of symbols, C's rows, must be between 1 and 65535; got 0",
        ),
        (
            {"stream": STREAM.astype(np.int64)},
            TypeError,
            "stream must be of type uint8, or uint16 for more than 256 symbols",
        ),
        (
            {"stream": STREAM[:2]},
            ValueError,
            "stream must have one axis, and more than block_size symbols; got shape (2,)",
        ),
        ({"stream": STREAM[None]}, ValueError, "stream must have one axis"),
        ({"stream": STREAM[1:].copy()}, ValueError, "stream must begin with block_size = 2 zeros"),
        ({"stream": np.append(STREAM, np.uint8(27))}, ValueError, "is symbol 27, but C has only 27 rows"),
        ({"block_size": 0}, ValueError, "block_size must be between 1 and 1024; got 0"),
        ({"block_size": -1}, ValueError, "block_size must be between 1 and 1024; got -1"),
        ({"block_size": 3}, ValueError, "stream must begin with block_size = 3 zeros"),
        ({"correction": 2}, ValueError, "correction must be between 0 and 1; got 2"),
        ({"correction": -1}, ValueError, "correction must be between 0 and 1; got -1"),
        ({"epsilon": float("nan")}, ValueError, "epsilon must be a finite number, as float32 greater than 0"),
        ({"epsilon": -1.0}, ValueError, "epsilon must be a finite number"),
        ({"epsilon": 0.0}, ValueError, "epsilon must be a finite number"),
        ({"epsilon": 1e-46}, ValueError, "epsilon must be a finite number"),
        ({"epsilon": 1e39}, ValueError, "epsilon must be a finite number"),
    ],
)
def test_a_trainer_cannot_be_made_of(changes, kind, message):
    if "stream" not in changes and changes.get("block_size") == 3:
        changes = {**changes, "W1": np.zeros((9, 5), np.float32)}
    with refused(kind, message):
        make(**changes)


@pytest.mark.parametrize("epsilon", [1e-45, 1e-30, 1e-5])
def test_units_that_pad_a_strip_do_no_harm_at_any_epsilon(isa, epsilon: float):
    sizes = Sizes(27, 3, 2, 20, 4)
    trainer = _fused.Trainer(*make_parameters(sizes), make_stream(sizes), sizes.block, epsilon=epsilon)
    assert np.isfinite(trainer.run(indices([0, 1, 2, 3], [0, 1, 2, 3]), np.full(2, 0.1, np.float32))).all()


def limited(**changes: int) -> str:
    """The message for sizes that are too large, of a Trainer or, for a batch, of its run."""
    sizes = {"symbols": 2, "embedding": 1, "hidden": 1, "block_size": 1, "batch_size": 2} | changes
    with pytest.raises(ValueError, match="must be between") as error:
        _fused.Trainer(
            np.zeros((sizes["symbols"], sizes["embedding"]), np.float32),
            np.zeros((sizes["block_size"] * sizes["embedding"], sizes["hidden"]), np.float32),
            np.zeros(sizes["hidden"], np.float32),
            np.zeros((sizes["hidden"], sizes["symbols"]), np.float32),
            np.zeros(sizes["symbols"], np.float32),
            *np.zeros((2, 1, sizes["hidden"]), np.float32),
            np.zeros(sizes["block_size"] + 1, np.uint8),
            sizes["block_size"],
        ).run(np.zeros((1, sizes["batch_size"]), np.int64), ONE)
    return str(error.value)


@pytest.mark.parametrize("name", ["batch_size", "hidden", "embedding", "block_size"])
def test_the_limits_are_those_of_the_settings(name: str):
    _, least, most = NUMBERS[name]
    assert f"must be between {least} and {most}; got {most + 1}" in limited(**{name: int(most) + 1})


def indices(*rows):
    return np.array(rows, dtype=np.int64)


ONE = np.ones(1, dtype=np.float32)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            (indices([0, EXAMPLES]), ONE),
            IndexError,
            f"index {EXAMPLES} is outside the text, which has examples 0 to {EXAMPLES - 1}",
        ),
        ((indices([-1, 0]), ONE), IndexError, "index -1 is outside the text"),
        ((indices([0, 2**62]), ONE), IndexError, "is outside the text"),
        ((indices([0, -(2**63)]), ONE), IndexError, "is outside the text"),
        ((indices(0, 1), ONE), ValueError, "indices must be of shape (steps, batch); got (2,)"),
        (
            (indices([0]), ONE),
            ValueError,
            "the batch, indices' columns, must be between 2 and 1048576; got 1",
        ),
        ((indices([0, 1]).astype(np.int32), ONE), TypeError, "indices must be of type int64"),
        (
            (indices([0, 1], [2, 3]).T, np.ones(2, np.float32)),
            ValueError,
            "indices must be contiguous, row by row",
        ),
        (
            (indices([0, 1]), np.ones(2, np.float32)),
            ValueError,
            "learning_rates must be of shape (steps,) = (1,); got (2,)",
        ),
        ((indices([0, 1]), np.ones(1)), TypeError, "learning_rates must be of type float32"),
        (
            (indices([0, 1]), np.full(1, np.nan, np.float32)),
            ValueError,
            "learning_rates[0] is not a finite number",
        ),
        ((indices([0, 1]), 0.1), TypeError, "learning_rates must be a numpy array; got float"),
    ],
)
def test_a_run_refuses(arguments, kind, message):
    trainer = make()
    with refused(kind, message):
        trainer.run(*arguments)
    for name, after in zip(NAMES, trainer.parameters(), strict=True):
        np.testing.assert_array_equal(after, PARAMETERS[name])
    assert trainer.run(indices([0, EXAMPLES - 1]), ONE).shape == (1,)  # and is ready for a good call


def test_gradients_and_load_refuse():
    trainer = make()
    with refused(ValueError, "indices must be of shape (batch,); got (1, 2)"):
        trainer.gradients(indices([0, 1]))
    with refused(IndexError, "is outside the text"):
        trainer.gradients(indices(0, EXAMPLES))
    with refused(ValueError, "the batch, indices' length, must be between 2"):
        trainer.gradients(indices(0))
    with refused(ValueError, "W2 must be of shape (5, 27)"):
        trainer.load(**{**PARAMETERS, "W2": np.zeros((27, 5), np.float32)})


def test_no_steps_give_no_losses():
    assert make().run(np.zeros((0, 4), np.int64), np.zeros(0, np.float32)).shape == (0,)


def test_arrays_are_copied_both_ways():
    own = {name: array.copy() for name, array in PARAMETERS.items()}
    stream = STREAM.copy()
    trainer = make(**own, stream=stream)
    first = trainer.gradients(np.arange(4))[0]
    for array in own.values():
        array.fill(np.nan)
    stream.fill(255)
    trainer.parameters()[0].fill(np.nan)
    assert trainer.gradients(np.arange(4))[0] == first


def test_arrays_that_begin_at_an_odd_address():
    raw = np.zeros(5 * 4 + 1, dtype=np.uint8)
    odd = raw[1:].view(np.float32)
    odd[:] = PARAMETERS["b1"]
    assert make(b1=odd).gradients(np.arange(4))[0] == make().gradients(np.arange(4))[0]


def test_the_largest_vocabulary():
    sizes = Sizes(65535, 2, 2, 3, 3)
    stream = np.array([0, 0, 65534, 0, 1, 65534, 0], dtype=np.uint16)
    trainer = _fused.Trainer(*make_parameters(sizes), stream, 2)
    loss, gradients = trainer.gradients(np.array([0, 1, 3]))
    assert np.isfinite(loss)
    assert np.flatnonzero(gradients[0].any(1)).tolist() == [0, 1, 65534]


def test_an_instruction_set_can_be_asked_for(isa):
    assert make().instruction_set == isa == _fused.chosen_instruction_set()


@pytest.mark.parametrize("name", ["AVX2", "neon", "best"])
def test_an_instruction_set_that_is_not_there(monkeypatch, name):
    monkeypatch.setenv("BACKPROOF_ISA", name)
    have = ", ".join(_fused.supported_instruction_sets())
    with refused(
        ValueError,
        f"BACKPROOF_ISA is '{name}', but this processor and build have: {have}; set it to one of these",
    ):
        make()
    with refused(ValueError, "BACKPROOF_ISA"):
        _fused.fma_peak()
    with refused(ValueError, "BACKPROOF_ISA"):
        _fused.chosen_instruction_set()


def test_the_fastest_is_taken_when_none_is_asked_for(monkeypatch):
    monkeypatch.delenv("BACKPROOF_ISA", raising=False)
    assert make().instruction_set == _fused.supported_instruction_sets()[0]


def test_the_peak_is_a_plausible_number(isa):
    assert 1e9 < _fused.fma_peak(attempts=3) < 1e12
    assert _fused.multiply_adds(1000) > 0
