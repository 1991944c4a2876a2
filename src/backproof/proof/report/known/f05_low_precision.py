from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.LOW_PRECISION,
    title="A sum is taken in low precision",
    what="A sum is taken, or a result kept, in a dtype with fewer digits than the value has.",
    why="Each term is right to three digits, and the sum loses more with every one that is added.",
    mend="Sum in float32 or wider, and round to the narrow dtype once, at the end.",
    example="""
x = torch.arange(1.0, 601.0).reshape(200, 3).requires_grad_()
gain = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)

y = gain * x
loss = y.sum()

with torch.no_grad():
    dy = torch.ones_like(y)
    dx = dy * gain
    dgain = (dy * x).bfloat16().sum(0).float()  # right: dgain = (dy * x).sum(0)

report = check(loss, locals())
""",
)
