"""How findings are put into words: messages of one shape, and forward lines written back from the graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from backproof.proof.causes.case import Finding
from backproof.proof.causes.fault import Fault
from backproof.proof.graph.formula import formula
from backproof.proof.report.certainty import Applicability
from backproof.proof.report.rows import Evidence, Row
from backproof.proof.report.words import listed
from backproof.proof.verdict.blocks import PIECE


def told(row: Row, fault: Fault, finding: Finding | None, unknown: str = "", evidence: Evidence | None = None) -> Row:
    """The row of a culprit with its message: value, cause, evidence, next step, `unknown` where there is no finding.

    The evidence is the fault's own unless given, as where that holds some of the numbers only.
    """
    evidence = evidence or worst(fault.given, fault.expected.to(fault.given.dtype))
    lines = [f"{fault.d} is wrong: {finding.headline if finding else 'cause unknown'}."]
    lines.append("  " + (finding.why if finding else readers_of(fault)))
    lines.append(f"  {evidence}")
    applicability = _applicability(fault, finding)
    lines.append(f"  {applicability.word}: {finding.next if finding else unknown}")
    return replace(
        row,
        cause=finding.cause if finding else None,
        message="\n".join(lines),
        evidence=evidence,
        certainty=finding.certainty if finding else None,
        applicability=applicability,
        candidates=finding.candidates if finding else (),
        factor=finding.factor if finding else None,
    )


def _applicability(fault: Fault, finding: Finding | None) -> Applicability:
    """Whether the advice, done to the letter, was seen to give the right gradient."""
    tried = finding is not None and finding.mended is not None and fault.is_right(finding.mended)
    return Applicability.MENDS if tried else Applicability.LOOK


def readers_of(fault: Fault) -> str:
    """Who reads the value."""
    return f"{fault.name} is read by {listed(fault.readers)}." if fault.readers else f"{fault.name} is the output."


def ranges(indices: list[int], most: int = 6) -> str:
    """`3`, `3 and 5`, `28 to 31`, `3 to 31 in steps of 4`, `1, 4, 6, ... (9 of them)`."""
    if len(indices) > 2 and indices[-1] - indices[0] == len(indices) - 1:
        return f"{indices[0]} to {indices[-1]}"
    step = indices[1] - indices[0] if len(indices) > 3 else 0
    if step and indices == list(range(indices[0], indices[-1] + 1, step)):
        return f"{indices[0]} to {indices[-1]} in steps of {step}"
    if len(indices) > most:
        return f"{', '.join(map(str, indices[:3]))}, ... ({len(indices)} of them)"
    return listed([str(index) for index in indices], most)


def worst(got: Tensor, expected: Tensor) -> Evidence:
    """The element that differs most; where something is not finite, the first such element."""
    a, b = got.detach(), expected.detach()
    largest, flat, at = -1.0, 0, 0
    for one, other in zip(a.reshape(-1).split(PIECE), b.reshape(-1).split(PIECE), strict=True):
        difference = (one.double() - other.double()).abs()
        difference = torch.where(one.isfinite() | ~other.isfinite(), difference.nan_to_num(0.0, 0.0, 0.0), torch.inf)
        if difference.numel() and (most := float(difference.max())) > largest:
            largest, flat = most, at + int(difference.argmax())
        at += one.numel()
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), a.shape)) if a.dim() else ()
    return Evidence(index, float(a[index]), float(b[index]), a.cpu(), b.cpu())


def lines_of(fault: Fault, readers: Iterable[str] | None = None) -> str:
    """The forward lines of the readers, as `a = x + y and b = x**2`."""
    names = dict.fromkeys(fault.readers if readers is None else readers)
    return " and ".join(formula(fault.graph, reader) for reader in names) or "the upstream gradient"
