"""What is asked once more before a line is accused: is it of this forward pass, of this value, of several steps?"""

from __future__ import annotations

from collections.abc import Callable

from backproof.proof.causes.case import Case
from backproof.proof.graph.formula import formula
from backproof.proof.graph.recompute import changed_since, names_of
from backproof.proof.judge.reused import of_an_earlier_step, steps_alike
from backproof.proof.judge.step_before import of_the_step_before
from backproof.proof.report.certainty import Applicability
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Row, Verdict
from backproof.proof.report.words import listed
from backproof.proof.verdict.blame import Blame
from backproof.proof.verdict.decide import Known, acquitted

# Values that a fused formula may begin from, nearest first, each judged anew: from its loss to the logits of the
# lecture there are three, and in a long chain there would be hundreds.
_FUSED = 4


def before_the_change(rows: list[Row], case: Case) -> tuple[list[Row], list[str]]:
    """Acquits whom today's tensors accuse, where they are no longer those that the output was computed from."""
    graph = case.graph
    lines = changed_since(graph)
    if not lines:
        return rows, []
    names = list(dict.fromkeys(names_of(lines, graph)))
    why = f"{listed(names)} changed after the loss was computed"
    doubtful = {row.name for row in rows if row.culprit and row.verdict is Verdict.WRONG}
    for row in rows:
        if row.inherited_from and set(row.inherited_from) <= doubtful:
            doubtful.add(row.name)
    said = [
        acquitted(row, Known.CHANGED_SINCE, message=f"{row.gradient} is not judged: {why}.")
        if row.name in doubtful
        else row
        for row in rows
    ]
    line = formula(graph, next(iter(lines)))
    return said, [
        f"{why}: {line} no longer gives what it gave. Run the forward pass again, or check before the update."
    ]


def look_again(row: Row, blamed: Blame | None, case: Case, alone: Callable[[tuple[str, str]], Report]) -> Row:
    """A culprit may be right for the step before; one without a cause a formula for several steps, or of another value.

    `alone` judges a gradient and an upstream one, as if there were no others.
    """
    if not (row.culprit and blamed is not None and row.verdict is Verdict.WRONG):
        return row
    if not case.whole_pass and (judged := of_the_step_before(row, blamed, case)) is not None:
        return judged
    if not case.whole_pass and of_an_earlier_step(case.graph, row.name, blamed.numbers.got):
        return _of_a_loop(row, f"it is the gradient of an earlier {row.name}, since the name is used again")
    if row.cause or row.candidates:
        return row
    for upstream in case.graph.collapsed(row.name)[:_FUSED]:
        again = alone((row.name, upstream))[row.name]
        if again.culprit and again.cause:
            return again
    alike = 0 if case.whole_pass else steps_alike(case.graph, row.name)
    why = f"{alike} nameless tensors were made as {row.name} was, so the name may be used again by a loop"
    return _of_a_loop(row, why) if alike else row


def _of_a_loop(row: Row, why: str) -> Row:
    message = (
        f"{row.gradient} is not judged: {why}.\n  next: keep the tensors of every step, as in hs[t] and dhs[t], and "
        f"pair one of them: pairs={{'h1': (hs[1], dhs[1])}}"
    )
    return acquitted(row, Known.NAME_REUSED, message=message, applicability=Applicability.LOOK)
