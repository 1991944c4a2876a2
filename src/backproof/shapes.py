"""Axis letters and tensor types: what `NF` in a signature means.

    N  examples of a batch            F  features (what batch normalisation and tanh keep apart)
    T  context positions (block size) I  inputs of a linear layer      O  its outputs
    V  symbols of the vocabulary      E  numbers in a symbol's embedding
    H  neurons of a hidden layer      D  features of one of attention's heads
    K  cells that a convolution reads at once

`Rows` are any leading axes: the layer does the same to each row. A letter 1 is an axis of length one that is kept
(`1F`, written `OneF`). The annotations cost nothing at run time; the tests check every call against them.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Scalar = Float[Tensor, ""]
F = Float[Tensor, "f"]
NF = Float[Tensor, "n f"]
OneF = Float[Tensor, "1 f"]

IO = Float[Tensor, "i o"]
O = Float[Tensor, "o"]  # noqa: E741 - the field's letter for outputs

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

RowsF = Float[Tensor, "*rows f"]
Rows1 = Float[Tensor, "*rows 1"]
RowsI = Float[Tensor, "*rows i"]
RowsO = Float[Tensor, "*rows o"]
Kept = Bool[Tensor, "*rows f"]  # what dropout keeps

NTF = Float[Tensor, "n t f"]
NT1 = Float[Tensor, "n t 1"]
NTV = Float[Tensor, "n t v"]
NTI = Float[Tensor, "n t i"]
NTO = Float[Tensor, "n t o"]
NsI = Float[Tensor, "n s i"]  # sequences with zeros before them
KIO = Float[Tensor, "k i o"]
BlockF = Float[Tensor, "block f"]
TF = Float[Tensor, "t f"]
NT3F = Float[Tensor, "n t threef"]
NHTD = Float[Tensor, "n heads t d"]
NHTT = Float[Tensor, "n heads t t"]

NTH = Float[Tensor, "n t h"]
NT4H = Float[Tensor, "n t fourh"]
N4H = Float[Tensor, "n fourh"]
NEH = Float[Tensor, "n eh"]  # an input beside what is known
EH_H = Float[Tensor, "eh h"]
EH_4H = Float[Tensor, "eh fourh"]
FourH = Float[Tensor, "fourh"]

Cells = Int[Tensor, "n t"]  # symbol numbers of whole words, or targets, -1 after a word's end
