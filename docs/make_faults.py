"""Writes docs/faults.md: for every cause a small wrong example, run as it stands, and what the prover
reports.

    python docs/make_faults.py            writes the page
    python docs/make_faults.py --check    exits 1 where the page is not what the examples report today

The numbers in the examples are small and whole, so that every machine rounds them alike.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import torch

from backproof.proof.check import check
from backproof.proof.prove import prove

PAGE = Path(__file__).with_name("faults.md")


class Fault(NamedTuple):
    code: str
    title: str
    words: str
    example: str  # ends by assigning `report`


HEAD = """\
# Faults, and what the prover says of them

Seventeen faults that hand-written backward passes really have. Each is shown by a small example that is
wrong on purpose (the line is marked) and by the report that Backproof gives for it, word for word; `python
docs/make_faults.py` runs the examples and writes this page. All of them begin with

    import torch
    from backproof import check, prove

`check` judges the gradients of one run, by their names. `prove` is given the two functions, runs them again
with other sizes, upstream gradients and layouts, and so finds what one run cannot show.
"""

FAULTS = [
    Fault(
        "F1",
        "The upstream gradient is ignored",
        "A backward pass that was only ever tried with `y.sum().backward()` can forget that `dy` exists: "
        "there it is all ones. Inside a network it is not.",
        """
def forward(x, gain):
    y = gain * x
    return {"x": x, "gain": gain, "y": y}

def backward(s, dy):
    dgain = s["x"].sum(0)  # wrong: (dy * x).sum(0)
    dx = dy * s["gain"]
    return {"gain": dgain, "x": dx}

inputs = {"x": torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]]), "gain": torch.tensor([2.0, -1.0])}
report = prove(forward, backward, inputs)
""",
    ),
    Fault(
        "F2",
        "A contiguous upstream gradient is assumed",
        "A kernel that is given a pointer and a row length reads the wrong numbers when `dy` is a transposed view, and "
        "beyond the end of memory when it was expanded: after `y.sum()` all of `dy` is one number, with stride 0.",
        """
def forward(x, gain):
    y = gain * x
    return {"x": x, "gain": gain, "y": y}

def backward(s, dy):
    flat = dy.as_strided((dy.numel(),), (1,))  # wrong: dy.reshape(-1)
    dgain = (flat.view(dy.shape) * s["x"]).sum(0)
    dx = dy * s["gain"]
    return {"gain": dgain, "x": dx}

inputs = {"x": torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]]), "gain": torch.tensor([2.0, -1.0])}
report = prove(forward, backward, inputs)
""",
    ),
    Fault(
        "F3",
        "Something that was passed in is changed in place",
        "`dy` belongs to the caller, who may add it to a residual branch afterwards; a saved value is "
        "needed again by the second backward pass. The numbers of this first call are all right.",
        """
def forward(x, gain):
    y = gain * x
    return {"x": x, "gain": gain, "y": y}

def backward(s, dy):
    dgain = (dy * s["x"]).sum(0)
    dx = dy.mul_(s["gain"])  # wrong: dy * gain
    return {"gain": dgain, "x": dx}

inputs = {"x": torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]]), "gain": torch.tensor([2.0, -1.0])}
report = prove(forward, backward, inputs)
""",
    ),
    Fault(
        "F4",
        "A gradient is missing, or its value never reaches the loss",
        "The parameter would stay as it is, without a word. Here a wrong variable is squared, so that "
        "`scaled`, and with it `gain`, has no effect on the loss.",
        """
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
gain = torch.tensor([2.0, -1.0], requires_grad=True)
bias = torch.tensor([3.0, 1.0], requires_grad=True)

shifted = x + bias
scaled = gain * shifted
squared = shifted**2  # wrong: scaled**2
loss = squared.sum()

with torch.no_grad():
    dsquared = torch.ones_like(squared)
    dscaled = 2 * scaled * dsquared
    dgain = (dscaled * shifted).sum(0)
    dshifted = 2 * shifted * dsquared
    dbias = None
    dx = dshifted.clone()

report = check(loss, locals())
""",
    ),
    Fault(
        "F5",
        "A sum is taken in low precision",
        "Each term is right to three digits, and the sum loses more with every one that is added.",
        """
