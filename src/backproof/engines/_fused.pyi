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

class Transformer:
    def __init__(
        self,
        parameters: list[_Array],
        layers: int,
        heads: int,
        block_size: int,
        words: NDArray[np.uint8] | NDArray[np.uint16],
        offsets: NDArray[np.int64],
        *,
        share: bool = True,
    ) -> None: ...
    def run(
        self,
        indices: NDArray[np.int64],
        rates: NDArray[np.float64] | _Array,
        *,
        beta1: float,
        beta2: float,
        epsilon: float,
        decay: float,
        decayed: NDArray[np.bool_] | NDArray[np.uint8],
        clip: float = ...,
        threads: int = 1,
    ) -> _Array: ...
    def gradients(self, indices: NDArray[np.int64]) -> tuple[float, list[_Array]]: ...
    def rows_of(self, indices: NDArray[np.int64]) -> tuple[int, int]: ...
    def parameters(self) -> list[_Array]: ...
    def load(self, parameters: list[_Array]) -> None: ...
    def optimiser(self) -> tuple[list[_Array], list[_Array], int]: ...
    def load_optimiser(self, m: list[_Array], v: list[_Array], t: int) -> None: ...
    @property
    def most_threads(self) -> int: ...
    @property
    def instruction_set(self) -> str: ...
    @property
    def words(self) -> int: ...
