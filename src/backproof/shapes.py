"""Axis letters and tensor types: what `NF` in a signature means.

    N  examples of a batch            F  features (what batch normalisation and tanh keep apart)
    T  context positions (block size) I  inputs of a linear layer      O  its outputs
    V  symbols of the vocabulary      E  numbers in a symbol's embedding

A letter 1 is an axis of length one that is kept (`1F`, written `OneF`). The annotations cost nothing at run time;
the tests check every call against them.
"""

from jaxtyping import Float, Int
from torch import Tensor

Scalar = Float[Tensor, ""]
F = Float[Tensor, "f"]
NF = Float[Tensor, "n f"]
OneF = Float[Tensor, "1 f"]

NI = Float[Tensor, "n i"]
IO = Float[Tensor, "i o"]
O = Float[Tensor, "o"]  # noqa: E741 - the field's letter for outputs
NO = Float[Tensor, "n o"]

VE = Float[Tensor, "v e"]
NTE = Float[Tensor, "n t e"]
NTxE = Float[Tensor, "n te"]  # the T embeddings of an example, side by side

NV = Float[Tensor, "n v"]
N1 = Float[Tensor, "n 1"]
V = Float[Tensor, "v"]

TE_H = Float[Tensor, "te h"]
NH = Float[Tensor, "n h"]
OneH = Float[Tensor, "1 h"]
H = Float[Tensor, "h"]
HV = Float[Tensor, "h v"]

Contexts = Int[Tensor, "n t"]  # symbol numbers
Targets = Int[Tensor, "n"]  # symbol numbers
