"""Bugs planted in a copy of the prover: what may be changed, how bugs are drawn, and what the tests say of each."""
