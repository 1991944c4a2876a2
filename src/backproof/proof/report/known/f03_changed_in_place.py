from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.CHANGED_IN_PLACE,
    title="Something is changed in place, or kept between calls",
    what=(
        "The line writes into a tensor that it may only read (`dy`, an input, a saved value), or keeps something "
        "from one call to the next."
    ),
    why=(
        "`dy` belongs to the caller, who may add it to a residual branch afterwards; a saved value is needed again "
        "by the second backward pass. The numbers of the first call are all right, so that comparing them shows "
        "nothing."
    ),
    mend=(
        "Write a new tensor, `a * b` for `a.mul_(b)`. Compute everything from the arguments, and keep nothing "
        "between calls."
    ),
    example="""
def forward(x, gain):
    y = gain * x
    return {"x": x, "gain": gain, "y": y}

def backward(s, dy):
    dgain = (dy * s["x"]).sum(0)
    dx = dy.mul_(s["gain"])  # right: dx = dy * s["gain"]
    return {"gain": dgain, "x": dx}

inputs = {"x": torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]]), "gain": torch.tensor([2.0, -1.0])}
report = prove(forward, backward, inputs)
""",
)
