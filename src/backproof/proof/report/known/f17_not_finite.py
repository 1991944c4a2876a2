from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.NOT_FINITE,
    title="There is NaN or infinity where a number belongs",
    what="0 * inf and 0 / 0 are not numbers; a division by zero, the logarithm of zero and an overflow are infinite.",
    why=(
        "One of them spoils every gradient after it. The root of a variance of zero, as a row of padding has it, "
        "has an infinite slope."
    ),
    mend=(
        "Keep denominators away from zero just as the forward pass does, with its epsilon, or select before you divide."
    ),
    example="""
x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]], requires_grad=True)

ms = (x**2).sum(1, keepdim=True)
root = (ms + 1).sqrt()
y = x * root
loss = y.sum()

with torch.no_grad():
    dy = torch.ones_like(y)
    droot = (dy * x).sum(1, keepdim=True)
    dms = droot / (2 * ms.sqrt())  # right: dms = droot / (2 * root)
    dx = dy * root + 2 * x * dms

report = check(loss, locals())
""",
)
