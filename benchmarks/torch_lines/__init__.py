"""Lines of a network that use one operation of PyTorch, each with the same computed in another right way."""

from torch_lines.algebra import ALGEBRA
from torch_lines.attention import PRODUCTS
from torch_lines.convolutions import CONVOLUTIONS
from torch_lines.draw import OFFSETS, Draw, Family, Line
from torch_lines.elementwise import ELEMENTWISE
from torch_lines.images import IMAGES
from torch_lines.indexing import INDEXING
from torch_lines.losses import LOSSES
from torch_lines.normalisations import NORMALISATIONS
from torch_lines.reductions import REDUCTIONS

LINES: Family = {
    **NORMALISATIONS,
    **CONVOLUTIONS,
    **PRODUCTS,
    **LOSSES,
    **ELEMENTWISE,
    **REDUCTIONS,
    **INDEXING,
    **IMAGES,
    **ALGEBRA,
}

__all__ = ["LINES", "OFFSETS", "Draw", "Family", "Line"]
