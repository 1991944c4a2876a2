"""Proving a custom kernel: a torch.autograd.Function, or any callable with a backward pass of its own, beside a plain
differentiable reference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from backproof.proof.calls import CannotProveError, describe, is_finite, is_float, same_bits
from backproof.proof.kernel import (
    Gradients,
    Kernel,
    Side,
    Values,
    apply_of,
    as_accurate,
    called,
    evidence_of,
    glance_side,
    gradients_of,
    in_dtype,
    judged_side,
    needed,
    outputs_of,
    precision,
    raw_gradients,
    run_side,
    upstreams_for,
    value_rows,
    values_of,
)
from backproof.proof.layouts import LAYOUTS, copied
from backproof.proof.ledger import Ledger, finding
from backproof.proof.prove import SIZES, plain_size
from backproof.proof.records import Report, Row, Verdict
from backproof.proof.replays import NO_SIZES, STRIDES, SkippedError, forgiven, replay_all
from backproof.proof.writes import damaged, describe_change, keep

LOW_PRECISION = (torch.bfloat16, torch.float16)

_COPY = "write into a new tensor; autograd and other branches of the network still need the old numbers"
_STATELESS = "keep what backward needs with ctx.save_for_backward, and nothing on the class or in the module"


def prove_function(
    function: Any,
    reference: Callable,
    inputs: Any,
    *,
    grad_inputs: Collection[str] | None = None,
    dtypes: Sequence[torch.dtype] = LOW_PRECISION,
    sizes: Sequence[int] = SIZES,
    skip: Collection[str] = (),
    seed: int = 0,
) -> Report:
    """Proves `function` beside `reference`: its values, and the gradient of every input, as a network would use it.

    - `function` is a torch.autograd.Function (its `apply` is called) or any callable with a backward pass; `reference`
      computes the same with plain differentiable operations. Both get the same positional arguments and return a
      tensor or several.
    - `inputs` is a tuple (or a mapping in the order of the arguments) of tensors and other arguments, a function
      without arguments, or a function of a size n. All floating-point inputs need a gradient, or only `grad_inputs`.
    - `dtypes` are low-precision dtypes to try: there an error against float64 may be at most twice the plain
      reference's in the same dtype, plus a unit of rounding.
    - `sizes` are tried where `inputs` takes a size; `skip` names replays to leave out.

    The replays: backward a second time over a retained graph, two graphs at once, the input and the result used twice,
    one output at a time, each input alone, upstream gradients and inputs in other layouts, float64, `dtypes`, sizes.
    What the function or the reference refuses is listed as skipped. Raises CannotProveError where they cannot run.
    """
    kernel = Kernel(apply_of(function), reference, inputs, grad_inputs, seed)
    size = plain_size(inputs)
    values = values_of(kernel, size)
    needs = needed(kernel, values)
    try:
        plain = _compare(kernel, values, needs)
    except _RaisedError as error:
        raise CannotProveError(f"The backward pass of function raised {error}") from error.__cause__
    proof = _Proof(kernel, size, values, needs, plain)
    ledger = Ledger(plain.rows)
    if plain.refused:
        ledger.skip("all replays", "automatic differentiation refuses gradients of these shapes")
    else:
        replay_all(_replays(proof, dtypes, sizes), proof, ledger, skip)
    return ledger.report()


@dataclass(frozen=True)
class _Compared:
    """One comparison: both sides, what was sent back, the rows it gives, and whether the engine took the gradients."""

    function: Side
    reference: Side
    upstreams: dict[str, Tensor]
    gradients: Gradients
    rows: list[Row]
    refused: bool = False


@dataclass(frozen=True)
class _Proof:
    """The plain run, which the replays are compared with."""

    kernel: Kernel
    size: int | None
    values: Values
    needs: list[str]
    plain: _Compared


def _compare(
    kernel: Kernel,
    values: Values,
    needs: list[str],
    *,
    layout: Callable[[Tensor], Tensor | None] | None = None,
    outputs: Collection[str] | None = None,
    known: Collection[str] | None = None,
) -> _Compared:
    """Runs both sides on `values`, sends the same random gradient back through both, in `layout`, and compares."""
    reference = run_side("reference", kernel.reference, values, needs, kernel.seed)
    if not reference.differentiable:
        raise CannotProveError(
            "No output of reference depends on an input that needs a gradient, so there is nothing to prove."
        )
    function = run_side("function", kernel.function, values, needs, kernel.seed)
    truth = _truth(kernel, values, needs)
    rows = value_rows(function, reference, truth)
    upstreams = upstreams_for(reference, kernel.seed)
    upstreams = {name: dense for name, dense in upstreams.items() if outputs is None or name in outputs}
    if any(function.outputs.get(name) is None or function.outputs[name].shape != dense.shape
           for name, dense in upstreams.items()):  # fmt: skip
        return _Compared(function, reference, upstreams, {}, rows, refused=True)
    if layout is not None:
        upstreams = {name: made for name, dense in upstreams.items() if (made := layout(dense)) is not None}
    sent = {name: copied(value) for name, value in upstreams.items()}
    gradients, misshapen, refused = _gradients(kernel, values, needs, function, sent)
    own = gradients_of(reference, upstreams, needs, retain=True)
    gradients = {name: gradient for name, gradient in gradients.items() if gradient is not None or _needed(own[name])}
    exact = gradients_of(truth, {n: u.double() for n, u in upstreams.items()}, needs) if truth else None
    rows += _judged(reference, gradients | misshapen, upstreams, own, exact, known)
    return _Compared(function, reference, upstreams, gradients, rows, refused)


def _judged(
    reference: Side,
    gradients: Gradients,
    upstreams: dict[str, Tensor],
    own: Gradients,
    exact: Gradients | None,
    known: Collection[str] | None,
) -> list[Row]:
    """Full rows in the plain run (`known` is None); in a replay, only what it shows beyond the known culprits."""
    seen = glance_side(reference, gradients, upstreams)
    accurate = as_accurate(seen.faults, gradients, own, exact)
    fine = {row.name for row in accurate}
    if known is not None and seen.faults - fine <= set(known):
        return seen.rows() + accurate
    doubtful = {name: gradient for name, gradient in gradients.items() if name not in fine}
    return accurate + (judged_side(reference, doubtful, upstreams) if doubtful else [])


def _needed(gradient: Tensor | None) -> bool:
    """None may stand for a gradient of zeros."""
    return gradient is not None and bool((gradient != 0).any())


def _truth(kernel: Kernel, values: Values, needs: list[str]) -> Side | None:
    """The reference in float64, where it can."""
    try:
        side = run_side("reference", kernel.reference, in_dtype(values, torch.float64), needs, kernel.seed)
    except CannotProveError:
        return None
    return side if all(value.dtype is torch.float64 for value in side.differentiable.values()) else None


def _gradients(
    kernel: Kernel, values: Values, needs: list[str], function: Side, sent: dict[str, Tensor]
) -> tuple[Gradients, Gradients, bool]:
    """The function's gradients, those returned in a shape that is not the input's, and whether the engine refused."""
    spare = run_side("function", kernel.function, values, needs, kernel.seed)
    try:
        raw = raw_gradients(spare, {name: copied(value) for name, value in sent.items()})
    except Exception:  # it raises again below, where it is reported
        raw = None
    misshapen: Gradients = {
        name: gradient
        for name, gradient in (raw or {}).items()
        if name in needs and isinstance(gradient, Tensor) and gradient.shape != values[name].shape
    }
    try:
        return gradients_of(function, sent, needs, retain=True), misshapen, False
    except Exception as error:
        if misshapen and raw is not None:  # the engine refuses them all for the sake of one
            return {name: raw.get(name) for name in needs}, misshapen, True
        raise _RaisedError(error) from error


class _RaisedError(Exception):
    """The function's backward pass raised; the original is the cause."""

    def __init__(self, error: Exception) -> None:
        super().__init__(describe(error))


