"""One progress bar for all long work: how far, how fast, how long still. On standard error."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

# A notebook says that it is a terminal, and then draws a bar anew below each cell for every step of it.
console = Console(stderr=True, force_jupyter=False, force_terminal=False if "ipykernel" in sys.modules else None)


class RateColumn(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        """The rate as text, empty until it is known."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


def bar(*fields: ProgressColumn) -> Progress:
    """A bar with description, count, rate, the given columns, and time left; nothing is drawn where no terminal is."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        RateColumn(),
        *fields,
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


@contextlib.contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar for work of `total` items; call what it yields with the number of items just done."""
    with bar() as shown:
        task = shown.add_task(what, total=total)
        yield lambda done: shown.advance(task, done)
