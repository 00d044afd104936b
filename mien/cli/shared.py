"""What all verbs share: the app, the options that many take, and how results and system errors are told."""

import errno
import json
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mien import trust
from mien.errors import FailedError, MienError, shown
from mien.workspace import Workspace, find_workspace

app = typer.Typer(
    name="mien",
    help="A workbench for facial-expression models: one file is one experiment, measured honestly.",
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Data sets: import, draw, list, look at and remove them.", no_args_is_help=True)
app.add_typer(data, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Home = Annotated[
    Path | None,
    typer.Option("--workspace", help="The folder of datasets/ and runs/ (else MIEN_HOME, else this folder)."),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, its name, or name/number.")]
DetectorName = Annotated[
    str,
    typer.Option(
        "--detector",
        metavar="auto|yunet|cascade|none",
        help="How faces are found: auto is YuNet, fetched once, or OpenCV's cascade; none: the images are faces.",
    ),
]
DetectorWeights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YuNet's weights, face_detection_yunet_2023mar.onnx.")
]
Plugins = Annotated[list[Path] | None, typer.Option("--plugin", help="A Python file that registers more.")]


Figures = Annotated[
    Literal["pdf"] | None,
    typer.Option("--format", help="Also write each figure for a paper: bare, its caption as text beside it."),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run plugins that come with a run or an extended file, and remember them.")
]


def open_home(workspace: Path | None, accept: bool = False) -> Workspace:
    """The workspace of a verb, by whose list plugins are run; with `accept` new ones are added to it."""
    home = find_workspace(workspace)
    trust.use(home, accept=accept)
    return home


def command_line() -> list[str]:
    """What was typed, as runs and ledgers keep it."""
    return ["mien", *sys.argv[1:]]


def from_system(error: OSError) -> MienError:
    """An error of the system in mien's words."""
    file = str(error.filename) if error.filename else None
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return FailedError("there is no space left on the disk", file=file)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FailedError("this can't be written or read (no permission)", file=file)
    if error.errno == errno.ENAMETOOLONG:
        return MienError("this name is too long", file=file, expected="at most 255 bytes for each part of a path")
    return FailedError(error.strerror or str(error), file=file)


def broken(error: dict[str, Any]) -> str:
    """What a list says in place of what it can't read."""
    return f"can't be read: {MienError(**error)}"


def say(text: object = "") -> None:
    """Print lines in which nothing steers the terminal, whatever the names in them are."""
    print(_lines(str(text)))


def _lines(text: str) -> str:
    return "\n".join(map(shown, text.split("\n")))


def print_result(as_json: bool, result: dict[str, Any], show: Callable[[], None]) -> None:
    """Print a result as one JSON object, or as `show` does."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        show()


def counted(n: int, what: str) -> str:
    """A number of things in words.

    >>> counted(1, "photo"), counted(1200, "face")
    ('1 photo', '1,200 faces')
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def tell_unread(failed: int, of: int, what: str = "photo") -> None:
    """Exit with 1 where some photos can't be read, with 2 where none can, and say how many."""
    if failed:
        print(f"mien: {failed:,} of {counted(of, what)} can't be read", file=sys.stderr)
        raise typer.Exit(2 if failed == of else 1)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: int = 1) -> None:
    """A table on standard output, stacked where it is too wide; columns from number `right` on hold numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    # A pipe has no width of its own; a log shouldn't fold its lines.
    console = Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False)
    # A table's own title is folded at the table's width.
    console.print(_lines(title))
    cells = [[_lines(cell) for cell in row] for row in rows]
    widths = [
        max(cell_len(line) for text in of for line in text.split("\n")) for of in zip(columns, *cells, strict=True)
    ]
    if sum(widths) + 3 * len(widths) > console.width:
        print("\n".join(stacked(columns, cells, console.width)))
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number >= right else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    console.print(table)


def stacked(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A table as lines for a terminal that it is too wide for: each row a block, each cell a line with its column.

    Lines are broken between words alone, so that no number is cut.

    >>> stacked(("run", "n"), [("cnn1/1", "3,589"), ("cnn1/2", "3,589")], 80)
    ['', 'cnn1/1', '  n  3,589', '', 'cnn1/2', '  n  3,589']
    """
    room = max(map(len, columns[1:]), default=0)
    lines = []
    for first, *others in rows:
        lines += ["", first]
        for column, cell in zip(columns[1:], others, strict=True):
            if cell:
                text = f"  {column:<{room}}  {cell.replace(chr(10), ' ')}"
                indent = " " * (room + 4)
                lines += textwrap.wrap(
                    text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
                )
    return lines
