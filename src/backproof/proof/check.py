"""`check(loss, locals())`: the gradients that are already there, paired with their values by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from torch import Tensor
from torch.nn import Parameter

from backproof.proof.graph.graph import trace
from backproof.proof.judge.judge import CannotJudgeError, judge
from backproof.proof.report.report import Report

Pair = str | Tensor | tuple[Any, Any] | None


def check(
    loss: Tensor,
    namespace: Mapping[str, Any],
    *,
    upstream: Tensor | None = None,
    prefix: str = "d",
    suffix: str = "",
    pairs: Mapping[str, Pair] | None = None,
) -> Report:
    """Which of the hand-written gradients in `namespace` are right, and what is wrong with the others.

        report = check(loss, locals())

    Every tensor called `d<name>` (or `<prefix><name><suffix>`) is taken for the gradient of the tensor
    `<name>`, leaf or intermediate; nothing has to be retained beforehand. `pairs` names further ones, or all
    of them if there are no others: a value's name to its gradient, given by name, as a tensor, or as a tuple
    (value, gradient). `loss` may have any shape when `upstream` gives its gradient.

    Nothing is left behind: no `.grad` is filled, no hook stays, and the graph can be used again. Raises
    CannotJudgeError (a ValueError) where there is nothing to judge: no graph, a freed graph, no pairs.
    """
    _refuse_misuse(loss, namespace, prefix, suffix, pairs)
    values = {name: value for name, value in namespace.items() if _is_value(name, value)}
    gradients: dict[str, Tensor | None] = {}
    labels: dict[str, str] = {}
    notes = list(_pair_up(namespace, values, gradients, labels, prefix, suffix))
    for name, pair in (pairs or {}).items():
        _add_pair(name, pair, namespace, values, gradients, labels)
    for name in _forward_values(loss, gradients):
        del gradients[name]
    if not gradients:
        raise CannotJudgeError(_nothing_to_judge(namespace, prefix, suffix))
    for name in gradients:  # a gradient is no value of the forward pass, even if a graph hangs on it
        if labels.get(name) not in gradients:
            values.pop(labels.get(name, ""), None)
    report = judge(values, gradients, loss, upstream, label=lambda name: labels.get(name, f"{prefix}{name}{suffix}"))
    return Report(report.rows, (*report.notes, *notes), report.skipped)


def _refuse_misuse(loss: object, namespace: object, prefix: object, suffix: object, pairs: object) -> None:
    if not isinstance(namespace, Mapping):
        swapped = isinstance(loss, Mapping) and isinstance(namespace, Tensor)
        raise CannotJudgeError(
            "the loss comes first: check(loss, locals())."
            if swapped
            else f"namespace must map names to tensors, as locals() does; it is a {type(namespace).__name__}."
        )
    if not isinstance(prefix, str) or not isinstance(suffix, str):
        raise CannotJudgeError("prefix and suffix must be strings: what stands before and after a value's name.")
    if not prefix and not suffix:
        raise CannotJudgeError("prefix and suffix cannot both be empty: a gradient needs another name than its value.")
    if pairs is not None and not isinstance(pairs, Mapping):
        raise CannotJudgeError("pairs must map the name of each value to its gradient: pairs={'x': 'grad_x'}.")


def _is_value(name: str, value: object) -> bool:
    """Notebooks keep earlier results under names such as _ and _12; those are nobody's names."""
    return isinstance(value, Tensor) and not name.startswith("_")


def _pair_up(
    namespace: Mapping[str, Any],
    values: Mapping[str, Tensor],
    gradients: dict[str, Tensor | None],
    labels: dict[str, str],
    prefix: str,
    suffix: str,
) -> Iterator[str]:
    """Fills `gradients` and `labels`; yields a remark for each gradient's name that is not judged."""
    for called, gradient in namespace.items():
        if not (called.startswith(prefix) and called.endswith(suffix)):
            continue
        name = called[len(prefix) : len(called) - len(suffix)]
        if name not in values:
            if isinstance(gradient, Tensor) and gradient.is_floating_point() and not gradient.requires_grad and name:
                yield f"{called} is not judged: there is no tensor {name}{_meant(name, values, called)}."
        elif gradient is None or isinstance(gradient, Tensor):
            gradients[name], labels[name] = gradient, called
        elif isinstance(gradient, int | float) and values[name].dim() == 0:
            gradients[name], labels[name] = values[name].detach().new_tensor(gradient), called
        else:
            yield f"{called} is not judged: it is a {type(gradient).__name__} and not a tensor."


def _forward_values(loss: object, gradients: Mapping[str, Tensor | None]) -> list[str]:
    """The names of pairs whose second half is a value of the forward pass: with dx = x1 - x0, say."""
    followed = [name for name, gradient in gradients.items() if gradient is not None and gradient.requires_grad]
    if not followed or not isinstance(loss, Tensor) or not loss.requires_grad:
        return []
    candidates = {name: gradients[name] for name in followed}
    graph = trace({name: value for name, value in candidates.items() if value is not None}, loss)
    return [name for name in followed if graph.reaches_output(name)]


def _meant(name: str, values: Mapping[str, Tensor], label: str) -> str:
    close = get_close_matches(name, [one for one in values if one != label], n=1)
    return f" (is {close[0]} meant?)" if close else ""


def _add_pair(
    name: str,
    pair: Pair,
    namespace: Mapping[str, Any],
    values: dict[str, Tensor],
    gradients: dict[str, Tensor | None],
    labels: dict[str, str],
) -> None:
    value: Any = namespace.get(name)
    gradient: Any = pair
    if isinstance(pair, tuple):
        if len(pair) != 2:
            raise CannotJudgeError(f"pairs gives {len(pair)} things for {name}; a tuple is (value, gradient).")
        value, gradient = pair
        if isinstance(value, str):
            value = namespace.get(value)
    if isinstance(gradient, str):
        labels[name] = gradient
        if gradient not in namespace:
            raise CannotJudgeError(f"pairs asks for {gradient} as the gradient of {name}, and there is no {gradient}.")
        gradient = namespace[gradient]
    if gradient is not None and not isinstance(gradient, Tensor):
        raise CannotJudgeError(
            f"pairs gives a {type(gradient).__name__} as the gradient of {name}; a tensor is needed."
        )
    if isinstance(value, Tensor):
        values[name] = value
    gradients[name] = gradient


def _nothing_to_judge(namespace: Mapping[str, Any], prefix: str, suffix: str) -> str:
    tensors = [name for name, value in namespace.items() if _is_value(name, value)]
    if not tensors:
        return "there are no tensors among these names; pass locals(), or globals() in a notebook."
    leaves = [name for name in tensors if isinstance(namespace[name], Parameter)] or tensors
    example = leaves[0]
    return (
        f"no name has a gradient beside it: nothing is called {prefix}{example}{suffix} where {example} is a tensor. "
        "Call the gradients so, give another prefix= or suffix=, or name the pairs with pairs={'value': 'gradient'}."
    )
