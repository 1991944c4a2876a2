"""Activations and functions of single elements."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from torch_lines.draw import Draw, Family, Line

Of = Callable[[Tensor], Tensor]


def _shape(d: Draw) -> tuple[int, ...]:
    return d.pick((d.size(),), (d.size(), d.size()), (d.size(1, 5), d.size(1, 7), d.size(1, 7)))


def _of_data(call: Of, plain: Of | None = None) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=d.data(*_shape(d))), call, plain)


def _of_mild(call: Of, plain: Of | None = None) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=d.mild(*_shape(d))), call, plain)


def _of_positive(call: Of, plain: Of | None = None) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=d.positive(*_shape(d))), call, plain)


def _of_unit(call: Of, plain: Of | None = None, low: float = -0.99) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=d.within(low, 0.99, *_shape(d))), call, plain)


def _of_two(call: Callable[..., Tensor], plain: Callable[..., Tensor] | None = None) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        shape = _shape(d)
        return Line(dict(x=d.data(*shape), z=d.data(*d.pick(shape, (shape[-1],)))), call, plain)

    return line


def _of_two_positive(call: Callable[..., Tensor], plain: Callable[..., Tensor] | None = None) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        shape = _shape(d)
        return Line(dict(x=d.positive(*shape), z=d.positive(*d.pick(shape, (shape[-1],)))), call, plain)

    return line


def _over_rows(call: Of, plain: Of) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=d.pick(d.data, d.mild)(d.size(), d.size())), call, plain)


def _prelu(d: Draw) -> Line:
    c = d.size(1, 7)
    return Line(
        dict(x=d.data(d.size(), c, d.size()), w=d.normal(c)),
        lambda x, w: functional.prelu(x, w),
        lambda x, w: torch.where(x > 0, x, w[:, None] * x),
    )


def _glu(d: Draw) -> Line:
    half = d.size()
    return Line(
        dict(x=d.pick(d.data, d.mild)(d.size(), 2 * half)),
        lambda x: functional.glu(x, 1),
        lambda x: x[:, :half] * _sigmoid(x[:, half:]),
    )


def _power(d: Draw) -> Line:
    exponent = d.pick(2, 3, 0.5, -1, -0.5, 1.7)
    return Line(dict(x=d.positive(*_shape(d))), lambda x: x**exponent, lambda x: (exponent * x.log()).exp())


def _tensor_power(d: Draw) -> Line:
    shape = _shape(d)
    return Line(
        dict(x=d.positive(*shape), z=d.within(-2, 2, *shape)),
        lambda x, z: x**z,
        lambda x, z: (z * x.log()).exp(),
    )


def _where(d: Draw) -> Line:
    shape = _shape(d)
    mask = d.mask(*shape)
    return Line(
        dict(x=d.data(*shape), z=d.data(*shape)),
        lambda x, z: torch.where(mask, x, z),
        lambda x, z: mask.to(x.dtype) * x + (~mask).to(x.dtype) * z,
    )


def _lerp(d: Draw) -> Line:
    shape = _shape(d)
    return Line(
        dict(x=d.data(*shape), z=d.data(*shape), w=d.within(0, 1, *shape)),
        lambda x, z, w: torch.lerp(x, z, w),
        lambda x, z, w: x + w * (z - x),
    )


def _fused_product(call: Callable[..., Tensor], plain: Callable[..., Tensor]) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        shape = _shape(d)
        return Line(dict(c=d.data(*shape), x=d.data(*shape), z=d.positive(*shape)), call, plain)

    return line


def _larger(x: Tensor, z: Tensor) -> Tensor:
    """The share of x in the larger of two; half where they are equal."""
    return (x > z).to(x.dtype) + 0.5 * (x == z).to(x.dtype)


def _sigmoid(x: Tensor) -> Tensor:
    e = (-x.abs()).exp()
    return torch.where(x > 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: Tensor) -> Tensor:
    return x.clamp(min=0) + (-x.abs()).exp().log1p()


def _tanh(x: Tensor) -> Tensor:
    e = (-2 * x.abs()).exp()
    return x.sign() * (1 - e) / (1 + e)


def _softmax(x: Tensor) -> Tensor:
    e = (x - x.amax(1, keepdim=True).detach()).exp()
    return e / e.sum(1, keepdim=True)


def _smooth_tanh_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


_ALPHA, _SCALE = 1.6732632423543772848, 1.0507009873554804934

ELEMENTWISE: Family = {
    "relu": _of_data(functional.relu, lambda x: x * (x > 0).to(x.dtype)),
    "relu6": _of_data(functional.relu6, lambda x: x.clamp(0, 6)),
    "leaky_relu": _of_data(functional.leaky_relu, lambda x: torch.where(x > 0, x, 0.01 * x)),
    "prelu": _prelu,
    "elu": _of_data(functional.elu, lambda x: torch.where(x > 0, x, x.clamp(max=0).exp() - 1)),
    "selu": _of_data(functional.selu, lambda x: _SCALE * torch.where(x > 0, x, _ALPHA * (x.clamp(max=0).exp() - 1))),
    "celu": _of_data(
        lambda x: functional.celu(x, 1.5), lambda x: torch.where(x > 0, x, 1.5 * ((x.clamp(max=0) / 1.5).exp() - 1))
    ),
    "gelu": _of_data(functional.gelu, lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
    "gelu by tanh": _of_data(lambda x: functional.gelu(x, approximate="tanh"), _smooth_tanh_gelu),
    "silu": _of_data(functional.silu, lambda x: x * _sigmoid(x)),
    "mish": _of_data(functional.mish, lambda x: x * torch.tanh(_softplus(x))),
    "softplus": _of_data(functional.softplus),
    "softsign": _of_data(functional.softsign, lambda x: x / (1 + x.abs())),
    "tanhshrink": _of_data(functional.tanhshrink, lambda x: x - torch.tanh(x)),
    "hardshrink": _of_data(functional.hardshrink, lambda x: torch.where(x.abs() > 0.5, x, 0.0)),
    "softshrink": _of_data(functional.softshrink, lambda x: x.sign() * (x.abs() - 0.5).clamp(min=0)),
    "hardtanh": _of_data(functional.hardtanh, lambda x: x.clamp(-1, 1)),
    "hardsigmoid": _of_data(functional.hardsigmoid, lambda x: (x / 6 + 0.5).clamp(0, 1)),
    "hardswish": _of_data(functional.hardswish, lambda x: x * (x + 3).clamp(0, 6) / 6),
    "logsigmoid": _of_data(functional.logsigmoid, lambda x: -_softplus(-x)),
    "glu": _glu,
    "threshold": _of_data(lambda x: functional.threshold(x, 0.1, 20), lambda x: torch.where(x > 0.1, x, 20.0)),
    "sigmoid": _of_data(torch.sigmoid, _sigmoid),
    "tanh": _of_data(torch.tanh, _tanh),
    "softmax": _over_rows(lambda x: x.softmax(1), _softmax),
    "log_softmax": _over_rows(lambda x: x.log_softmax(1), lambda x: _softmax(x).log()),
    "softmin": _over_rows(lambda x: functional.softmin(x, 1), lambda x: _softmax(-x)),
    "erf": _of_mild(torch.erf),
    "erfc": _of_mild(torch.erfc),
    "erfinv": _of_unit(torch.erfinv),
    "exp": _of_mild(torch.exp),
    "exp2": _of_mild(torch.exp2, lambda x: (x * math.log(2)).exp()),
    "expm1": _of_mild(torch.expm1),
    "log": _of_positive(torch.log),
    "log2": _of_positive(torch.log2, lambda x: x.log() / math.log(2)),
    "log10": _of_positive(torch.log10, lambda x: x.log() / math.log(10)),
    "log1p": _of_positive(torch.log1p, lambda x: (1 + x).log()),
    "sqrt": _of_positive(torch.sqrt, lambda x: x**0.5),
    "rsqrt": _of_positive(torch.rsqrt, lambda x: 1 / x.sqrt()),
    "reciprocal": _of_positive(torch.reciprocal, lambda x: x**-1),
    "square": _of_data(torch.square, lambda x: x * x),
    "abs": _of_data(torch.abs, lambda x: x * x.sign()),
    "sin": _of_mild(torch.sin),
    "cos": _of_mild(torch.cos),
    "tan": _of_unit(torch.tan, lambda x: x.sin() / x.cos()),
    "asin": _of_unit(torch.asin),
    "acos": _of_unit(torch.acos, lambda x: math.pi / 2 - x.asin()),
    "atan": _of_data(torch.atan),
    "sinh": _of_mild(torch.sinh, lambda x: (x.exp() - (-x).exp()) / 2),
    "cosh": _of_mild(torch.cosh, lambda x: (x.exp() + (-x).exp()) / 2),
    "asinh": _of_data(torch.asinh),
    "acosh": _of_positive(lambda x: torch.acosh(1 + x)),
    "atanh": _of_unit(torch.atanh, lambda x: 0.5 * ((1 + x) / (1 - x)).log()),
    "sinc": _of_mild(torch.sinc),
    "lgamma": _of_positive(torch.lgamma),
    "digamma": _of_positive(torch.digamma),
    "i0": _of_mild(torch.i0),
    "logit": _of_unit(torch.logit, lambda x: (x / (1 - x)).log(), 0.01),
    "clamp": _of_data(
        lambda x: x.clamp(-0.5, 0.7), lambda x: torch.where(x < -0.5, -0.5, torch.where(x > 0.7, 0.7, x))
    ),
    "pow": _power,
    "pow by a tensor": _tensor_power,
    "mul": _of_two(lambda x, z: x * z, lambda x, z: z * x),
    "sub": _of_two(lambda x, z: x - z, lambda x, z: x + -z),
    "div": _of_two_positive(lambda x, z: x / z, lambda x, z: x * z**-1),
    "remainder": _of_two_positive(torch.remainder, lambda x, z: x - z * (x / z).detach().floor()),
    "atan2": _of_two(torch.atan2),
    "hypot": _of_two(torch.hypot, lambda x, z: (x * x + z * z).sqrt()),
    "maximum": _of_two(torch.maximum, lambda x, z: _larger(x, z) * x + _larger(z, x) * z),
    "logaddexp": _of_two(torch.logaddexp, lambda x, z: torch.maximum(x, z) + (-(x - z).abs()).exp().log1p()),
    "xlogy": _of_two_positive(torch.xlogy, lambda x, z: x * z.log()),
    "copysign": _of_two(torch.copysign, lambda x, z: x * x.sign().detach() * z.detach().sign() + 0 * z),
    "where": _where,
    "lerp": _lerp,
    "addcmul": _fused_product(lambda c, x, z: torch.addcmul(c, x, z, value=0.5), lambda c, x, z: c + 0.5 * x * z),
    "addcdiv": _fused_product(lambda c, x, z: torch.addcdiv(c, x, z, value=0.5), lambda c, x, z: c + 0.5 * x / z),
}