def _replays(
    proof: _Proof, dtypes: Sequence[torch.dtype], sizes: Sequence[int]
) -> dict[str, Callable[..., Iterable[Row]]]:
    replays: dict[str, Callable[..., Iterable[Row]]] = {
        "arguments unchanged": _unchanged,
        "second backward": _second_backward,
        "two graphs at once": _two_graphs,
        "used twice": _used_twice,
    }
    outputs = list(proof.plain.reference.differentiable)
    if len(outputs) > 1:
        replays |= {f"only {name}": partial(_again, outputs=[name]) for name in outputs}
    replays |= {f"upstream {name}": partial(_upstream_layout, layout=name) for name in LAYOUTS}
    replays |= {f"inputs {name}": partial(_input_layout, layout=name) for name in LAYOUTS}
    subsets = {f"only {name} needs a gradient": [name] for name in proof.needs}
    if len(proof.needs) > 2:
        subsets |= {f"all but {name} need a gradient": [n for n in proof.needs if n != name] for name in proof.needs}
    if len(proof.needs) > 1:
        replays |= {name: partial(_again, needs=subset) for name, subset in subsets.items()}
    replays["float64"] = _float64
    replays |= {str(dtype).removeprefix("torch."): partial(_low_precision, dtype=dtype) for dtype in dtypes}
    replays |= NO_SIZES if proof.size is None else {f"size {n}": partial(_size, n=n) for n in sizes}
    return replays


