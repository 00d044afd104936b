"""An install of mien with some extras alone, in a Python that has all: what they don't bring can't be imported."""

import functools
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from conftest import REPOSITORY
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from verbs import Result

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

_AS_INSTALLED = """
import sys
from importlib.machinery import PathFinder

blocked = {blocked}

class Some(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in blocked else super().find_spec(name, path, target)

sys.meta_path = [Some if finder is PathFinder else finder for finder in sys.meta_path]
{code}
"""


def named(*extras: str) -> Iterator[str]:
    """The distributions that pyproject.toml names for the base and these extras, and for the extras that those name."""
    for text in [
        *PROJECT["dependencies"],
        *(one for extra in extras for one in PROJECT["optional-dependencies"][extra]),
    ]:
        asked = Requirement(text)
        if asked.name == "mien":
            yield from named(*asked.extras)
        else:
            yield canonicalize_name(asked.name)


@functools.cache
def brought(*extras: str) -> set[str]:
    """All distributions that come with mien and these extras, also as dependencies of others."""
    found: set[str] = {"mien"}
    left = list(named(*extras))
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for asked in map(Requirement, needs):
            if asked.marker is None or asked.marker.evaluate({"extra": ""}):
                left.append(canonicalize_name(asked.name))
    return found


# Reading what is installed takes longer than what is asked of it.
_INSTALLED = metadata.packages_distributions()


def distributions(package: str) -> set[str]:
    """The distributions that an import of this name may come from; one that isn't installed is called as its import."""
    return {canonicalize_name(name) for name in _INSTALLED.get(package, [package])}


@functools.cache
def absent(*extras: str) -> frozenset[str]:
    """The names of imports that an install with these extras lacks, of all that are installed here."""
    there = brought(*extras)
    return frozenset(name for name in _INSTALLED if not distributions(name) & there)


def python(extras: Iterable[str], code: str, folder: Path, *, but: Iterable[str] = ()) -> str:
    """What some code prints in a new Python that has mien with these extras, `but` for some packages."""
    text = _AS_INSTALLED.format(blocked={*absent(*extras), *but}, code=code)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


_CALLS = """
import contextlib, io, json
from mien.cli import main

for arguments in {commands}:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def mien(
    extras: Iterable[str], commands: Sequence[Sequence[str]], folder: Path, *, but: Iterable[str] = ()
) -> list[Result]:
    """What command lines come to, one after the other, in one new Python that has mien with these extras."""
    lines = python(extras, _CALLS.format(commands=[list(one) for one in commands]), folder, but=but).splitlines()
    return [Result(*json.loads(line)) for line in lines]
