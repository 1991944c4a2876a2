from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.CONTIGUITY_ASSUMED,
    title="A contiguous upstream gradient is assumed",
    what="The memory of the upstream gradient is read as if its numbers lay there row by row.",
    why=(
        "A kernel that is given a pointer and a row length reads the wrong numbers when `dy` is a transposed view, "
        "and beyond the end of memory when it was expanded: after `y.sum()` all of `dy` is one number, with stride "
        "0."
    ),
    mend="Index with the strides, or begin with `dy = dy.contiguous()`.",
    example="""
def forward(x, gain):
    y = gain * x
    return {"x": x, "gain": gain, "y": y}

def backward(s, dy):
    flat = dy.as_strided((dy.numel(),), (1,))  # right: flat = dy.reshape(-1)
    dgain = (flat.view(dy.shape) * s["x"]).sum(0)
    dx = dy * s["gain"]
    return {"gain": dgain, "x": dx}

inputs = {"x": torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]]), "gain": torch.tensor([2.0, -1.0])}
report = prove(forward, backward, inputs)
""",
)