def _new(rows: list[Row], ledger: Ledger) -> list[Row]:
    """The culprits that no earlier replay has found."""
    return [row for row in rows if row.culprit and row.name not in ledger.known()]


def _backward_raised(proof: _Proof, error: Exception, when: str, cause: str | None, advice: str) -> list[Row]:
    name = next(iter(proof.plain.upstreams))
    message = f"the backward pass of function raises {when}: {error}.\n  next: {advice}"
    return [Row(name, Verdict.WRONG, cause, message, culprit=True, label=name)]


def _unchanged(proof: _Proof, ledger: Ledger) -> list[Row]:
    """Inputs, outputs, saved tensors and the incoming gradient are the same before and after."""
    kernel, rows = proof.kernel, []
    values = {name: copied(value) if isinstance(value, Tensor) else value for name, value in proof.values.items()}
    leaves = {name: value.requires_grad_(name in proof.needs) if isinstance(value, Tensor) else value
              for name, value in values.items()}  # fmt: skip
    inputs = keep(leaves)
    side = called("function", kernel.function, leaves, kernel.seed)
    for name, kept in damaged(inputs).items():
        row = ledger.rows.get(name) or Row(name, Verdict.WRONG)
        rows.append(finding(row, "F3", f"The forward pass changes its input {name} in place", describe_change(kept),
                            next=_COPY))  # fmt: skip
    upstreams = {name: copied(value) for name, value in proof.plain.upstreams.items()}
    output = next(iter(upstreams), "output")
    saved = getattr(side.outputs[output].grad_fn, "saved_tensors", ())
    given = {
        **{f"its input {name}": (name, value) for name, value in leaves.items()},
        **{f"its {name}": (name, value) for name, value in side.outputs.items()},
        **{f"its saved tensor {i}": (output, value) for i, value in enumerate(saved)},
        **{f"the incoming gradient of {name}": (name, value) for name, value in upstreams.items()},
    }
    kept = keep({what: value for what, (_, value) in given.items()})
    gradients_of(side, upstreams, proof.needs, retain=True)
    for what, item in damaged(kept).items():
        name = given[what][0]
        if name not in {row.name for row in rows}:
            row = ledger.rows.get(name) or Row(name, Verdict.WRONG)
            claim = f"The backward pass changes {what} in place"
            rows.append(finding(row, "F3", claim, describe_change(item), next=_COPY))
    return rows


def _second_backward(proof: _Proof, ledger: Ledger) -> list[Row]:
    """The same graph, sent back through twice."""
    kernel, upstreams = proof.kernel, proof.plain.upstreams
    side = run_side("function", kernel.function, proof.values, proof.needs, kernel.seed)
    gradients_of(side, {name: copied(value) for name, value in upstreams.items()}, proof.needs, retain=True)
    try:
        again = gradients_of(side, {name: copied(value) for name, value in upstreams.items()}, proof.needs)
    except Exception as error:
        return _backward_raised(proof, _RaisedError(error), "the second time over a retained graph", "F3", _STATELESS)
    return _stateful(
        proof,
        ledger,
        again,
        "changes from call to call: a second backward pass over the same graph gives other numbers",
    )


def _two_graphs(proof: _Proof, ledger: Ledger) -> list[Row]:
    """Another call between the forward and the backward pass, as two layers of one kind have it."""
    kernel = proof.kernel
    side = run_side("function", kernel.function, proof.values, proof.needs, kernel.seed)
    other = {name: value * 0.75 if is_float(value) else value for name, value in proof.values.items()}
    try:
        run_side("function", kernel.function, other, proof.needs, kernel.seed)
    except CannotProveError as error:
        raise SkippedError(error.brief) from error
    upstreams = {name: copied(value) for name, value in proof.plain.upstreams.items()}
    try:
        gradients = gradients_of(side, upstreams, proof.needs)
    except Exception as error:
        return _backward_raised(
            proof, _RaisedError(error), "when the function was called again before it", "F3", _STATELESS
        )
    return _stateful(
        proof,
        ledger,
        gradients,
        "depends on other calls: one more call of the function before the backward pass changes it",
    )


def _stateful(proof: _Proof, ledger: Ledger, gradients: Gradients, claim: str) -> list[Row]:
    plain = proof.plain.gradients
    changed = {
        name: gradient for name, gradient in gradients.items() if name in plain and not _equal(gradient, plain[name])
    }
    if not changed or glance_side(proof.plain.reference, changed, proof.plain.upstreams).faults <= ledger.known():
        return []
    rows = _new(judged_side(proof.plain.reference, changed, proof.plain.upstreams), ledger)
    return [finding(row, "F3", claim, next=_STATELESS) for row in rows]


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else same_bits(a, b)


