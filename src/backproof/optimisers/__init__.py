"""Optimisers written by hand, one file each, each page in the same order.

The mathematics and its source; `update`, which is the mathematics, for one tensor, in place; then the options, a frozen
dataclass that is an `Optimiser` (`protocol.py`) and takes `update` to every parameter. What an optimiser remembers is
no part of it: the state is a dict of tensors, which can be saved beside the parameters, copied, and put back.

Beside the optimisers stand what is done to their learning rate (`schedules.py`) and to the gradients (`clipping.py`).
"""
