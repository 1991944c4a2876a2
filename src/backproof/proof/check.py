"""`check(loss, locals())`: the gradients that are already there, paired with their values by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from backproof.proof.graph.graph import trace
from backproof.proof.graph.passes import as_recorded, autograds, no_trace
from backproof.proof.judge.judge import CannotJudgeError, GraphFreedError, judge
from backproof.proof.judge.retained import compare_with_retained
from backproof.proof.report.cause import Cause
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Row, Verdict
from backproof.proof.report.words import listed
from backproof.proof.user.conventions import PLAIN, Convention
from backproof.proof.user.pairing import Given, Pairs, pair_up

Pair = str | Tensor | tuple[Any, Any] | None


def check(
    loss: Tensor,
    namespace: Mapping[str, Any],
    *,
    upstream: Tensor | None = None,
    prefix: str | None = None,
    suffix: str | None = None,
    pairs: Mapping[str, Pair] | None = None,
) -> Report:
    """Which of the hand-written gradients in `namespace` are right, and what is wrong with the others.

        report = check(loss, locals())

    Every tensor called `d<name>` is taken for the gradient of the tensor `<name>`, leaf or intermediate; nothing has
    to be retained beforehand. Other usual names are understood as well, and the report says which were taken:
    `d_x`, `dL_dx`, `grad_x`, `x_grad`, a second version such as `dx_fast`, `grads["x"]`, `grads[0]` beside
    `parameters[0]`, `self.dW` beside `self.W`, and arrays of NumPy. With `prefix` or `suffix` it is
    `<prefix><name><suffix>` and nothing else. `pairs` names further ones, or all of them if there are no others: a
    value's name to its gradient, given by name, as a tensor, or as a tuple (value, gradient). `loss` may have any shape
    when `upstream` gives its gradient.

    What has the name of a gradient, and no value that it could belong to, or one that is not of this forward pass, is
    listed in `report.unjudged`; values without a gradient are in `report.open`. Where backward() has freed the graph,
    gradients are compared with the `.grad` that it left, and no line is blamed.

    Nothing is left behind: no `.grad` is filled, no hook stays, and the graph can be used again. Raises
    CannotJudgeError (a ValueError) where there is nothing to judge: no graph, a freed graph, no pairs.
    """
    _refuse_misuse(loss, namespace, prefix, suffix, pairs)
    asked = _asked(prefix, suffix)
    found = pair_up(namespace, loss, asked)
    for name, pair in (pairs or {}).items():
        _add_pair(name, pair, namespace, found)
    if not found.first:
        raise CannotJudgeError(_nothing_to_judge(found, asked))
    try:
        return _judged(loss, found, upstream)
    except GraphFreedError as error:
        report = compare_with_retained(found.values, {name: given.gradient for name, given in found.first.items()},
                                       {name: given.label for name, given in found.first.items()})  # fmt: skip
        if report is None:
            raise
        return replace(
            report, notes=(f"{error}", *report.notes, *found.notes), unjudged=(*found.unjudged, *report.unjudged)
        )


def _asked(prefix: str | None, suffix: str | None) -> tuple[Convention, ...] | None:
    if prefix is None and suffix is None:
        return None
    if prefix is None:
        return Convention("", suffix or ""), Convention("d", suffix or "")
    return (Convention(prefix, suffix or ""),)


def _judged(loss: Tensor, found: Pairs, upstream: Tensor | None) -> Report:
    labels = [given.label for group in (found.first, *found.versions.values()) for given in group.values()]
    # a gradient is no value of the forward pass, even if a graph hangs on it
    values = {name: value for name, value in found.values.items() if name in found.first or name not in labels}
    report = _without_helper(loss, values, found, upstream)
    rows, left_over = _of_this_pass(report.rows)
    rows, of_others = _of_another_loss(rows, loss, found)
    left_over += of_others
    notes = list(found.notes)
    for version, group in found.versions.items():
        second = _run(loss, values, {**found.first, **group}, upstream)
        of_group, other = _of_this_pass(tuple(row for row in second.rows if row.name in group))
        left_over += other
        for row in of_group:
            if row.cause == Cause.DROPPED_TERM and found.partial(version):
                notes.append(f"{row.gradient} is a part of the gradient of {row.name}, and not judged by itself.")
            else:
                rows.append(_renamed(row, version, group))
    unjudged = (*found.unjudged, *left_over, *report.unjudged)
    return Report(tuple(rows), (*report.notes, *notes), report.skipped, unjudged, report.open)


def _run(loss: Tensor, values: Mapping[str, Tensor], group: Mapping[str, Given], upstream: Tensor | None) -> Report:
    gradients = {name: given.gradient for name, given in group.items()}
    return judge(
        values,
        gradients,
        loss,
        upstream,
        label=lambda name: group[name].label if name in group else f"d{name}",
        whole_pass=False,
    )


def _renamed(row: Row, version: str, group: Mapping[str, Given]) -> Row:
    roots = tuple(f"{root}{version}" if root in group else root for root in row.inherited_from)
    return replace(row, name=f"{row.name}{version}", inherited_from=roots)


def _without_helper(loss: Tensor, values: Mapping[str, Tensor], found: Pairs, upstream: Tensor | None) -> Report:
    """Without upstream=, the gradient of the loss is 1. Another number under its name is a helper of the author's,
    unless what is wrong with the others comes from it."""
    report = _run(loss, values, found.first, upstream)
    row = next((row for row in report.culprits if values.get(row.name) is loss), None)
    if row is None or upstream is not None or len(found.first) == 1:
        return report
    without = _run(loss, values, {name: given for name, given in found.first.items() if name != row.name}, upstream)
    if len(without.culprits) > len(report.culprits) - 1:
        return report
    hint = f"{row.gradient} (the gradient of the loss is 1, and the other lines do not need this one)"
    return replace(without, unjudged=(*without.unjudged, hint))


def _of_this_pass(rows: tuple[Row, ...]) -> tuple[list[Row], list[str]]:
    """The rows of values that the loss depends on, or should; and a hint on each of the others."""
    culprits = {row.name for row in rows if row.culprit}
    kept, left_over = [], []
    for row in rows:
        stray = row.verdict is Verdict.UNREACHABLE and not row.culprit and (row.inherited_from or not row.message)
        if stray and not culprits & set(row.inherited_from):
            left_over.append(f"{row.gradient} (the loss was not computed from this {row.name})")
        else:
            kept.append(row)
    return kept, left_over


def _of_another_loss(rows: list[Row], loss: Tensor, found: Pairs) -> tuple[list[Row], list[str]]:
    """Leaves out the culprits that are right gradients of another loss in the namespace, a second experiment's."""
    if not any(row.culprit for row in rows):
        return rows, []
    numbers = {name: value for name, value in found.values.items() if value.dim() == 0 and value.grad_fn is not None}
    graph = trace(numbers, loss)
    others = {name: value for name, value in numbers.items() if not graph.reaches_output(name)}
    kept, strangers = [], []
    for row in rows:
        of = next((name for name in others if row.culprit and _is_gradient_of(others[name], row.name, found)), None)
        if of is None:
            kept.append(row)
        else:
            strangers.append(f"{row.gradient} (it is the gradient of {of}, another output)")
    return kept, strangers


