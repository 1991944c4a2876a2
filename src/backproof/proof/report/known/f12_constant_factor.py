from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.CONSTANT_FACTOR,
    title="A constant factor is wrong",
    what=(
        "The gradient is a number times the right one: the 2 of a square, the 1/2 of a mean square, a scale of the "
        "line."
    ),
    why=(
        "The direction is right, the step is not; beside other gradients that are right, it is the wrong direction "
        "as well."
    ),
    mend="Put the factor back in, or take it out once. Derive the line again with its constants.",
    example="""
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
gain = torch.tensor([2.0, -1.0], requires_grad=True)

y = gain * x
sq = y**2
loss = sq.sum()

with torch.no_grad():
    dsq = torch.ones_like(sq)
    dy = y * dsq  # right: dy = 2 * y * dsq
    dgain = (dy * x).sum(0)
    dx = dy * gain

report = check(loss, locals())
""",
)
