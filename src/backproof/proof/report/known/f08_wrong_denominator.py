from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.WRONG_DENOMINATOR,
    title="The denominator is wrong",
    what="1/n forgotten or taken twice, n for n - 1, or labels in the mean that should not count.",
    why=(
        "The direction is right, the length depends on the size of the batch: a learning rate that works for one "
        "size fails for another."
    ),
    mend=(
        "Divide by what the forward pass divides by, once, and take it from a tensor's shape instead of writing a "
        "number."
    ),
    example="""
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0], [4.0, -3.0]], requires_grad=True)
gain = torch.tensor([2.0, -1.0], requires_grad=True)

y = gain * x
loss = (y**2).mean()

with torch.no_grad():
    dy = 2 * y  # right: dy = 2 * y / y.numel()
    dgain = (dy * x).sum(0)
    dx = dy * gain

report = check(loss, locals())
""",
)
