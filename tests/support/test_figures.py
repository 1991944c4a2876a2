"""The comparison with a page lets through what processors differ in, and nothing else."""

import pytest
from figures import differences

REPORT = """\
  value  verdict       cause  max difference
  y      rounding             7.45e-09
  inv    exact                0
! diff   wrong         F6     2.78e-01
  x      inherited            2.78e-01   from diff

ddiff is wrong: the share that comes back through sq is missing.
  largest difference 2.78e-01 at [12, 2]: got -2.96e-01, expected -1.83e-02
  next: take the 10 from a tensor's shape

dxhat and dinv: exact, given the rounding of the gradients above.

3 of 4 gradients proved, 1 at fault.
"""
EXACT_GIVEN = "dxhat and dinv: exact, given the rounding of the gradients above.\n\n"


@pytest.mark.parametrize(
    ("report", "elsewhere"),
    [
        ("", ""),
        ("  inv    exact                0", "  inv    rounding             5.96e-08"),
        ("  y      rounding             7.45e-09", "  y      exact                0"),
        ("rounding             7.45e-09", "rounding             9.54e-07"),
        ("  2.78e-01 at", "  2.80e-01 at"),
        ("got -2.96e-01", "got -2.97e-01"),
        (EXACT_GIVEN, ""),
        (EXACT_GIVEN, "dpre differs by a fused multiply-add: PyTorch rounds dh*(1 - h*h) once\n  less.\n\n"),
        (EXACT_GIVEN, "dh, dW2, db2, ... (10 gradients): exact, given the rounding of the gradients\n  above.\n\n"),
    ],
)
def test_what_processors_differ_in_is_alike(report: str, elsewhere: str):
    assert differences(REPORT.replace(report, elsewhere), REPORT) == []
    assert differences(REPORT, REPORT.replace(report, elsewhere)) == []


@pytest.mark.parametrize(
    ("report", "wrong"),
    [
        ("rounding             7.45e-09", "rounding             7.45e-04"),  # that is no rounding
        ("  inv    exact                0", "! inv    exact                0"),
        ("  inv    exact                0", "  inv    wrong         F6     5.96e-08"),
        ("  inv    exact                0", "  var    exact                0"),
        ("inherited            2.78e-01", "inherited            2.83e-01"),
        ("from diff", "from sq"),
        ("F6 ", "F7 "),
        ("[12, 2]", "[12, 3]"),
        ("got -2.96e-01", "got 2.96e-01"),
        ("the 10 from", "the 12 from"),
        ("3 of 4", "4 of 4"),
        ("through sq", "through  sq"),
        ("expected -1.83e-02", "expected"),
        ("dxhat and dinv: exact,", "dxhat and dinv: wrong,"),
        ("ddiff is wrong: the share", "ddiff is wrong. dx: exact, the share"),
        ("  next: take the 10 from a tensor's shape\n", ""),
    ],
)
def test_everything_else_is_a_difference(report: str, wrong: str):
    assert report in REPORT
    assert differences(REPORT.replace(report, wrong), REPORT)
    assert differences(REPORT, REPORT.replace(report, wrong))