def _used_twice(proof: _Proof, ledger: Ledger) -> list[Row]:
    """Inputs with a second reader and a result with a sister: the incoming gradient then belongs to several nodes."""
    if any(row.cause == "F3" for row in ledger.rows.values()):
        return []  # what is shared was damaged, which is known already
    kernel, output = proof.kernel, next(iter(proof.plain.upstreams))
    reference, function = (_residual(each, output) for each in (kernel.reference, kernel.function))
    twice = replace(kernel, reference=reference, function=function)
    try:
        rows = _compare(twice, proof.values, proof.needs, known=ledger.known()).rows
    except _RaisedError as error:
        return _backward_raised(proof, error, "where its input and its result are used twice", "F3", _COPY)
    claim = "is wrong where its input and its incoming gradient are used elsewhere too, as in a residual branch"
    return [finding(row, "F3", claim, next=_COPY) for row in _new(rows, ledger)]


def _residual(function: Callable, output: str) -> Callable:
    """Two calls of `function` and a shortcut from its inputs, added up.

    The shortcut is computed first, so its backward pass runs last and sees what was done to the shared gradient.
    """

    def residual(*arguments: Any) -> Tensor:
        shared = [value * 1.0 if is_float(value) else value for value in arguments]
        shortcut = torch.stack([value.sin().sum().double() for value in shared if is_float(value)]).sum()
        first, second = (outputs_of("function", function(*shared))[output] for _ in range(2))
        return shortcut.to(first.dtype).expand_as(first) + first + second

    return residual


def _again(
    proof: _Proof, ledger: Ledger, *, needs: list[str] | None = None, outputs: Collection[str] | None = None
) -> list[Row]:
    """The same comparison with fewer inputs that need a gradient, or with only one output in use."""
    try:
        return _compare(proof.kernel, proof.values, needs or proof.needs, outputs=outputs, known=ledger.known()).rows
    except CannotProveError as error:
        raise SkippedError(error.brief) from error
    except _RaisedError as error:
        when = f"when only {' and '.join(needs)} needs a gradient" if needs else f"when only {outputs} is used"
        return _backward_raised(
            proof, error, when, "F4", "look at ctx.needs_input_grad, and return one gradient an input"
        )


def _upstream_layout(proof: _Proof, ledger: Ledger, *, layout: str) -> list[Row]:
    """The same numbers sent back in another layout."""
    make = LAYOUTS[layout]
    if all(make(value) is None for value in proof.plain.upstreams.values()):
        return []
    when = f"when the incoming gradient is {layout} in memory"
    return _laid_out(proof, ledger, when, partial(_compare, proof.kernel, proof.values, proof.needs, layout=make),
                     partial(_compare, proof.kernel, proof.values, proof.needs, layout=partial(_dense, make=make)),
                     STRIDES)  # fmt: skip


def _input_layout(proof: _Proof, ledger: Ledger, *, layout: str) -> list[Row]:
    """All floating-point inputs in another layout."""
    made = {name: LAYOUTS[layout](value) if is_float(value) else None for name, value in proof.values.items()}
    values = {name: value if made[name] is None else made[name] for name, value in proof.values.items()}
    if all(value is None for value in made.values()):
        return []
    dense = {name: value.contiguous() if isinstance(value, Tensor) else value for name, value in values.items()}
    when = f"when the inputs are {layout} in memory"
    advice = "index with the strides, or start from x.contiguous()"
    return _laid_out(proof, ledger, when, partial(_compare, proof.kernel, values, proof.needs),
                     partial(_compare, proof.kernel, dense, proof.needs), advice)  # fmt: skip


def _dense(value: Tensor, *, make: Callable[[Tensor], Tensor | None]) -> Tensor | None:
    made = make(value)
    return None if made is None else made.contiguous()


def _laid_out(
    proof: _Proof,
    ledger: Ledger,
    when: str,
    compare: Callable[..., _Compared],
    control: Callable[..., _Compared],
    advice: str,
) -> list[Row]:
    """New culprits are F2 where the same numbers, laid out contiguously, are right."""
    try:
        rows = compare(known=ledger.known()).rows
    except CannotProveError as error:  # it says so itself: nobody gets a wrong number
        raise SkippedError(error.brief) from error
    except _RaisedError as error:
        rows = _backward_raised(proof, error, when, "F2", advice)
    new = _new(rows, ledger)
    if not new:
        return rows
    try:
        innocent = {row.name for row in control(known=ledger.known()).rows if not row.culprit}
    except (CannotProveError, _RaisedError):
        innocent = set()
    claim = f"is wrong {when}; it is right for the same numbers in contiguous memory"
    return [
        finding(row, "F2", claim, next=advice) if row in new and row.name in innocent and row.cause != "F2" else row
        for row in rows
    ]


