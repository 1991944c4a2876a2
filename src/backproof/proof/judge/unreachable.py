"""Values that the output does not depend on, and numbers that are not finite in the forward pass already."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from backproof.proof.causes.case import Case
from backproof.proof.graph.formula import formula
from backproof.proof.graph.graph import replaces_a_used_one
from backproof.proof.graph.node import dense, version
from backproof.proof.graph.passes import share
from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Applicability, Certainty
from backproof.proof.report.rows import Row
from backproof.proof.report.words import listed
from backproof.proof.verdict.decide import Known, ruled


def explain_unreachable(row: Row, given: Tensor | None, case: Case) -> Row:
    """A value that is not used: the last one of its chain is the culprit, the others follow."""
    d, name = case.d(row.name), row.name
    users = _last_ones(case, name)
    if users != [name]:
        names = listed([case.d(user) for user in users])
        message = f"{d}: unreachable, since {names} {'is' if len(users) == 1 else 'are'}."
        return replace(row, message=message, inherited_from=tuple(users))
    changed = version(case.graph.values[name]) > 0 and not case.graph.values[name].is_leaf
    if not case.whole_pass:
        changed = changed and replaces_a_used_one(case.graph, name)
    lines = [f"{d} cannot be right: the output does not depend on {name}."]
    meant, fits = ([], False) if changed else _meant(case, name)
    if not (changed or fits or case.whole_pass):
        return ruled(row, Known.OF_ANOTHER_PASS)
    if meant:
        lines += meant
    elif changed:
        lines.append(
            f"  {name} was changed in place after it was used; autograd follows the new {name}, nobody reads it."
        )
        lines.append(f"  next: give the changed tensor another name, as in new = {name}.clone()")
    else:
        lines.append(f"  nothing on the way to {case.d(case.graph.output)} reads {name}.")
        lines.append(f"  next: use {name} in the forward pass, or leave {d} out")
    return ruled(
        row,
        Known.UNUSED_ITSELF,
        message="\n".join(lines),
        cause=Cause.CHANGED_IN_PLACE if changed else Cause.NO_GRADIENT,
        certainty=Certainty.SEEN,
        applicability=Applicability.LOOK,
    )


def _last_ones(case: Case, name: str) -> list[str]:
    """The last ones of the unreachable values with gradients that `name` feeds, directly or not."""
    found: dict[str, None] = {}
    seen, stack = {name}, [name]
    while stack:
        one = stack.pop()
        users = [user for user in case.readers_of_dead(one) if user in case.unreachable and user != one]
        found |= {} if users else {one: None}
        stack += [user for user in users if user not in seen]
        seen |= set(users)
    return list(found)


def _meant(case: Case, name: str) -> tuple[list[str], bool]:
    """A reachable value that reads another value of the same shape, where `name` would fit; and whether the numbers
    say so."""
    graph = case.graph
    value, behind = graph.values[name], case.ancestors(name)
    found: list[tuple[bool, str, str]] = []
    for other, readers in graph.readers.items():
        if other == name or other not in behind or graph.values[other].shape != value.shape:
            continue
        for reader in readers:
            if reader in behind or not graph.reaches_output(reader):
                continue
            found.append((_would_fit(case, name, other, reader), other, reader))
    if not found:
        return [], False
    fits, other, reader = max(found, key=lambda one: one[0])
    line = formula(case.graph, reader)
    sure = (
        f"your {case.d(name)} is what {reader} would send back if it read {name}, to rounding."
        if fits
        else f"{name} is computed from {other}, has the same shape, and is read by nobody."
    )
    return [
        f"  {line} reads {other}; {sure}",
        f"  next: see whether {line} should read {name} in place of {other}",
    ], fits


def _would_fit(case: Case, name: str, other: str, reader: str) -> bool:
    given, upstream = case.handed_dead.get(name), case.upstream(reader)
    if given is None or upstream is None:
        return False
    sent = share(case.graph, reader, other, upstream)
    if sent is None or sent.shape != given.shape:
        return False
    difference = (dense(sent).double() - given.double()).norm()
    return bool(difference <= 1e-3 * given.double().norm())


def not_finite_in_autograd(name: str, case: Case) -> str:
    """The first value, in the order of the forward pass, where a number is not finite."""
    d = case.d(name)
    forward = [n for n in reversed(case.graph.names) if not bool(case.graph.values[n].detach().isfinite().all())]
    if forward:
        return (
            f"{d} cannot be judged where autograd's is not finite either: "
            f"the forward pass is not, from {forward[0]} on."
        )
    backward = [
        n for n in case.graph.names if (g := case.arriving.get(n)) is not None and not bool(dense(g).isfinite().all())
    ]
    first = case.d(backward[0]) if backward else d
    return f"{d} cannot be judged where autograd's is not finite either; its gradients are not, from {first} on."
