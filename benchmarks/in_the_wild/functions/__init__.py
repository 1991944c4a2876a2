"""Functions with a backward pass of their own, by family."""
