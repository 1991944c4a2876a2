"""Verdicts without a diagnosis: what a replay asks first, since it usually has nothing new to explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from backproof.proof.graph.graph import trace
from backproof.proof.graph.node import dense
from backproof.proof.graph.passes import autograds, no_trace
from backproof.proof.report.rows import PROVED, Row, Verdict
from backproof.proof.verdict.blame import blame
from backproof.proof.verdict.decide import Known


class Glance(NamedTuple):
    """The values whose own lines are at fault (or look so), and the verdicts on those whose lines are right."""

    faults: frozenset[str]
    right: Mapping[str, Verdict]

    def rows(self) -> list[Row]:
        """What the right ones add to a report: a name and a verdict."""
        return [Row(name, verdict) for name, verdict in self.right.items()]


def glance(
    values: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor | None],
    output: Tensor,
    upstream: Tensor | None,
) -> Glance:
    """Judges as `judge` does, without a cause. Its faults may hold an heir of a gradient's wrong shape."""
    with no_trace([*values.values(), output]):
        graph = trace(values, output, upstream)
        usable, misshapen, faults = {}, {}, set()
        for name, gradient in gradients.items():
            value = values.get(name)
            if value is None or not value.is_floating_point() or not value.requires_grad:
                continue
            if not graph.reaches_output(name):
                continue
            if gradient is None or gradient.device != value.device or gradient.dtype != value.dtype:
                faults.add(name)
            elif gradient.shape != value.shape:
                faults.add(name)
                misshapen[name] = Known.OTHER_SHAPE
            else:
                usable[name] = dense(gradient.detach())
        if not usable:
            return Glance(frozenset(faults), {})
        found = blame(graph, usable, autograds(graph), misshapen).found
    faults |= {name for name, one in found.items() if one.culprit}
    right = {n: one.verdict for n, one in found.items() if one.verdict in (*PROVED, Verdict.INHERITED)}
    return Glance(frozenset(faults), right)
