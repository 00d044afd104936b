"""`mien` without the five seconds that a new Python with torch takes: in this process, or in a fork of a warm one."""

import contextlib
import io
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mien.cli import main
from mien.errors import MienError


class Result(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> MienError:
        """The error of `--json`."""
        return MienError(**self.json["error"])


def call(*arguments: object) -> Result:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    code = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
    assert isinstance(code, int)
    return Result(code, out.getvalue(), err.getvalue())


def apart(folder: Path, work: Callable[..., None], *arguments: object, seconds: float | None = None) -> Result:
    """Run a function of a test module in a process of its own, forked from one that has imported everything.

    After so many seconds it is killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "pytorch_lightning", "mien.training.fit", "mien.report.page", "verbs"])
    out, err = folder / "out.txt", folder / "err.txt"
    process = context.Process(target=_redirected, args=(out, err, work, *arguments))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode is not None
    return Result(process.exitcode, out.read_text(), err.read_text())


def _redirected(out: Path, err: Path, work: Callable[..., None], *arguments: object) -> None:
    for file, stream in ((out, sys.stdout), (err, sys.stderr)):
        with file.open("w") as opened:
            os.dup2(opened.fileno(), stream.fileno())
    work(*arguments)


def mien(home: Path, arguments: list[str], prepare: Callable[[], None] | None = None) -> None:
    """For `apart`: a command line in a workspace, after `prepare`."""
    os.environ["MIEN_HOME"] = str(home)
    if prepare is not None:
        prepare()
    main(arguments)
