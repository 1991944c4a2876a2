"""A report as a page and as a notebook's output. Nothing here judges, and nothing needs a network."""

from __future__ import annotations

import re
from html import escape

from backproof.proof.report import heat
from backproof.proof.report.cause import Entry
from backproof.proof.report.certainty import Applicability
from backproof.proof.report.registry import named_by
from backproof.proof.report.rows import Evidence, Findings, Row, Verdict
from backproof.proof.report.style import FRAGMENT, PAGE
from backproof.proof.report.words import number

_MAP = 240  # pixels; three maps side by side fit a notebook


MOST_PICTURED = 24  # culprits with heat maps; a page with more of them says which have none


_MARKS = {
    Verdict.EXACT: ("✓", "good", "bitwise equal to automatic differentiation"),
    Verdict.ROUNDING: ("✓", "good", "right; differs by rounding only"),
    Verdict.INHERITED: ("↳", "heir", "its line is right, a gradient it is computed from is not"),
    Verdict.WRONG: ("✗", "bad", "its own line is at fault"),
    Verdict.MISSING: ("✗", "bad", "there is no gradient"),
    Verdict.SHAPE: ("✗", "bad", "its shape is not the value's"),
    Verdict.DTYPE: ("✗", "bad", "its dtype or device is not the value's"),
    Verdict.NOT_FINITE: ("✗", "bad", "NaN or infinity where a number belongs"),
    Verdict.NOT_TESTABLE: ("?", "open", "nothing here could tell right from wrong"),
    Verdict.UNREACHABLE: ("∅", "open", "the output does not depend on the value"),
}


_ADVICE = {
    Applicability.MENDS: "doing just what it says gives the right gradient; that was tried on these numbers",
    Applicability.LOOK: "the place is right; what to write there has to be thought about",
}


def to_html(report: Findings) -> str:
    """One self-contained page."""
    title = "Backproof: proved" if report.ok else "Backproof: not proved"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{PAGE}</style>\n</head>\n<body>\n"
        f"{to_notebook_html(report)}\n</body>\n</html>\n"
    )


def to_notebook_html(report: Findings) -> str:
    """The same as a fragment, whose style touches nothing outside it: what a notebook shows for a report."""
    parts = [
        f"<style>{FRAGMENT}</style>",
        _headline(report),
        *(_culprit(row, pictured=count < MOST_PICTURED) for count, row in enumerate(report.culprits)),
        _table(report.rows),
        _remarks(report),
    ]
    return '<div class="backproof">\n' + "\n".join(part for part in parts if part) + "\n</div>"


def _headline(report: Findings) -> str:
    rows, culprits = report.rows, report.culprits
    count, total = len(culprits), len(rows)
    if report.ok:
        untested = sum(row.verdict is Verdict.NOT_TESTABLE for row in rows)
        text = (
            f"All {total} gradients are proved"
            if not untested
            else f"{total - untested} of {total} gradients are proved"
        )
        text += f", {untested} could not be tested" if untested else ""
    elif count == 1:
        text = f"One line is at fault: {culprits[0].gradient}"
    elif count:
        text = f"{count} lines are at fault"
    else:
        text = "Not proved" if report.proved else "Nothing was compared"
    chips = []
    for verdict, (mark, tone, meaning) in _MARKS.items():
        number_of = sum(row.verdict is verdict for row in rows)
        if number_of:
            chips.append(
                f'<span class="bp-chip bp-{tone}" title="{escape(meaning)}">{mark} {number_of} {verdict.value}</span>'
            )
    tone = "good" if report.ok else "bad"
    return (
        f'<header class="bp-head bp-{tone}"><h1>{escape(text)}</h1><p class="bp-chips">{" ".join(chips)}</p></header>'
    )


def _culprit(row: Row, *, pictured: bool) -> str:
    entries = named_by(row.named)
    cause = "".join(_chip("cause", entry.cause, entry.title) for entry in entries)
    sure = _chip("sure", row.certainty, "what the cause rests on") if row.certainty else ""
    replay = _chip("replay", f"replay: {row.replay}", "the second run that showed it") if row.replay else ""
    advice = row.applicability
    mends = _chip("mends", f"advice: {advice}", _ADVICE[advice]) if advice else ""
    maps = ""
    if row.evidence is not None:
        maps = (
            _maps(row, row.evidence) if pictured else '<p class="bp-note">No maps: many other culprits have some.</p>'
        )
    return (
        f'<section class="bp-culprit"><h2><code>{escape(row.gradient)}</code>'
        f'<span class="bp-verdict">{row.verdict.value}</span>{cause}{sure}{mends}{replay}</h2>'
        f'<pre class="bp-message">{escape(row.message)}</pre>{"".join(map(_explanation, entries))}{maps}</section>'
    )


def _chip(kind: str, text: str, meaning: str) -> str:
    return f'<span class="bp-{kind}" title="{escape(meaning)}">{escape(text)}</span>'


def _explanation(entry: Entry) -> str:
    """What the cause is, folded up behind its title."""
    return (
        f'<details class="bp-why"><summary>{entry.cause}: {escape(entry.title)}</summary>'
        f"<p>{_with_code(entry.what)}</p><p>{_with_code(entry.why)}</p>"
        f"<p><b>To mend it:</b> {_with_code(entry.mend)}</p>"
        f"<p>An example: <code>backproof explain {entry.cause}</code></p></details>"
    )


