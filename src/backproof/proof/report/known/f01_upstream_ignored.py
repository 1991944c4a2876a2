from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.UPSTREAM_IGNORED,
    title="The upstream gradient is ignored",
    what="The line uses ones, or one number, where the gradient that comes from above belongs.",
    why=(
        "A backward pass that was only ever tried with `y.sum().backward()` can forget that `dy` exists: there it "
        "is all ones. Inside a network it is not."
    ),
    mend=(
        "Multiply by the upstream gradient, element by element, before anything is summed. Try the backward pass "
        "with a random upstream gradient, as `prove` does."
    ),
    example="""
def forward(x, gain):
    y = gain * x
    return {"x": x, "gain": gain, "y": y}

def backward(s, dy):
    dgain = s["x"].sum(0)  # right: dgain = (dy * s["x"]).sum(0)
    dx = dy * s["gain"]
    return {"gain": dgain, "x": dx}

inputs = {"x": torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]]), "gain": torch.tensor([2.0, -1.0])}
report = prove(forward, backward, inputs)
""",
)
