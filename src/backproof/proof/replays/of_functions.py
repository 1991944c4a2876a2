"""The replays of a custom kernel, each a function of the plain comparison and the ledger that it may consult."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from backproof.proof.replays.accuracy import precision
from backproof.proof.replays.comparison import BackwardRaisedError, Compared, KernelProof, compare, truth_of
from backproof.proof.replays.float64 import forgiven
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.runner import NO_SIZES, STRIDES, SkippedError
from backproof.proof.replays.sides import (
    Side,
    called,
    glance_side,
    gradients_of,
    in_dtype,
    judged_side,
    needed,
    outputs_of,
    run_side,
    upstreams_for,
    values_of,
)
from backproof.proof.replays.values import evidence_of
from backproof.proof.report.rows import Row, Verdict, finding
from backproof.proof.report.words import listed
from backproof.proof.user.calls import CannotProveError, describe
from backproof.proof.user.layouts import LAYOUTS, copied
from backproof.proof.user.sizes import Size, other_sizes
from backproof.proof.user.tensors import is_finite, is_float, same_bits
from backproof.proof.user.writes import damaged, describe_change, keep

_COPY = "write into a new tensor; autograd and other branches of the network still need the old numbers"


_STATELESS = "keep what backward needs with ctx.save_for_backward, and nothing on the class or in the module"


def kernel_replays(
    proof: KernelProof, dtypes: Sequence[torch.dtype], sizes: Sequence[int]
) -> dict[str, Callable[..., Iterable[Row]]]:
    """The replays of `prove_function` by name, in their order."""
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
    others = {size.name: partial(_size, size=size) for size in other_sizes(proof.kernel.inputs, sizes)}
    return replays | (NO_SIZES if proof.size is None else others)


def _new(rows: list[Row], ledger: Ledger) -> list[Row]:
    """The culprits that no earlier replay has found."""
    return [row for row in rows if row.culprit and row.name not in ledger.known()]


def _backward_raised(proof: KernelProof, error: Exception, when: str, cause: str | None, advice: str) -> list[Row]:
    name = next(iter(proof.plain.upstreams))
    message = f"the backward pass of function raises {when}: {error}.\n  next: {advice}"
    return [Row(name, Verdict.WRONG, cause, message, culprit=True, label=name)]


def _unchanged(proof: KernelProof, ledger: Ledger) -> list[Row]:
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


def _second_backward(proof: KernelProof, ledger: Ledger) -> list[Row]:
    """The same graph, sent back through twice."""
    kernel, upstreams = proof.kernel, proof.plain.upstreams
    side = run_side("function", kernel.function, proof.values, proof.needs, kernel.seed)
    gradients_of(side, {name: copied(value) for name, value in upstreams.items()}, proof.needs, retain=True)
    return _stateful(
        proof,
        ledger,
        side,
        "the second time over a retained graph",
        "changes from call to call: a second backward pass over the same graph gives other numbers",
    )


def _two_graphs(proof: KernelProof, ledger: Ledger) -> list[Row]:
    """Another call between the forward and the backward pass, as two layers of one kind have it."""
    kernel = proof.kernel
    side = run_side("function", kernel.function, proof.values, proof.needs, kernel.seed)
    other = {name: value * 0.75 if is_float(value) else value for name, value in proof.values.items()}
    try:
        run_side("function", kernel.function, other, proof.needs, kernel.seed)
    except CannotProveError as error:
        raise SkippedError(error.brief) from error
    return _stateful(
        proof,
        ledger,
        side,
        "when the function was called again before it",
        "depends on other calls: one more call of the function before the backward pass changes it",
    )


def _stateful(proof: KernelProof, ledger: Ledger, side: Side, when: str, claim: str) -> list[Row]:
    """Sends the plain run's upstream gradients through `side`, which must give the plain run's gradients."""
    try:
        upstreams = {name: copied(value) for name, value in proof.plain.upstreams.items()}
        gradients = gradients_of(side, upstreams, proof.needs)
    except Exception as error:
        return _backward_raised(proof, BackwardRaisedError(error), when, "F3", _STATELESS)
    plain = proof.plain.gradients
    changed = {
        name: gradient for name, gradient in gradients.items() if name in plain and not _equal(gradient, plain[name])
    }
    if not changed or glance_side(proof.plain.reference, changed, proof.plain.upstreams).faults <= ledger.known():
        return []
    rows = _new(judged_side(proof.plain.reference, changed, proof.plain.upstreams, {}), ledger)
    return [finding(row, "F3", claim, next=_STATELESS) for row in rows]


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else same_bits(a, b)


def _used_twice(proof: KernelProof, ledger: Ledger) -> list[Row]:
    """Inputs with a second reader and a result with a sister: the incoming gradient then belongs to several nodes."""
    if any(row.cause == "F3" for row in ledger.rows.values()):
        return []  # what is shared was damaged, which is known already
    kernel, output = proof.kernel, next(iter(proof.plain.upstreams))
    reference, function = (_residual(each, output) for each in (kernel.reference, kernel.function))
    twice = replace(kernel, reference=reference, function=function)
    try:
        rows = compare(twice, proof.values, proof.needs, known=ledger.known()).rows
    except BackwardRaisedError as error:
        if _raises_alone(proof, output):
            raise SkippedError(f"the backward pass of function raises when only {output} is used") from error
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
    proof: KernelProof, ledger: Ledger, *, needs: list[str] | None = None, outputs: Collection[str] | None = None
) -> list[Row]:
    """The same comparison with fewer inputs that need a gradient, or with only one output in use."""
    try:
        return compare(proof.kernel, proof.values, needs or proof.needs, outputs=outputs, known=ledger.known()).rows
    except CannotProveError as error:
        raise SkippedError(error.brief) from error
    except BackwardRaisedError as error:
        if outputs is not None:
            return _unused_raised(proof, error, outputs)
        when = f"when only {' and '.join(needs or proof.needs)} needs a gradient"
        return _backward_raised(
            proof, error, when, "F4", "look at ctx.needs_input_grad, and return one gradient an input"
        )


def _unused_raised(proof: KernelProof, error: BackwardRaisedError, outputs: Collection[str]) -> list[Row]:
    """Backward raised with some outputs unused: because None stands for their gradients, or for another reason."""
    unused = [name for name in proof.plain.upstreams if name not in outputs]
    when = f"when only {listed(list(outputs))} is used"
    if not _takes_zeros(proof, unused):
        return _backward_raised(proof, error, when, "F4", "make backward work for each output alone")
    when += f", since the gradient of {listed(unused)}, which nobody uses, is None there"
    advice = "take None for zeros, or leave out ctx.set_materialize_grads(False), and autograd sends zeros"
    return _backward_raised(proof, error, when, "F4", advice)


def _takes_zeros(proof: KernelProof, unused: Collection[str]) -> bool:
    """Whether backward goes through with zeros for the gradients of unused outputs."""
    upstreams = proof.plain.upstreams.items()
    return _goes_through(proof, {name: torch.zeros_like(u) if name in unused else copied(u) for name, u in upstreams})


def _raises_alone(proof: KernelProof, output: str) -> bool:
    """Whether backward raises as soon as only one of several outputs is used."""
    upstreams = proof.plain.upstreams
    return len(upstreams) > 1 and not _goes_through(proof, {output: copied(upstreams[output])})


def _goes_through(proof: KernelProof, upstreams: Mapping[str, Tensor]) -> bool:
    """Whether the function's backward pass takes these upstream gradients without raising."""
    side = run_side("function", proof.kernel.function, proof.values, proof.needs, proof.kernel.seed)
    try:
        gradients_of(side, upstreams, proof.needs)
    except Exception:
        return False
    return True