x = torch.arange(1.0, 601.0).reshape(200, 3).requires_grad_()
gain = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)

y = gain * x
loss = y.sum()

with torch.no_grad():
    dy = torch.ones_like(y)
    dx = dy * gain
    dgain = (dy * x).bfloat16().sum(0).float()  # wrong: (dy * x).sum(0)

report = check(loss, locals())
""",
    ),
    Fault(
        "F6",
        "A term is dropped, or counted twice",
        "A value with two readers gets a share of its gradient back through each of them. This is the "
        "most common fault in batch and layer normalisation.",
        """
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)

diff = x - 1
sq = diff**2
size = sq.sum(1, keepdim=True)
y = diff * size
loss = (y * torch.tensor([[1.0, 2.0], [3.0, -1.0], [2.0, 4.0]])).sum()

with torch.no_grad():
    dy = torch.tensor([[1.0, 2.0], [3.0, -1.0], [2.0, 4.0]])
    dsize = (dy * diff).sum(1, keepdim=True)
    dsq = dsize.expand_as(sq)
    ddiff = dy * size  # wrong: + 2 * diff * dsq
    dx = ddiff.clone()

report = check(loss, locals())
""",
    ),
    Fault(
        "F7",
        "Some rows, or a last partial tile, are left out",
        "A kernel works through tiles of four rows; nobody wrote the last one, which is shorter. With a "
        "batch of 32 nothing is to be seen.",
        """
x = torch.arange(1.0, 21.0).reshape(10, 2).requires_grad_()
gain = torch.tensor([2.0, -1.0], requires_grad=True)

y = gain * x
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    dgain = (dy * x).sum(0)
    dx = torch.zeros_like(x)
    for start in range(0, len(x) // 4 * 4, 4):  # wrong: range(0, len(x), 4)
        dx[start : start + 4] = dy[start : start + 4] * gain

report = check(loss, locals())
""",
    ),
    Fault(
        "F8",
        "The denominator is wrong",
        "1/n forgotten or taken twice, n for n - 1, or labels in the mean that should not count.",
        """
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0], [4.0, -3.0]], requires_grad=True)
gain = torch.tensor([2.0, -1.0], requires_grad=True)

y = gain * x
loss = (y**2).mean()

with torch.no_grad():
    dy = 2 * y  # wrong: 2 * y / y.numel()
    dgain = (dy * x).sum(0)
    dx = dy * gain

report = check(loss, locals())
""",
    ),
    Fault(
        "F9",
        "Not summed over a broadcast dimension, or over a wrong one",
        "The gain is (1, 2), the gradient (2,): a comparison that broadcasts calls that equal, and the "
        "update of the parameter goes through as well.",
        """
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
gain = torch.tensor([[2.0, -1.0]], requires_grad=True)

y = gain * x
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    dgain = (dy * x).sum(0)  # wrong: .sum(0, keepdim=True)
    dx = dy * gain

report = check(loss, locals())
""",
    ),
    Fault(
        "F10",
        "Two gradients are swapped, or one is transposed",
        "With a square matrix the shapes give nothing away.",
        """
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
W = torch.tensor([[2.0, -1.0], [1.0, 3.0]], requires_grad=True)

y = x @ W
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    dW = dy.T @ x  # wrong: x.T @ dy
    dx = dy @ W.T

report = check(loss, locals())
""",
    ),
    Fault(
        "F11",
        "Overwritten where it must be accumulated",
        "A row that is looked up twice gets two gradients. `dC[ix] = ...` keeps the last, and so does "
        "`dC[ix] += ...`, which reads each row before it writes any.",
        """
C = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
ix = torch.tensor([0, 2, 0, 1, 2])
weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, -1.0]])

emb = C[ix]
loss = (weight * emb).sum()

with torch.no_grad():
    demb = weight.clone()
    dC = torch.zeros_like(C)
    dC[ix] += demb  # wrong: dC.index_add_(0, ix, demb)

report = check(loss, locals())
""",
    ),
    Fault(
        "F12",
        "A constant factor",
        "The 2 of a square, the ½ of a mean square: the direction is right, the step is not.",
        """
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
gain = torch.tensor([2.0, -1.0], requires_grad=True)

