"""All that is known of PyTorch's operations: one table, one entry an operation.

Its key is the name that `node.kind` gives it, such as `Mul`. An operation without an entry is taken to be
`UNKNOWN`: to sum over everything, and to subtract inside what is much larger than the difference. What stands
here narrows the doubt, but for kernels that lose digits where no number that enters them shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from backproof.proof.graph import inner_terms, normalisation_terms, slips
from backproof.proof.graph.node import Node, NotSavedError, is_custom, kind, saved, saved_dims, signed
from backproof.proof.graph.slips import Slip, Spoil
from backproof.proof.report.cause import Cause

Written = Callable[[Node, Tensor], tuple[Tensor, ...]]
Rounded = Callable[[Node, Tensor], Mapping[int, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Operation:
    """What is known of one operation. The defaults are those of one whose gradient is a product, and no more."""

    mixes: bool = False  # an element of the gradient sums over more elements than the shapes tell
    unknown_inside: bool = False  # it may subtract inside what is much larger than the difference
    text: str = ""  # how it is written, with its arguments, and saved numbers by name: "{0}**{exponent:g}"
    arguments: Mapping[int, str] = field(default_factory=dict)  # by position, the saved tensor that is the argument
    takes_part: bool = False  # takes a part of its argument: the whole of it is not worth a word
    written: Written | None = None  # the terms that people write one by one, and so may forget one of
    rounded: Rounded | None = None  # by input, terms as large as what is added up and subtracted inside
    fused: str = ""  # what PyTorch's kernel rounds once less than its users can
    factors: tuple[str, ...] = ()  # the saved arguments that the line multiplies by
    divides: bool = False  # it divides by them instead
    with_first: bool = False  # its kernel crashes in channels_last unless its first input's gradient is asked for
    labels: str = ""  # the saved argument with a label for each row, of which some may be ignored
    coarse: Mapping[torch.dtype, float] = field(default_factory=dict)  # its kernel's relative error, if above eps
    slips: tuple[Slip, ...] = ()  # what goes wrong where its derivative is written by hand


def _of_first(terms: Written) -> Rounded:
    return lambda node, g: {0: terms(node, g)}


def _product(text: str, first: str = "self", second: str = "mat2", shift: int = 0) -> Operation:
    return Operation(
        mixes=True,
        text=text,
        arguments={shift: first, shift + 1: second},
        slips=slips.product(first, second, shift),
    )


def _along_another_dimension(spoil: Spoil) -> tuple[Slip, ...]:
    return (Slip(Cause.WRONG_DIMENSIONS, "it runs along another dimension", 0, spoil),)


UNKNOWN = Operation(mixes=True, unknown_inside=True)
_ALONE = Operation()  # each element alone, or moved, or picked
_SUMS = Operation(mixes=True)
_ALONE_UNKNOWN = Operation(unknown_inside=True)  # each element alone, by a slope such as 1 - x² that may cancel
_TURNED = Cause.SWAPPED_OR_TRANSPOSED
_UNDIVIDED = (Slip(Cause.WRONG_FACTOR, "a division by its result is left out", 0, slips.times_result),)
_LOOKED_UP = Operation(
    mixes=True,
    slips=(Slip(Cause.WRONG_DIMENSIONS, "every row gets what belongs to all of them", 0, slips.every_row_alike),),
)

OPERATIONS: Mapping[str, Operation] = {
    # arithmetic
    "Add": Operation(text="{0} + {1}"),
    "Sub": Operation(text="{0} - {1}"),
    "Mul": Operation(text="{0} * {1}", arguments={0: "self", 1: "other"}, factors=("self", "other")),
    "Div": Operation(
        text="{0} / {1}",
        arguments={0: "self", 1: "other"},
        factors=("self", "other"),
        divides=True,
        slips=(
            Slip(Cause.WRONG_DENOMINATOR, "{number} stands for every denominator", 0, slips.undivided, scaled=True),
            Slip(Cause.WRONG_FACTOR, "the denominator is not squared", 1, slips.not_squared),
        ),
    ),
    "Neg": Operation(text="-{0}"),
    "Pow": Operation(
        text="{0}**{exponent:g}",
        arguments={0: "self"},
        slips=(Slip(Cause.OTHER_FORWARD_PASS, "the exponent is not lowered by one", 0, slips.power_kept),),
    ),
    "Sqrt": Operation(slips=_UNDIVIDED),
    "Addcmul": Operation(arguments={1: "tensor1", 2: "tensor2"}),
    **dict.fromkeys(["Addcdiv", "Reciprocal", "Rsqrt"], _ALONE),
    # each element alone
    "Tanh": Operation(rounded=_of_first(inner_terms.tanh), fused="dh*(1 - h*h)"),
    "Sigmoid": Operation(rounded=_of_first(inner_terms.sigmoid)),
    "Silu": Operation(written=inner_terms.silu, rounded=_of_first(inner_terms.silu)),
    "Gelu": Operation(written=inner_terms.gelu, rounded=_of_first(inner_terms.gelu)),
    "Mish": Operation(written=inner_terms.mish, rounded=_of_first(inner_terms.mish)),
    "Glu": Operation(rounded=_of_first(inner_terms.glu)),
    "Hardsigmoid": Operation(coarse={torch.float64: torch.finfo(torch.float32).eps}),  # 1/6 is kept in float32
    **dict.fromkeys(["Abs", "Clamp", "ClampMax", "ClampMin", "Copysign", "Cos", "Cosh", "Erf", "Exp", "Exp2"], _ALONE),
    **dict.fromkeys(["Hardshrink", "Hardtanh", "LeakyRelu", "Log", "Log10", "Log2", "Maximum", "Minimum"], _ALONE),
    **dict.fromkeys(["PreluKernel", "Relu", "Sign", "Sin", "Sinh", "Softshrink", "Threshold", "Where"], _ALONE),
    **dict.fromkeys(["Acos", "Acosh", "Asin", "Asinh", "Atan", "Atan2", "Atanh", "Celu", "Elu"], _ALONE_UNKNOWN),
    **dict.fromkeys(["Erfc", "Erfinv", "Expm1", "Hardswish", "Hypot", "Lerp", "Lgamma"], _ALONE_UNKNOWN),
    **dict.fromkeys(["Log1P", "LogSigmoid", "Logaddexp", "Logit", "Sinc", "Softplus", "Tan"], _ALONE_UNKNOWN),
    # losses
    **dict.fromkeys(["NllLoss", "NllLoss2D"], Operation(labels="target")),
    **dict.fromkeys(["HuberLoss", "MseLoss", "SmoothL1Loss"], _ALONE),
    **dict.fromkeys(["BinaryCrossEntropy", "BinaryCrossEntropyWithLogits", "SoftMarginLoss"], _ALONE_UNKNOWN),
    # products of matrices
    "Mm": _product("{0} @ {1}"),
    "Bmm": _product("{0} @ {1}"),
    "Addmm": _product("{1} @ {2} + {0}", "mat1", shift=1),
    "Baddbmm": _product("{1} @ {2} + {0}", "batch1", "batch2", shift=1),
    "Linear": Operation(mixes=True, arguments={0: "input", 1: "weight"}),
    "Convolution": Operation(
        mixes=True,
        arguments={0: "input", 1: "weight"},
        slips=(
            Slip(_TURNED, "the kernel is read backwards", 0, slips.kernel_unflipped),
            Slip(_TURNED, "the kernel is written backwards", 1, slips.kernel_flipped),
        ),
    ),
    "Mv": Operation(mixes=True, slips=(Slip(_TURNED, "the outer product is transposed", 0, slips.turned),)),
    **dict.fromkeys(["Addbmm", "Addmv", "Dot", "Trilinear"], _SUMS),
    # sums, softmax, and what else runs along a dimension
    "Softmax": Operation(
        mixes=True,
        written=inner_terms.softmax,
        rounded=_of_first(inner_terms.softmax),
        slips=_along_another_dimension(slips.softmax_elsewhere),
    ),
    "LogSoftmax": Operation(
        mixes=True,
        written=inner_terms.log_softmax,
        rounded=_of_first(inner_terms.log_softmax),
        slips=_along_another_dimension(slips.log_softmax_elsewhere),
    ),
    "Logsumexp": Operation(
        rounded=_of_first(inner_terms.logsumexp), slips=_along_another_dimension(slips.logsumexp_elsewhere)
    ),
    "LinalgMatrixExp": Operation(  # a series that is broken off early; measured where its norm is 0.57 and 0.01
        mixes=True,
        unknown_inside=True,
        rounded=_of_first(inner_terms.matrix_exp),
        coarse={torch.float32: 1.9e-4, torch.float64: 4.1e-11},
    ),
    "Var": Operation(rounded=_of_first(inner_terms.variance)),
    "Std": Operation(rounded=_of_first(inner_terms.deviation)),
    "LinalgSvd": Operation(
        mixes=True,
        unknown_inside=True,
        slips=(Slip(_TURNED, "V stands where its transpose belongs", 0, slips.v_for_its_transpose),),
    ),
    **dict.fromkeys(["LinalgVectorNorm", "Norm"], Operation(slips=_UNDIVIDED)),
    **dict.fromkeys(["Mean", "Sum", "Trace"], _ALONE),
    **dict.fromkeys(["Cdist", "Pdist", "ScatterReduce"], _SUMS),
    **dict.fromkeys(["Cummax", "Cumsum", "FftC2C", "FftC2R", "FftR2C"], _SUMS),
    # normalisations
    "NativeLayerNorm": Operation(
        mixes=True, written=normalisation_terms.layer_norm, rounded=normalisation_terms.layer_norm_rounding
    ),
    "NativeBatchNorm": Operation(
        mixes=True, written=normalisation_terms.batch_norm, rounded=normalisation_terms.batch_norm_rounding
    ),
    "NativeGroupNorm": Operation(
        mixes=True,
        written=normalisation_terms.group_norm,
        rounded=normalisation_terms.group_norm_rounding,
        with_first=True,
    ),
    # what is moved, repeated and picked
    "T": Operation(text="{0}.T"),
    "Slice": Operation(takes_part=True),
    **dict.fromkeys(
        ["Amax", "Amin"],
        Operation(
            slips=(
                Slip(
                    Cause.WRONG_FACTOR, "what belongs to one element goes to all of them", 0, slips.largest_everywhere
                ),
            )
        ),
    ),
    **dict.fromkeys(["AsStrided", "Cat", "ChannelShuffle", "Clone", "Complex"], _ALONE),
    **dict.fromkeys(["ConstantPadNd", "CopySlices", "Diagonal", "Expand", "Flip", "IndexAdd", "IndexCopy"], _ALONE),
    **dict.fromkeys(["IndexPut", "Kthvalue", "MaskedFill", "MaskedSelect", "Max", "Median", "Min", "Mode"], _ALONE),
    **dict.fromkeys(["Permute", "PixelShuffle", "PixelUnshuffle", "Repeat", "ReshapeAlias", "Roll"], _ALONE),
    **dict.fromkeys(["Scatter", "ScatterAdd", "Select", "Split", "SplitWithSizes", "Squeeze", "Stack"], _ALONE),
    **dict.fromkeys(["ToCopy", "Transpose", "Tril", "Triu", "Unbind", "UnsafeView", "Unsqueeze", "View"], _ALONE),
    **dict.fromkeys(["ViewAsComplex", "ViewAsReal"], _ALONE),
    **dict.fromkeys(["Embedding", "Index", "IndexSelect"], _LOOKED_UP),
    **dict.fromkeys(["Col2Im", "Gather", "Im2Col", "Sort", "Take"], _SUMS),
    **dict.fromkeys(["Topk", "Unfold"], _SUMS),
    # pooling, and its opposite
    "UpsampleNearest2D": Operation(
        mixes=True,
        unknown_inside=True,
        slips=(Slip(Cause.DROPPED_TERM, "one copy of each block stands for all of them", 0, slips.first_copies),),
    ),
    **dict.fromkeys(["AdaptiveAvgPool2D", "AdaptiveMaxPool2D", "AvgPool2D", "MaxPool2DWithIndices"], _SUMS),
}


def operation(node: Node) -> Operation:
    """What is known of the operation that the node differentiates; of a function of the user's own, nothing."""
    return UNKNOWN if is_custom(node) else OPERATIONS.get(kind(node), UNKNOWN)