def _with_code(text: str) -> str:
    """A text whose `code` stands between backquotes."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))


def _maps(row: Row, evidence: Evidence) -> str:
    got, expected = evidence.got_tensor, evidence.expected_tensor
    if min(got.numel(), expected.numel()) == 0 or max(got.numel(), expected.numel()) == 1:
        return ""
    maps = {"got": heat.cells(got), "expected": heat.cells(expected)}
    most = heat.largest(*maps.values())
    figures = [_figure(name, map_, most, row, evidence) for name, map_ in maps.items()]
    if got.shape == expected.shape:
        difference = heat.cells(got.double() - expected.double())
        figures.append(_figure("got − expected", difference, heat.largest(difference), row, evidence))
    pooled = maps["got"].pooled
    said = ""
    if pooled != (1, 1):
        said = f" A cell shows the largest of {pooled[0]} × {pooled[1]} elements."
    if max(got.ndim, expected.ndim) > 2:
        said += " All dimensions but the last are rows."
    ring = " The ring marks the largest difference." if got.shape == expected.shape else ""
    note = f"Blue is negative, orange is positive.{ring}{said}"
    return f'<div class="bp-maps">{"".join(figures)}</div><p class="bp-note">{note}</p>'


def _figure(name: str, map_: heat.Cells, most: float, row: Row, evidence: Evidence) -> str:
    rows, columns = map_.shape
    light, dark = heat.pictures(map_, most)
    shape = " × ".join(
        str(size) for size in (evidence.got_tensor if name != "expected" else evidence.expected_tensor).shape
    )
    alt = f"{name} for {row.gradient}, shape {shape}: colours from {number(-most)} to {number(most)}"
    side = min(max(_MAP / max(columns, 1), 2), 18)
    width, height = round(columns * side), round(rows * max(min(side, _MAP / max(rows, 1)), 1))
    ring = _ring(map_, evidence) if evidence.got_tensor.shape == evidence.expected_tensor.shape else ""
    size = f'width="{width}" height="{height}"'
    return (
        f"<figure><figcaption><b>{name}</b> <span>{shape}</span></figcaption>"
        f'<div class="bp-map"><img class="bp-light" src="{light}" {size} alt="{escape(alt)}">'
        f'<img class="bp-dark" src="{dark}" {size} alt="{escape(alt)}">{ring}</div>'
        f'<div class="bp-scale"><span>{number(-most)}</span><i></i><span>{number(most)}</span></div></figure>'
    )


def _ring(map_: heat.Cells, evidence: Evidence) -> str:
    """A mark around the worst element, placed in per cent of the picture."""
    index, shape = evidence.worst_index, evidence.got_tensor.shape
    if not index or len(index) != len(shape):
        return ""
    row = 0
    for place, size in zip(index[:-1], shape[:-1], strict=True):
        row = row * size + place
    rows, columns = map_.shape
    top, left = (
        (row // map_.pooled[0] + 0.5) / rows * 100,
        (index[-1] // map_.pooled[1] + 0.5) / columns * 100,
    )
    return f'<b class="bp-ring" style="top:{top:.2f}%;left:{left:.2f}%"></b>'


def _table(rows: tuple[Row, ...]) -> str:
    if not rows:
        return ""
    lines = "\n".join(_line(row) for row in rows)
    return (
        '<div class="bp-scroll"><table><thead><tr><th scope="col">value</th><th scope="col">verdict</th>'
        '<th scope="col">cause</th><th scope="col">exact</th><th scope="col">approximate</th>'
        '<th scope="col" class="bp-number">max difference</th><th scope="col">remark</th></tr></thead>\n'
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def _line(row: Row) -> str:
    mark, tone, meaning = _MARKS[row.verdict]
    if tone == "bad" and not row.culprit:
        tone = "open"
    if row.inherited_from:
        remark = "from " + ", ".join(row.inherited_from)
    else:
        remark = "" if row.culprit else " ".join(row.message.split()).removeprefix(f"{row.gradient}: ")
    remark += f" (replay: {row.replay})" if row.replay and row.culprit else ""
    return (
        f'<tr class="bp-{tone}"><th scope="row"><code>{escape(row.name)}</code></th>'
        f'<td title="{escape(meaning)}"><span class="bp-mark" aria-hidden="true">{mark}</span> {row.verdict.value}</td>'
        f"{_cause_cell(row)}<td>{_yes(row.exact)}</td><td>{_yes(row.approximate)}</td>"
        f'<td class="bp-number">{number(row.max_difference)}</td><td class="bp-remark">{escape(remark)}</td></tr>'
    )


def _cause_cell(row: Row) -> str:
    """The causes that the row names, and their titles for whoever points at them."""
    entries = named_by(row.named)
    if not entries:
        return "<td></td>"
    titles = "; ".join(entry.title for entry in entries)
    return f'<td title="{escape(titles)}">{" or ".join(entry.cause for entry in entries)}</td>'


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def _remarks(report: Findings) -> str:
    items = [("computed but not judged", one) for one in report.unjudged]
    items += [("no gradient yet", ", ".join(report.open))] if report.open else []
    items += [("note", note) for note in report.notes] + [("not replayed", why) for why in report.skipped]
    if not items:
        return ""
    return "<ul>" + "".join(f"<li><b>{kind}</b> {escape(text)}</li>" for kind, text in items) + "</ul>"
