from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.WRONG_FACTOR,
    title="A factor is left out, or does not belong there",
    what="The product rule's other factor was forgotten, or a value is there that the derivative does not have.",
    why=(
        "The shape is right, and where the factor is near 1, as a gain is when training begins, the numbers nearly are."
    ),
    mend="For `y = a * b`, `da` is `dy * b`: the other factor, and nothing else.",
    example="""
raw = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
gain = torch.tensor([[2.0, -4.0]], requires_grad=True)

y = gain * raw
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    dgain = (raw * dy).sum(0, keepdim=True)
    draw = dy.clone()  # right: draw = gain * dy

report = check(loss, locals())
""",
)