def written_terms(node: Node, arriving: Tensor) -> tuple[Tensor, ...]:
    """The terms, as people write them, of what the node sends to its first input; empty if not known."""
    terms = operation(node).written
    try:
        return terms(node, arriving) if terms else ()
    except NotSavedError:
        return ()


def rounded_terms(node: Node, arriving: Tensor) -> Mapping[int, tuple[Tensor, ...]]:
    """By input, terms as large as what the node adds up and subtracts inside; empty if not known."""
    terms = operation(node).rounded
    try:
        return terms(node, arriving) if terms else {}
    except NotSavedError:
        return {}


def exponent(node: Node) -> float | None:
    """The number to whose power the line raises, if that is what it does."""
    return _number(node, "exponent") if "{exponent" in operation(node).text else None


def factors(node: Node) -> list[float]:
    """The numbers that the line multiplies by, or divides by."""
    numbers = (_number(node, name) for name in operation(node).factors)
    return [number for number in numbers if number is not None]


def softmax_dim(node: Node, rank: int) -> int | None:
    """The dimension that a softmax runs over; None for other operations."""
    if operation(node).written is not inner_terms.softmax:
        return None
    (dim,) = saved_dims(node, rank)
    return dim


def labels_that_count(node: Node) -> tuple[int, int] | None:
    """How many labels a loss does not ignore, and how many there are; None for other operations."""
    name = operation(node).labels
    try:
        target, ignored = (saved(node, name), signed(saved(node, "ignore_index"))) if name else (None, 0)
    except NotSavedError:
        return None
    return None if target is None else (int((target != ignored).sum()), target.numel())


def _number(node: Node, name: str) -> float | None:
    try:
        value = saved(node, name)
    except NotSavedError:
        return None
    if isinstance(value, Tensor) and value.dim() == 0 and not value.is_complex():
        value = value.item()
    return float(value) if isinstance(value, int | float) else None
