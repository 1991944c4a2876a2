from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.NO_GRADIENT,
    title="A gradient is missing, or its value never reaches the loss",
    what="There is no gradient where one is needed, it is zero everywhere, or the output does not depend on its value.",
    why=(
        "The parameter stays as it is, without a word. Often the forward pass uses a wrong variable, and nobody "
        "reads the one that was meant."
    ),
    mend=(
        "Compute the gradient from the lines that read the value. Where there is none, look for the line of the "
        "forward pass that should read it."
    ),
    example="""
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
gain = torch.tensor([2.0, -1.0], requires_grad=True)
bias = torch.tensor([3.0, 1.0], requires_grad=True)
weight = torch.tensor([3.0, 2.0])

shifted = x + bias
scaled = gain * shifted
weighted = shifted * weight  # right: weighted = scaled * weight
loss = weighted.sum()

with torch.no_grad():
    dweighted = torch.ones_like(weighted)
    dscaled = dweighted * weight
    dgain = (dscaled * shifted).sum(0)
    dshifted = gain * dscaled
    dbias = None  # right: dbias = dshifted.sum(0)
    dx = dshifted.clone()

report = check(loss, locals())
""",
)
