"""From a wrong gradient to its cause: hypotheses are fitted, and a poor fit is no finding."""

from backproof.proof.diagnose.explain import explain, explain_misfit, explain_unreachable
from backproof.proof.diagnose.fault import Case

__all__ = ["Case", "explain", "explain_misfit", "explain_unreachable"]
