"""What the command line shows: progress with rate and remaining time, tables, problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class RateColumn(ProgressColumn):
    """Units per second, as measured over the last half minute."""

    def render(self, task: Task) -> Text:
        """Return the rate of a task, or nothing before there is one."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed and speed >= 10 else f"{speed:.2f}/s" if speed else "", style="cyan")


class LiveProgress:
    """One line per stage under way; a stage that ends makes room for the next."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
        self._display = Progress(*columns, console=err, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Start drawing."""
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing and leave no line behind."""
        self._display.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units of ``stage`` are finished."""
        if stage not in self._tasks:
            self._tasks[stage] = self._display.add_task(stage, total=total)
        self._display.update(self._tasks[stage], completed=done, total=total)
        if done >= total:
            self._display.remove_task(self._tasks.pop(stage))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Return a table of which the last column takes what room there is and the others what they need."""
    lines = [list(row) for row in rows]
    made = Table(header_style="bold", box=None, pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold", no_wrap=name != columns[-1])
    for line in lines:
        made.add_row(*(Text(str(value)) for value in line))
    return made
