"""What can be proved, and under which conditions it is run."""

from __future__ import annotations

import torch

from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.subject import FIRST, BackwardRaisedError, Conditions, Proof, inputs_under
from backproof.proof.user.sizes import Size


def inputs(n: int = 5, width: int = 3) -> tuple[int, int]:
    return n, width


def test_inputs_of_the_usual_or_another_size() -> None:
    assert inputs_under(FIRST, inputs, 0) == (5, 3)
    assert inputs_under(Conditions(size=Size("size 7", inputs, 7, 7, 5)), inputs, 0) == (7, 3)
    assert inputs_under(Conditions(size=Size("other", lambda n: (n, 9), 5, 9, 7)), inputs, 0) == (5, 9)
    assert inputs_under(FIRST, lambda: "none", 0) == "none"
    one, other = (inputs_under(FIRST, lambda n=3: torch.rand(n), seed) for seed in (0, 1))
    assert not torch.equal(one, other)


def test_the_first_run_gives_the_output_and_its_dtype() -> None:
    kernel = Kernel(lambda x: (x.half(), x * 2), lambda x: (x.half(), x * 2), (torch.ones(3, dtype=torch.float64),))
    proof = Proof(kernel, kernel.tried(FIRST))
    assert proof.output == "output[0]" and proof.dtype is torch.float16


def test_what_raised_is_said_shortly_and_at_length() -> None:
    error = BackwardRaisedError("ValueError: no", sentence="backward raised ValueError: no at line 3", value="x")
    assert (str(error), error.sentence) == ("ValueError: no", "backward raised ValueError: no at line 3")
    assert (error.line, error.value) == ("", "x")
