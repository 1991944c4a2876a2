"""A gradient that was taken one step further back under the same name, as by `dh[h <= 0] = 0` for h = relu(x @ W)."""

from __future__ import annotations

from backproof.proof.causes.case import Case
from backproof.proof.graph.formula import formula
from backproof.proof.graph.node import consumed, dtype_at, shape_at
from backproof.proof.graph.passes import run
from backproof.proof.report.rows import PROVED, Row
from backproof.proof.verdict.blame import Blame
from backproof.proof.verdict.decide import Known, acquitted
from backproof.proof.verdict.yardstick import within


def of_the_step_before(row: Row, blamed: Blame, case: Case) -> Row | None:
    """The row of a culprit that is right for what its value's own operation takes, if that has no gradient itself.

    It has to be used as that too: a gradient behind it was given, and all that were are right by value.
    """
    graph = case.graph
    start = graph.places[row.name]
    inputs = [at for _, at in consumed(start[0])]
    if len(inputs) != 1 or shape_at(inputs[0]) != blamed.numbers.got.shape:
        return None
    named = graph.owners.get(inputs[0])
    if named in case.blames.found:
        return None  # it has a gradient of its own, and the two are not to be mistaken for each other
    behind = [case.blames.found.get(name) for name in graph.inputs_of(named or row.name)]
    given = [one for one in behind if one is not None]
    if not given or not all(one.verdict in PROVED for one in given):
        return None
    (taken,) = run(graph, start, blamed.numbers.expected.to(dtype_at(start)), inputs)
    if taken is None or not bool(taken.any()) or not within(blamed.numbers.got, taken, blamed.numbers.yardstick):
        return None
    of_what = named or f"what {formula(graph, row.name)} takes"
    return acquitted(
        row,
        Known.OF_THE_STEP_BEFORE,
        message=f"{row.gradient} is right as the gradient of {of_what}, and was judged as that: it went one "
        "step further back under the same name.",
        max_difference=float((blamed.numbers.got.double() - taken.double()).abs().max()),
    )
