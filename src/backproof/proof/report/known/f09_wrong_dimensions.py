from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.WRONG_DIMENSIONS,
    title="The sum over a broadcast dimension is missing, or runs over another one",
    what=(
        "A value that was spread over a dimension gets its gradient back summed over it. It was not summed, summed "
        "over another one, or a dimension of size 1 was lost."
    ),
    why=(
        "Of a gain of shape (1, 2) and a gradient of shape (2,), a comparison that broadcasts says that all is equal, "
        "and the update of the parameter goes through as well."
    ),
    mend=(
        "Sum over just the dimensions along which the value was broadcast, with `keepdim=True` where it has size 1. "
        "A gradient has exactly the shape of its value."
    ),
    example="""
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
gain = torch.tensor([[2.0, -1.0]], requires_grad=True)

y = gain * x
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    dgain = (dy * x).sum(0)  # right: dgain = (dy * x).sum(0, keepdim=True)
    dx = dy * gain

report = check(loss, locals())
""",
)
