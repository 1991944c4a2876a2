"""What the native module offers; its source is in `native/`."""

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float32]
_Parameters = tuple[_Array, _Array, _Array, _Array, _Array, _Array, _Array]

def supported_instruction_sets() -> list[str]: ...
def chosen_instruction_set() -> str: ...
def fma_peak(attempts: int = 20) -> float: ...

class Trainer:
    def __init__(
        self,
        C: _Array,
        W1: _Array,
        b1: _Array,
        W2: _Array,
        b2: _Array,
        bngain: _Array,
        bnbias: _Array,
        stream: NDArray[np.uint8] | NDArray[np.uint16],
        block_size: int,
        *,
        correction: int = 1,
        epsilon: float = 1e-5,
    ) -> None: ...
    def run(self, indices: NDArray[np.int64], learning_rates: _Array, threads: int = 1) -> _Array: ...
    def gradients(self, indices: NDArray[np.int64]) -> tuple[float, _Parameters]: ...
    def parameters(self) -> _Parameters: ...
    def load(
        self, C: _Array, W1: _Array, b1: _Array, W2: _Array, b2: _Array, bngain: _Array, bnbias: _Array
    ) -> None: ...
    @property
    def most_threads(self) -> int: ...
    @property
    def instruction_set(self) -> str: ...
    @property
    def examples(self) -> int: ...
