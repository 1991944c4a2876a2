"""What the benchmarks share: fair rounds, the machine's description, and the way to the engines."""
