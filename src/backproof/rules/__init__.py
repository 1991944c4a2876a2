"""Backward passes derived by hand, one file a rule, each page in the same order.

The mathematics and its source, `Steps` (every named value of the forward pass; the gradients use the same record),
`forward_steps`, `backward_steps` (one line a value), then `forward` and `backward`, fused for speed.
In every rule `d<name>` is the derivative of the loss by `<name>` and has exactly its shape.
"""