def _upstream_layout(proof: KernelProof, ledger: Ledger, *, layout: str) -> list[Row]:
    """The same numbers sent back in another layout."""
    make = LAYOUTS[layout]
    if all(make(value) is None for value in proof.plain.upstreams.values()):
        return []
    when = f"when the incoming gradient is {layout} in memory"
    return _laid_out(proof, ledger, when, partial(compare, proof.kernel, proof.values, proof.needs, layout=make),
                     partial(compare, proof.kernel, proof.values, proof.needs, layout=partial(_dense, make=make)),
                     STRIDES)  # fmt: skip


def _input_layout(proof: KernelProof, ledger: Ledger, *, layout: str) -> list[Row]:
    """All floating-point inputs in another layout."""
    made = {name: LAYOUTS[layout](value) if is_float(value) else None for name, value in proof.values.items()}
    values = {name: value if made[name] is None else made[name] for name, value in proof.values.items()}
    if all(value is None for value in made.values()):
        return []
    dense = {name: value.contiguous() if isinstance(value, Tensor) else value for name, value in values.items()}
    when = f"when the inputs are {layout} in memory"
    advice = "index with the strides, or start from x.contiguous()"
    return _laid_out(proof, ledger, when, partial(compare, proof.kernel, values, proof.needs),
                     partial(compare, proof.kernel, dense, proof.needs), advice)  # fmt: skip


