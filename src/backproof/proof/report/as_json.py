"""A report as JSON.

The schema, version 1: `{"version", "ok", "proved", "culprits": [name], "rows": [row], "causes": {code: cause},
"notes": [text], "skipped": [text], "unjudged": [text], "open": [name]}`. A field may be added without a new version;
one that goes, or comes to mean something else, makes version 2.

A row has `name`, `gradient`, `verdict`, `cause` (a code such as "F6", or null), `candidates` (the codes of the causes
that explain the gradient alike, where `cause` is null for that reason), `certainty` (what the cause rests on: "seen",
"fits to rounding", "shown by a replay", "one of several", or null), `applicability` (whether doing just what the
message advises gives the right gradient: "mends it", "look here", or null), `culprit`, `message`, `exact`,
`approximate`, `max_difference`, `inherited_from`, `replay` and `evidence` (null, or `worst_index`, `got` and
`expected`). A number that is not finite is written as one of the strings "NaN", "Infinity" and "-Infinity".

`causes` holds every cause that the rows name, with its `title`, `what`, `why` and `mend`.
"""

from __future__ import annotations

import json
import math
from typing import Any

from backproof.proof.report.cause import Entry
from backproof.proof.report.registry import named_by
from backproof.proof.report.rows import Findings, Row

JSON_VERSION = 1


def to_json(report: Findings) -> str:
    """The report as one JSON object; the schema is this module's docstring."""
    entries = named_by(code for row in report.rows for code in row.named)
    record = {
        "version": JSON_VERSION,
        "ok": report.ok,
        "proved": report.proved,
        "culprits": [row.name for row in report.culprits],
        "rows": [_json_row(row) for row in report.rows],
        "causes": {entry.cause: _json_cause(entry) for entry in entries},
        "notes": list(report.notes),
        "skipped": list(report.skipped),
        "unjudged": list(report.unjudged),
        "open": list(report.open),
    }
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)


def _json_row(row: Row) -> dict[str, Any]:
    evidence = row.evidence
    return {
        "name": row.name,
        "gradient": row.gradient,
        "verdict": row.verdict.value,
        "cause": row.cause,
        "candidates": list(row.candidates),
        "certainty": row.certainty,
        "applicability": row.applicability,
        "culprit": row.culprit,
        "message": row.message,
        "exact": row.exact,
        "approximate": row.approximate,
        "max_difference": _json_number(row.max_difference),
        "inherited_from": list(row.inherited_from),
        "replay": row.replay,
        "evidence": evidence
        and {
            "worst_index": list(evidence.worst_index),
            "got": _json_number(evidence.got),
            "expected": _json_number(evidence.expected),
        },
    }


def _json_cause(entry: Entry) -> dict[str, str]:
    return {"title": entry.title, "what": entry.what, "why": entry.why, "mend": entry.mend}


def _json_number(x: float | None) -> float | str | None:
    if x is None or math.isfinite(x):
        return x
    return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"