def _is_gradient_of(other: Tensor, name: str, found: Pairs) -> bool:
    given, value = found.first[name].gradient, found.values.get(name)
    if given is None or value is None or not bool((given != 0).any()):
        return False
    try:
        with no_trace([value, other]), as_recorded(other):
            own = autograds(trace({name: value}, other))[name]
    except RuntimeError:  # its graph is gone, or a value in it was changed
        return False
    return own is not None and own.shape == given.shape and own.dtype == given.dtype and torch.allclose(own, given)


def _refuse_misuse(loss: object, namespace: object, prefix: object, suffix: object, pairs: object) -> None:
    if not isinstance(namespace, Mapping):
        swapped = isinstance(loss, Mapping) and isinstance(namespace, Tensor)
        raise CannotJudgeError(
            "the loss comes first: check(loss, locals())."
            if swapped
            else f"namespace must map names to tensors, as locals() does; it is a {type(namespace).__name__}."
        )
    if not isinstance(prefix, str | None) or not isinstance(suffix, str | None):
        raise CannotJudgeError("prefix and suffix must be strings: what stands before and after a value's name.")
    if (prefix, suffix) != (None, None) and not prefix and not suffix:
        raise CannotJudgeError("prefix and suffix cannot both be empty: a gradient needs another name than its value.")
    if pairs is not None and not isinstance(pairs, Mapping):
        raise CannotJudgeError("pairs must map the name of each value to its gradient: pairs={'x': 'grad_x'}.")


def _add_pair(name: str, pair: Pair, namespace: Mapping[str, Any], found: Pairs) -> None:
    value: Any = namespace.get(name)
    gradient: Any = pair
    if isinstance(pair, tuple):
        if len(pair) != 2:
            raise CannotJudgeError(f"pairs gives {len(pair)} things for {name}; a tuple is (value, gradient).")
        value, gradient = pair
        if isinstance(value, str):
            value = namespace.get(value)
    label = f"d{name}"
    if isinstance(gradient, str):
        label = gradient
        if gradient not in namespace:
            raise CannotJudgeError(f"pairs asks for {gradient} as the gradient of {name}, and there is no {gradient}.")
        gradient = namespace[gradient]
    if gradient is not None and not isinstance(gradient, Tensor):
        raise CannotJudgeError(
            f"pairs gives a {type(gradient).__name__} as the gradient of {name}; a tensor is needed."
        )
    if isinstance(value, Tensor):
        found.values[name] = value
    found.first[name] = Given(label, gradient)
    found.unjudged[:] = [one for one in found.unjudged if one.split(" (")[0] != label]


def _nothing_to_judge(found: Pairs, asked: tuple[Convention, ...] | None) -> str:
    if not found.values:
        return "there are no tensors among these names; pass locals(), or globals() in a notebook."
    wants = [name for name, value in found.values.items() if value.requires_grad and value.is_leaf]
    example = (wants or [name for name, value in found.values.items() if value.requires_grad] or list(found.values))[0]
    names = [one.called(example) for one in asked or (PLAIN,)]
    others = "" if asked else f", d_{example}, grad_{example} or {example}_grad"
    left = f" Not judged: {listed(found.unjudged)}." if found.unjudged else ""
    return (
        f"no name has a gradient beside it: nothing is called {' or '.join(names)}{others} where {example} is a "
        "tensor. "
        f"Call the gradients so, give another prefix= or suffix=, or name the pairs with pairs={{'value': 'gradient'}}."
        f"{left}"
    )
