"""What may be asked of a run that goes on: to be what it was, and perhaps longer."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from backproof.training.checkpoint import Checkpoint
from backproof.training.folder import FolderError
from backproof.training.settings import Settings, flag

_MAY_CHANGE = ("steps", "lr_drop_at")


def continued(found: Checkpoint, wanted: Settings, folder: Path, anew: bool) -> Checkpoint:
    """The run in `folder` and its settings from now on; raises FolderError where it would be another.

    `wanted` are those of the command; `anew` says that these are all, and else a default stands for nothing said.
    """
    was, usual, changed = found.about.settings, Settings(), {}
    for each in fields(Settings):
        new, old = getattr(wanted, each.name), getattr(was, each.name)
        if new == old or (not anew and new == getattr(usual, each.name)):
            continue
        if each.name not in _MAY_CHANGE:
            name = flag(each.name)
            raise FolderError(
                f"The run in {folder} has {name} {old}, and {new} would be another run; leave {name} away, or choose "
                "another folder with --out."
            )
        changed[each.name] = new
    settings, done = replace(was, **changed), len(found.state.losses)
    if settings.steps < done:
        raise FolderError(f"The run in {folder} has taken {done:,} steps already; give --steps of at least that.")
    if settings.drop_step != was.drop_step and min(settings.drop_step, was.drop_step) < done:
        raise FolderError(
            f"With --steps {settings.steps} the learning rate would drop at step {settings.drop_step:,}, and the "
            f"{done:,} steps of the run in {folder} were taken for a drop at {was.drop_step:,}; leave it there with "
            f"--lr-drop-at {was.drop_step / settings.steps:.12g}."
        )
    return replace(found, about=replace(found.about, settings=settings))
