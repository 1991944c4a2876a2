"""A report as text for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from backproof.proof.report.registry import named_by
from backproof.proof.report.rows import Findings, Row, Verdict
from backproof.proof.report.words import WIDTH, listed, number, wrapped

MOST_OPEN = 24  # names of values without a gradient that are written out


def to_text(report: Findings) -> str:
    """A table of all rows, what is not in it, a message for each row that has one, the causes' titles, remarks, and a
    line that counts."""
    blocks = [
        "\n".join(_table(report.rows)),
        "\n".join(_not_compared(report)),
        *_messages(report.rows),
        "\n".join(_causes(report.rows)),
        *_remarks(report),
        _summary(report),
    ]
    return "\n\n".join(block for block in blocks if block)


def _table(rows: tuple[Row, ...]) -> Iterator[str]:
    if not rows:
        return
    widest = min(28, max(len("value"), *(len(row.name) for row in rows)))
    yield f"  {'value':<{widest}}  {'verdict':<12}  {'cause':<5}  max difference"
    for row in rows:
        mark = "!" if row.culprit else " "
        name = row.name if len(row.name) <= widest else row.name[: widest - 1] + "…"
        line = f"{mark} {name:<{widest}}  {row.verdict.value:<12}  {row.cause or '':<5}  {number(row.max_difference)}"
        if row.inherited_from:
            origin = f"from {', '.join(row.inherited_from)}"
            line = f"{line:<{widest + 34}}  {origin}"
        yield line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _not_compared(report: Findings) -> Iterator[str]:
    """The gradients that were computed and not judged, and the values that have none yet."""
    if report.unjudged:
        yield wrapped(f"computed but not judged: {', '.join(report.unjudged)}")
    if report.open:
        more = len(report.open) - MOST_OPEN
        rest = f" and {more} more" if more > 0 else ""
        yield wrapped(f"no gradient yet: {', '.join(report.open[:MOST_OPEN])}{rest}")


def _messages(rows: tuple[Row, ...]) -> Iterator[str]:
    inherited: dict[tuple[str, ...], list[Row]] = {}
    quiet: dict[str, list[Row]] = {}
    for row in rows:
        if row.verdict is Verdict.INHERITED:
            inherited.setdefault(row.inherited_from, []).append(row)
        elif row.culprit:
            yield wrapped(row.message)
        elif row.message:
            quiet.setdefault(row.message.removeprefix(f"{row.gradient}:"), []).append(row)
    names = {row.name: row.gradient for row in rows}
    for origin, heirs in inherited.items():
        lines = "this line is right" if len(heirs) == 1 else "these lines are right"
        heirs_named = listed([row.gradient for row in heirs])
        culprits = listed([names.get(name, name) for name in origin]) or "a gradient above"
        yield wrapped(f"{heirs_named}: inherited from {culprits}; {lines}.")
    for same in quiet.values():
        about, _, rest = same[0].message.partition(": ")
        if len(same) > 1 and about == same[0].gradient:
            yield wrapped(f"{listed([row.gradient for row in same])}: {rest}")
        else:
            yield wrapped("\n".join(row.message for row in same))


def _causes(rows: tuple[Row, ...]) -> Iterator[str]:
    for entry in named_by(code for row in rows for code in row.named):
        yield wrapped(f"{entry.cause}: {entry.title} (backproof explain {entry.cause}).")


def _remarks(report: Findings) -> Iterator[str]:
    for kind, remarks in (("note", report.notes), ("not replayed", report.skipped)):
        yield "\n".join(wrapped(f"{kind}: {remark}") for remark in remarks)


def _summary(report: Findings) -> str:
    parts = [f"{report.proved} of {len(report.rows)} gradients proved"]
    counts = (
        (len(report.culprits), "at fault"),
        (sum(row.verdict is Verdict.INHERITED for row in report.rows), "inherited"),
        (sum(row.verdict is Verdict.NOT_TESTABLE for row in report.rows), "not testable here"),
        (sum(row.verdict is Verdict.UNREACHABLE and not row.culprit for row in report.rows), "unreachable"),
    )
    parts += [f"{count} {what}" for count, what in counts if count]
    nothing = "" if report.proved or report.culprits else " Nothing was compared, so nothing is proved."
    return wrapped(", ".join(parts) + "." + nothing)