def _dense(value: Tensor, *, make: Callable[[Tensor], Tensor | None]) -> Tensor | None:
    made = make(value)
    return None if made is None else made.contiguous()


def _laid_out(
    proof: KernelProof,
    ledger: Ledger,
    when: str,
    compare: Callable[..., Compared],
    control: Callable[..., Compared],
    advice: str,
) -> list[Row]:
    """New culprits are F2 where the same numbers, laid out contiguously, are right."""
    try:
        rows = compare(known=ledger.known()).rows
    except CannotProveError as error:  # it says so itself: nobody gets a wrong number
        raise SkippedError(error.brief) from error
    except BackwardRaisedError as error:
        rows = _backward_raised(proof, error, when, "F2", advice)
    new = _new(rows, ledger)
    if not new:
        return rows
    try:
        innocent = {row.name for row in control(known=ledger.known()).rows if not row.culprit}
    except (CannotProveError, BackwardRaisedError):
        innocent = set()
    claim = f"is wrong {when}; it is right for the same numbers in contiguous memory"
    return [
        finding(row, "F2", claim, next=advice) if row in new and row.name in innocent and row.cause != "F2" else row
        for row in rows
    ]


def _float64(proof: KernelProof, ledger: Ledger) -> list[Row]:
    """Rounding or an error? Differences as small as the plain dtype's rounding are nobody's fault."""
    plain = next(iter(proof.plain.upstreams.values())).dtype
    if plain is torch.float64:
        return []
    try:
        compared = compare(proof.kernel, in_dtype(proof.values, torch.float64), proof.needs, known=ledger.known())
    except CannotProveError as error:
        raise SkippedError(error.brief) from error
    except BackwardRaisedError as error:
        raise SkippedError(f"the backward pass of function raised {error}") from error
    for name, value in compared.function.differentiable.items():
        if value.dtype is not torch.float64:
            raise SkippedError(f"function turns float64 inputs into a {value.dtype} {name}")
    return forgiven(compared.rows, ledger, plain)


def _low_precision(proof: KernelProof, ledger: Ledger, *, dtype: torch.dtype) -> list[Row]:
    """Errors against float64, of the same rounded inputs, beside those of the plain reference in `dtype`."""
    values, kernel, needs = in_dtype(proof.values, dtype), proof.kernel, proof.needs
    truth = truth_of(kernel, values, needs)
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


def _size(proof: KernelProof, ledger: Ledger, *, size: Size) -> list[Row]:
    """Another size, unless the reference has no finite answer there either."""
    kernel = replace(proof.kernel, inputs=size.inputs, usual=size.usual)
    try:
        values = values_of(kernel, size.n)
        needs = [name for name in needed(kernel, values) if name in proof.needs]
        reference = run_side("reference", kernel.reference, values, needs, kernel.seed)
    except CannotProveError as error:
        raise SkippedError(error.brief) from error
    truth = gradients_of(reference, upstreams_for(reference, kernel.seed), needs)
    if not is_finite(reference.outputs) or not is_finite(truth):
        raise SkippedError("the values or gradients of reference are not finite")
    try:
        known = ledger.known() - (ledger.counted() if size.n > 2 else set())
        return compare(kernel, values, needs, known=known).rows
    except CannotProveError as error:
        row = Row(next(iter(proof.plain.upstreams)), Verdict.WRONG, culprit=True)
        return [replace(row, message=f"{error}\n  next: make the function work for {size.name}, or skip this replay")]
    except BackwardRaisedError as error:
        return _backward_raised(proof, error, f"for {size.name}", None, "make that size work too, or skip this replay")
