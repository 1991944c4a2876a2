"""What may be asked of a run that goes on: to be what it was, and perhaps longer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backproof.training.checkpoint import Checkpoint
from backproof.training.folder import FolderError
from backproof.training.kinds import flat, may_change, usual
from backproof.training.settings import Settings, flag

if TYPE_CHECKING:
    from backproof.training.kinds import AnySettings


def continued(found: Checkpoint, wanted: AnySettings, folder: Path, anew: bool) -> Checkpoint:
    """The run in `folder` and its settings from now on; raises FolderError where it would be another.

    `wanted` are those of the command; `anew` says that these are all, and else a default stands for nothing said.
    """
    was = found.about.settings
    if wanted == Settings() and not anew:
        wanted = usual(was)  # nothing was said, not even which model it is
    asked, had, usually = flat(wanted), flat(was), flat(usual(wanted))
    if isinstance(wanted, Settings) and not isinstance(was, Settings) and not anew:
        asked["model"] = had["model"]  # of which nothing was said
    changed: dict[str, Any] = {}
    for each in (*had, *(asked.keys() - had.keys())):
        new, old = asked.get(each, "none"), had.get(each, "none")
        if new == old or (not anew and new == usually.get(each, "none") and each != "model"):
            continue
        if each not in may_change(was):
            name = flag(each)
            raise FolderError(
                f"The run in {folder} has {name} {old}, and {new} would be another run; leave {name} away, or choose "
                "another folder with --out."
            )
        changed[each] = new
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
