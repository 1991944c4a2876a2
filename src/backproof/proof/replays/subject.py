"""What can be proved: something with a backward pass, which can be run again under other conditions.

Two kinds of it are known, a pair of functions (`pair.py`) and a kernel beside its reference (`kernel.py`). Replays that
make sense for both ask nothing but what stands here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from backproof.proof.report.rows import Row
from backproof.proof.user.calls import CannotProveError
from backproof.proof.user.inputs import make_inputs
from backproof.proof.user.layouts import Layout
from backproof.proof.user.sizes import Size, usual_size
from backproof.proof.user.writes import Kept


class SkippedError(Exception):
    """A replay that cannot be made, and why."""


class FunctionRaisedError(CannotProveError):
    """A function raised where its reference runs."""


class BackwardRaisedError(Exception):
    """The backward pass raised: what, on which line, and the value whose gradient that line assigns, if known.

    `sentence` says all of it for the first run, where nothing else can be said.
    """

    def __init__(self, reason: str, *, sentence: str, line: str = "", value: str | None = None) -> None:
        super().__init__(reason)
        self.sentence, self.line, self.value = sentence, line, value


@dataclass(frozen=True)
class Conditions:
    """Under which a subject is run; by default, those of the first run."""

    size: Size | None = None  # other inputs than usual
    dtype: torch.dtype | None = None  # of all floating-point inputs
    draw: int = 0  # which random upstream gradient
    unit: bool = True  # whether a loss of one number gets the upstream gradient 1
    layout: Layout | None = None  # of the upstream gradients
    input_layout: Layout | None = None  # of all floating-point inputs
    contiguous: bool = False  # the numbers that these layouts make, but in contiguous memory
    needs: tuple[str, ...] = ()  # the inputs that need a gradient; all where none is named
    outputs: tuple[str, ...] = ()  # the outputs that are used; all where none is named


FIRST = Conditions()


def inputs_under(conditions: Conditions, inputs: Any, seed: int) -> Any:
    """What `inputs` is or makes: of the size that it has by default, or of the conditions' size."""
    if conditions.size is None:
        return make_inputs(inputs, usual_size(inputs), seed)
    return make_inputs(conditions.size.inputs, conditions.size.n, seed)


class Trial(Protocol):
    """One run under some conditions, and what the judge says of its gradients."""

    @property
    def rows(self) -> list[Row]: ...
    @property
    def upstreams(self) -> Mapping[str, Tensor]:
        """The gradients that were sent, by output."""
        ...

    @property
    def refused(self) -> str:
        """Why nothing can be replayed; empty where it can."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks that belong to no single row."""
        ...


T = TypeVar("T", bound=Trial)


class Subject(Protocol[T]):
    """What is proved."""

    @property
    def inputs(self) -> Any: ...
    @property
    def backward_called(self) -> str:
        """How messages call the backward pass."""
        ...

    @property
    def stateless(self) -> str:
        """How to keep nothing between calls: advice."""
        ...

    @property
    def bound_to_dtypes(self) -> bool:
        """Whether it may be written for some dtypes only, so that another one shows nothing by raising."""
        ...

    @property
    def takes_upstream(self) -> bool:
        """Whether it can be given any upstream gradient."""
        ...

    def tried(self, conditions: Conditions, known: Collection[str] | None = None) -> T:
        """One run; with `known`, only what is wrong beyond these culprits is diagnosed.

        Raises CannotProveError where the forward pass or the reference does not run, FunctionRaisedError where only the
        function does not, BackwardRaisedError, and SkippedError where nothing could be compared.
        """
        ...

    def second(self, first_run: T, known: Collection[str]) -> tuple[list[Row], Mapping[str, Kept]]:
        """A second backward pass over one forward pass, and the first's gradients that it has overwritten."""
        ...


S = TypeVar("S", bound=Subject)


@dataclass(frozen=True)
class Proof(Generic[S, T]):
    """A subject, and the first run, which the replays are compared with."""

    subject: S
    first_run: T

    @property
    def output(self) -> str:
        return next(iter(self.first_run.upstreams))

    @property
    def dtype(self) -> torch.dtype:
        """Of the first output."""
        return self.first_run.upstreams[self.output].dtype