def _float64(proof: _Proof, ledger: Ledger) -> list[Row]:
    """Rounding or an error? Differences as small as the plain dtype's rounding are nobody's fault."""
    plain = next(iter(proof.plain.upstreams.values())).dtype
    if plain is torch.float64:
        return []
    try:
        compared = _compare(proof.kernel, in_dtype(proof.values, torch.float64), proof.needs, known=ledger.known())
    except CannotProveError as error:
        raise SkippedError(error.brief) from error
    except _RaisedError as error:
        raise SkippedError(f"the backward pass of function raised {error}") from error
    for name, value in compared.function.differentiable.items():
        if value.dtype is not torch.float64:
            raise SkippedError(f"function turns float64 inputs into a {value.dtype} {name}")
    return forgiven(compared.rows, ledger, plain)


def _low_precision(proof: _Proof, ledger: Ledger, *, dtype: torch.dtype) -> list[Row]:
    """Errors against float64, of the same rounded inputs, beside those of the plain reference in `dtype`."""
    values, kernel, needs = in_dtype(proof.values, dtype), proof.kernel, proof.needs
    truth = _truth(kernel, values, needs)
    if truth is None:
        raise SkippedError("reference does not run in float64, which the errors are measured against")
    try:
        reference = run_side("reference", kernel.reference, values, needs, kernel.seed)
        function = run_side("function", kernel.function, values, needs, kernel.seed)
        upstreams = upstreams_for(reference, kernel.seed)
        own = gradients_of(reference, upstreams, needs)
    except CannotProveError as error:
        raise SkippedError(error.brief) from error
    except RuntimeError as error:
        raise SkippedError(f"the backward pass of reference raised {describe(error)}") from error
    if not is_finite(reference.outputs) or not is_finite(own):
        raise SkippedError(f"the plain reference is not finite in {dtype}")
    try:
        found = gradients_of(function, upstreams, needs)
    except Exception as error:
        raise SkippedError(f"the backward pass of function raised {describe(error)}") from error
    exact = gradients_of(truth, {name: value.double() for name, value in upstreams.items()}, needs)
    results = [(name, function.outputs.get(name), value, truth.outputs[name], name)
               for name, value in reference.outputs.items() if is_float(value)]  # fmt: skip
    results += [(name, found[name], own[name], exact[name], f"d{name}") for name in needs]
    found_rows = [row for each in results if (row := _imprecise(*each, dtype)) is not None]
    return _new(found_rows, ledger)


def _imprecise(
    name: str, got: Tensor | None, plain: Tensor | None, exact: Tensor | None, label: str, dtype: torch.dtype
) -> Row | None:
    if got is None or plain is None or exact is None or got.shape != plain.shape:
        return None  # the plain run has reported that already
    measured = precision(got, plain, exact)
    if measured.ok:
        return None
    row = Row(name, Verdict.WRONG, label=label, evidence=evidence_of(got, exact))
    short = str(dtype).removeprefix("torch.")
    return finding(row, "F5", f"is less precise in {short} than plain operations", str(measured),
                   next="sum in float32, and round to the narrow dtype once, at the end")  # fmt: skip


def _size(proof: _Proof, ledger: Ledger, *, n: int) -> list[Row]:
    """Another size, unless the reference has no finite answer there either."""
    try:
        values = values_of(proof.kernel, n)
        needs = [name for name in needed(proof.kernel, values) if name in proof.needs]
        reference = run_side("reference", proof.kernel.reference, values, needs, proof.kernel.seed)
    except CannotProveError as error:
        raise SkippedError(error.brief) from error
    truth = gradients_of(reference, upstreams_for(reference, proof.kernel.seed), needs)
    if not is_finite(reference.outputs) or not is_finite(truth):
        raise SkippedError("the values or gradients of reference are not finite")
    try:
        return _compare(proof.kernel, values, needs, known=ledger.known()).rows
    except CannotProveError as error:
        row = Row(next(iter(proof.plain.upstreams)), Verdict.WRONG, culprit=True)
        return [replace(row, message=f"{error}\n  next: make the function work for size {n}, or skip this replay")]
    except _RaisedError as error:
        return _backward_raised(proof, error, f"for size {n}", None, "make that size work too, or skip this replay")
