"""Clipping: gradients that together are too long are made shorter, and keep their direction.

    norm = √ Σ g²        g ← g · min(1, most / (norm + 10⁻⁶))

with the sum over all numbers of all gradients. The 10⁻⁶ is PyTorch's; norms of 0 are not divided by.

Source: R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks", 2012,
arXiv:1211.5063, section 3.2, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from backproof.optimisers.options import checked

SMALLEST = 1e-6
"""Norm to which gradients can be clipped: below it, what is added to the norm would count for more."""


def clip(gradients: Mapping[str, Tensor], most: float) -> Tensor:
    """Make the gradients' norm at most `most`, in place; what it was is returned.

    A norm that is not finite makes gradients that are not, which whoever looks at the losses sees.
    """
    checked("--clip", most, least=SMALLEST)
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients.values()]))
    factor = (most / (norm + SMALLEST)).clamp_(max=1)  # a tensor, and no question whether it is 1: nothing has to wait
    for g in gradients.values():
        g.mul_(factor)
    return norm
