"""For test suites: `assert_proved(...)`, whose assertion message is the report."""

from backproof.proof.assertion import assert_proved

__all__ = ["assert_proved"]