y = gain * x
sq = y**2
loss = sq.sum()

with torch.no_grad():
    dsq = torch.ones_like(sq)
    dy = y * dsq  # wrong: 2 * y * dsq
    dgain = (dy * x).sum(0)
    dx = dy * gain

report = check(loss, locals())
""",
    ),
    Fault(
        "F13",
        "The sign",
        "A mean that is subtracted gives a minus back.",
        """
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 6.0], [2.0, 4.0]], requires_grad=True)

mean = x.mean(0, keepdim=True)
diff = x - mean
cubed = diff**3
loss = cubed.sum()

with torch.no_grad():
    dcubed = torch.ones_like(cubed)
    ddiff = 3 * diff**2 * dcubed
    dmean = ddiff.sum(0, keepdim=True)  # wrong: -ddiff.sum(0, keepdim=True)
    dx = ddiff + dmean / len(x)

report = check(loss, locals())
""",
    ),
    Fault(
        "F14",
        "The derivative of a different forward pass",
        "1 - h where tanh wants 1 - h², a power of -½ for -3/2, the biased variance for the unbiased one.",
        """
var = torch.tensor([[1.0, 4.0, 16.0]], requires_grad=True)
diff = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 4.0, 2.0]], requires_grad=True)

inv = var**-0.5
y = diff * inv
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    ddiff = inv * dy
    dinv = (diff * dy).sum(0, keepdim=True)
    dvar = -0.5 * var**-0.5 * dinv  # wrong: -0.5 * var**-1.5 * dinv

report = check(loss, locals())
""",
    ),
    Fault(
        "F15",
        "A gradient where a value belongs, a value where a gradient does, or the wrong upstream gradient",
        "Names that differ by one letter. This line stood in a published notebook as `dbndiff = "
        "dbnvar_inv * dhpreact`.",
        """
diff = torch.tensor([[1.0, 2.0, 4.0], [3.0, 4.0, -1.0], [-2.0, 5.0, 3.0]], requires_grad=True)
inv = torch.tensor([[0.5, 2.0, 4.0]], requires_grad=True)
gain = torch.tensor([[2.0, -1.0, 8.0]], requires_grad=True)

raw = diff * inv
y = gain * raw
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    dgain = (raw * dy).sum(0, keepdim=True)
    draw = gain * dy
    dinv = (diff * draw).sum(0, keepdim=True)
    ddiff = dinv * dy  # wrong: inv * draw

report = check(loss, locals())
""",
    ),
    Fault(
        "F16",
        "A factor is left out",
        "The product rule's other factor was forgotten.",
        """
raw = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
gain = torch.tensor([[2.0, -4.0]], requires_grad=True)

y = gain * raw
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    dgain = (raw * dy).sum(0, keepdim=True)
    draw = dy.clone()  # wrong: gain * dy

report = check(loss, locals())
""",
    ),
    Fault(
        "F17",
        "Not finite",
        "0 · inf and 0 / 0 are not numbers, and one of them spoils every gradient after it. The root of a "
        "variance of zero, as a row of padding has it, has an infinite slope.",
        """
x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]], requires_grad=True)

ms = (x**2).sum(1, keepdim=True)
root = (ms + 1).sqrt()
y = x * root
loss = y.sum()

with torch.no_grad():
    dy = torch.ones_like(y)
    droot = (dy * x).sum(1, keepdim=True)
    dms = droot / (2 * ms.sqrt())  # wrong: droot / (2 * root)
    dx = dy * root + 2 * x * dms

report = check(loss, locals())
""",
    ),
]


def reported(fault: Fault) -> Any:
    """The report of one example, run as it stands on the page."""
    names: dict[str, Any] = {"torch": torch, "check": check, "prove": prove}
    exec(compile(fault.example, f"<{fault.code}>", "exec"), names)
    return names["report"]


def page() -> str:
    parts = [HEAD]
    for fault in FAULTS:
        parts.append(
            f"## {fault.code}: {fault.title}\n\n{textwrap.fill(fault.words, 110)}\n\n"
            f"```python\n{fault.example.strip()}\n```\n\n```text\n{reported(fault)}\n```\n"
        )
    return "\n".join(parts)


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
