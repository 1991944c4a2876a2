"""The progress of a sweep: on a terminal a bar for all and a line for each running model, elsewhere a line a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backproof.cli.console import console
from backproof.sweep.plan import Member, Plan
from backproof.sweep.records import Outcome

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from backproof.sweep.events import Event


@contextmanager
def sweep_display(plan: Plan) -> Iterator[Callable[[Event], None]]:
    """Show what happens for as long as the block lasts; the function given wants to hear of every event."""
    if not console.is_terminal:
        yield _plain_lines(plan)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, expand=True) as bar:
        yield _bars(plan, bar)


def _plain_lines(plan: Plan) -> Callable[[Event], None]:
    from backproof.sweep.events import Ended, Found, Stopping

    def show(event: Event) -> None:
        match event:
            case Found(outcomes) if outcomes:
                console.print(_found(outcomes, len(plan.members)))
            case Ended(member, outcome):
                console.print(_line(plan, member, outcome))
            case Stopping():
                console.print(_STOPPING)

    return show


def _bars(plan: Plan, bar: Progress) -> Callable[[Event], None]:
    from backproof.sweep.events import Advanced, Ended, Found, Paused, Started, Stopping

    runs = len(plan.members)
    steps = {member.name: 0 for member in plan.members}
    lines: dict[str, TaskID] = {}
    total = sum(member.settings.steps for member in plan.members)
    overall = bar.add_task("all", total=total, text=f"0 of {runs} runs")
    ended = 0

    def show(event: Event) -> None:
        nonlocal ended
        match event:
            case Found(outcomes) if outcomes:
                bar.console.print(_found(outcomes, runs))
                ended += sum(outcome.is_over for outcome in outcomes.values())
                steps.update((name, outcome.steps) for name, outcome in outcomes.items())
            case Started(member) if member.name not in lines:  # else by another worker, whose own has gone
                lines[member.name] = bar.add_task(member.name, total=member.settings.steps, text="")
            case Advanced(member, pace):
                steps[member.name] = pace.steps_done
                text = f"loss {pace.loss:.4f}  {pace.steps_a_second:,.0f} steps/s"
                bar.update(lines[member.name], completed=pace.steps_done, text=text)
            case Paused(member, outcome):
                bar.remove_task(lines.pop(member.name))
            case Ended(member, outcome):
                ended += 1
                steps[member.name] = member.settings.steps  # what failed is done with, too
                if member.name in lines:
                    bar.remove_task(lines.pop(member.name))
                if outcome.reason:
                    bar.console.print(_line(plan, member, outcome), style="red")
            case Stopping():
                bar.console.print(_STOPPING)
        bar.update(overall, completed=sum(steps.values()), text=f"{ended} of {runs} runs")

    return show


_STOPPING = "Stopping: the runs at hand are being saved."


def _found(outcomes: Mapping[str, Outcome], runs: int) -> str:
    over = sum(outcome.is_over for outcome in outcomes.values())
    begun = f", {len(outcomes) - over} begun" if len(outcomes) > over else ""
    return f"Of {runs} models {over} are finished already{begun}."


def _line(plan: Plan, member: Member, outcome: Outcome) -> str:
    """`run-3 (lr 0.1, seed 7): train 2.0702  validation 2.1083  test 2.1103  (4.5 s)`, or why not."""
    title = plan.title(member)
    if outcome.losses is None:
        return f"{title}: {outcome.reason.rstrip('.')}."
    losses = "  ".join(f"{name} {loss:.4f}" for name, loss in outcome.losses._asdict().items())
    return f"{title}: {losses}  ({outcome.seconds:.1f} s)"
