"""One assertion for test suites: a backward pass is proved, or the test fails with the whole report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backproof.proof.function import prove_function
from backproof.proof.prove import prove
from backproof.proof.replays.sides import is_function
from backproof.proof.report.report import Report


def assert_proved(subject: Any, *arguments: Any, reference: Callable | None = None, **options: Any) -> Report:
    """Fails with the report as its message unless every gradient is proved; returns the report otherwise.

        assert_proved(forward, backward, inputs)  # as `prove`, and its options
        assert_proved(MyFunction, my_reference, inputs)  # as `prove_function`: a Function with `apply`
        assert_proved(my_kernel, inputs, reference=my_reference)  # as `prove_function`: any callable
        assert_proved(check(loss, locals()))  # a report that is there already

    Raises GradientError (an AssertionError), CannotProveError where the functions cannot be run, and TypeError for
    arguments that are none of these.
    """
    __tracebackhide__ = True  # pytest shows the test, not this function
    report = _report(subject, arguments, reference, options)
    report.raise_if_wrong()
    return report


def _report(subject: Any, arguments: tuple, reference: Callable | None, options: dict[str, Any]) -> Report:
    if isinstance(subject, Report) and not arguments and not options and reference is None:
        return subject
    if reference is not None:
        return prove_function(subject, reference, *arguments, **options)
    if is_function(subject):
        return prove_function(subject, *arguments, **options)
    if callable(subject) and (len(arguments) == 2 or "inputs" in options):
        return prove(subject, *arguments, **options)
    raise TypeError(
        "assert_proved takes a report, or (forward, backward, inputs), or (function, inputs, reference=...)."
    )
