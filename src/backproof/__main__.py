"""The program: `backproof`, and `python -m backproof`."""

import gc
import sys

from backproof.cli import main

_LITTER = 100_000  # objects more, after which is looked for what can go; importing PyTorch makes millions that stay


def program() -> None:
    """Run the command that was typed, and end with its exit code."""
    gc.set_threshold(_LITTER)
    code = main()
    gc.freeze()  # all of it ends with the process: to look through PyTorch's objects once more takes 0.2 s
    sys.exit(code)


if __name__ == "__main__":
    program()
