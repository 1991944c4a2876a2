"""Every test of the native module runs once for each instruction set that this machine has."""

import pytest
from native import instruction_sets


@pytest.fixture(params=instruction_sets())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BACKPROOF_ISA", request.param)
    return request.param
