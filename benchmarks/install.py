"""How much room an install takes: mien's wheel in a new venv, alone and with extras, by `du` of site-packages.

    python benchmarks/install.py [--extras data] [--write results]

Versions are those of constraints.txt. pip itself, which a venv brings, counts as part of it.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
# At most so many MB (2^20 bytes); "" is the base.
LIMITS = {"": 450, "data": 900}
_SHOWN = 5


def run(*words: str | Path) -> str:
    """What a command prints."""
    return subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout


def megabytes(path: Path) -> int:
    """The room of a file or folder, as `du -sm` has it."""
    return int(run("du", "-sm", path).split()[0])


def install(wheel: Path, extra: str, folder: Path) -> dict[str, Any]:
    """The size of a new venv's site-packages with the wheel and an extra, and of its largest parts."""
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "-c", REPOSITORY / "constraints.txt", f"{wheel}[{extra}]" if extra else wheel)
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # What a wheel puts beside a package, as numpy.libs, is counted with it.
    parts: dict[str, int] = {}
    for path in packages.iterdir():
        if not path.name.endswith(".dist-info"):
            name = {"opencv_python_headless": "cv2", "pillow": "PIL"}.get(path.stem, path.stem)
            parts[name] = parts.get(name, 0) + megabytes(path)
    largest = sorted(parts, key=lambda name: -parts[name])[:_SHOWN]
    return {
        "extra": extra,
        "mb": megabytes(packages),
        "limit_mb": LIMITS.get(extra),
        "distributions": len(json.loads(run(*pip, "list", "--format", "json"))),
        "largest_mb": {name: parts[name] for name in largest},
    }


def table(measured: dict[str, Any]) -> str:
    """What was measured as Markdown."""
    rows = "\n".join(
        f"| `pip install {one['extra'] and chr(39)}mien{one['extra'] and '[' + one['extra'] + ']' + chr(39)}` "
        f"| {one['mb']} | {one['limit_mb'] or '–'} | {one['distributions']} "
        f"| {', '.join(f'{name} {mb}' for name, mb in one['largest_mb'].items())} |"
        for one in measured["installs"]
    )
    return f"""# How much room an install takes

Written by `python benchmarks/install.py --write results`: MB (2^20 bytes) of a new venv's site-packages, pip among
them, by `du -sm`, with the versions of constraints.txt; Python {measured["python"]}, {measured["system"]}.

| install | MB | at most | distributions | largest |
| --- | ---: | ---: | ---: | --- |
{rows}
"""


def main() -> None:
    """Build the wheel, install it in a venv for each extra, and print a table; exit 1 where one is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", nargs="*", default=["data"], help="the extras to install, each by itself")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="also write install.json and install.md there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, REPOSITORY)
        (wheel,) = folder.glob("*.whl")
        installs = [install(wheel, extra, folder / (extra or "base")) for extra in ["", *given.extras]]
    measured = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "installs": installs,
    }
    text = table(measured)
    print(text)
    if given.write:
        (given.write / "install.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
        (given.write / "install.md").write_text(text, encoding="utf-8")
    if any(one["limit_mb"] and one["mb"] > one["limit_mb"] for one in installs):
        raise SystemExit("an install is larger than it may be")


if __name__ == "__main__":
    main()
