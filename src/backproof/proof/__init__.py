"""The only place that knows automatic differentiation: it is what the hand-written passes are held against."""
