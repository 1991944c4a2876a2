"""Hand-written passes, by the convention that their names follow."""
