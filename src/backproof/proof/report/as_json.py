"""A report as JSON.

The schema, version 1: `{"version", "ok", "proved", "culprits": [name], "rows": [row], "notes": [text], "skipped":
[text]}`; a row has `name`, `gradient`, `verdict`, `cause`, `culprit`, `message`, `exact`, `approximate`,
`max_difference`, `inherited_from`, `replay` and `evidence` (null, or `worst_index`, `got` and `expected`). A number
that is not finite is written as one of the strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import json
import math
from typing import Any

from backproof.proof.report.rows import PROVED, Findings, Row

JSON_VERSION = 1


def to_json(report: Findings) -> str:
    """The report as one JSON object; the schema is this module's docstring."""
    record = {
        "version": JSON_VERSION,
        "ok": report.ok,
        "proved": sum(row.verdict in PROVED for row in report.rows),
        "culprits": [row.name for row in report.culprits],
        "rows": [_json_row(row) for row in report.rows],
        "notes": list(report.notes),
        "skipped": list(report.skipped),
    }
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)


def _json_row(row: Row) -> dict[str, Any]:
    evidence = row.evidence
    return {
        "name": row.name,
        "gradient": row.gradient,
        "verdict": row.verdict.value,
        "cause": row.cause,
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


def _json_number(x: float | None) -> float | str | None:
    if x is None or math.isfinite(x):
        return x
    return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"
