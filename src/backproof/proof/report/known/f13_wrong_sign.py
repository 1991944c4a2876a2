from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.WRONG_SIGN,
    title="The sign is wrong",
    what="The gradient, or one term of it, has the opposite sign.",
    why=(
        "The step goes uphill. A mean that is subtracted gives a minus back, and among several terms a missing one "
        "is easily overlooked."
    ),
    mend="Flip the sign. Subtractions, reciprocals and negative powers in the forward line all give a minus back.",
    example="""
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 6.0], [2.0, 4.0]], requires_grad=True)

mean = x.mean(0, keepdim=True)
diff = x - mean
cubed = diff**3
loss = cubed.sum()

with torch.no_grad():
    dcubed = torch.ones_like(cubed)
    ddiff = 3 * diff**2 * dcubed
    dmean = ddiff.sum(0, keepdim=True)  # right: dmean = -ddiff.sum(0, keepdim=True)
    dx = ddiff + dmean / len(x)

report = check(loss, locals())
""",
)
