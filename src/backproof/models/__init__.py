"""Networks as chains of rules."""
