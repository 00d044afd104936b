"""Damaged and hostile files: each case damages one file of a workspace, calls verbs on it, and looks at what they do.

Everything is drawn from a seed. A verb may end with 0, 1 or 2, and says one sentence a problem; no traceback, no memory
beyond a limit, no file changed outside of the workspace.
"""

import contextlib
import gzip
import io
import json
import random
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from faults.public_sources import BUILDERS
from faults.sources import pixels_of

from mien.cli import main

MEMORY_MB = 1536
RUN = "tiny/1"

PAGE = ["report tiny/1"]

# By kind: the files that are damaged, quick verbs, and verbs that take seconds.
KINDS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "weights": (["runs/tiny/1/weights.safetensors"], ["doctor tiny/1"], ["evaluate tiny/1", "explain tiny/1 filters"]),
    "card": (["datasets/tiny/card.json"], ["data list", "doctor tiny/1", "check FILE"], ["evaluate tiny/1"]),
    "shards": (["datasets/tiny/*.parquet"], ["doctor tiny/1", "check FILE"], ["data audit tiny", "evaluate tiny/1"]),
    "cache": (["datasets/tiny/cache/*"], ["doctor tiny/1"], ["data audit tiny", "evaluate tiny/1"]),
    "metrics": (
        ["runs/tiny/1/metrics*.json"],
        ["runs", "doctor tiny/1", "slices tiny/1 --by class"],
        ["report tiny/1"],
    ),
    "predictions": (
        ["runs/tiny/1/predictions/*.parquet"],
        ["slices tiny/1 --by class", "doctor tiny/1", "compare tiny/1 tiny/2"],
        ["report tiny/1"],
    ),
    "history": (["runs/tiny/1/history.csv"], ["runs", "doctor tiny/1"], ["report tiny/1"]),
    "ledger": (["runs/tiny/1/evaluations.jsonl", "evaluations.jsonl"], ["doctor tiny/1"], ["report tiny/1"]),
    "environment": (["runs/tiny/1/environment.json"], ["runs", "doctor tiny/1"], ["report tiny/1", "evaluate tiny/1"]),
    "experiment": (["runs/tiny/1/experiment.yaml"], ["runs", "doctor tiny/1"], ["report tiny/1", "evaluate tiny/1"]),
    "status": (["runs/tiny/1/status.json", "runs/tiny/1/manifest.json"], ["runs", "doctor tiny/1"], ["report tiny/1"]),
    "audit": (["datasets/tiny/audit/audit.*"], ["check FILE exclude=[leaked]"], ["data show tiny"]),
    "explanation": (["runs/tiny/1/explain/*.json", "runs/tiny/1/explain/*.npz"], ["doctor tiny/1"], ["report tiny/1"]),
    "onnx": (["tiny.onnx"], [], ["evaluate ONNX --dataset tiny"]),
    "checkpoint": (["runs/tiny/3/checkpoint.ckpt"], ["doctor tiny/3"], ["train --resume tiny/3"]),
    "source .npy": (["sources/affectnet/data/*/annotations/*"], ["data import SOURCES/affectnet/data --as new"], []),
    "source Arrow": (["sources/saved/data/**/*.*"], ["data import SOURCES/saved/data --as new"], []),
    "source .csv.gz": (["sources/fer.csv.gz"], ["data import SOURCES/fer.csv.gz --as new"], []),
    "source archive": (["sources/fer.zip"], ["data import SOURCES/fer.zip --as new"], []),
}

HOSTILE = (
    "x/../../../PWN",
    "../../PWN",
    "/PWN",
    "..",
    "",
    "a\nb",
    "\x1b[31mred",
    "\u2028",
    "\ud800",
    "=1+1",
    "<script>alert(1)</script>",
    "a" * 300,
    "x" * 100_000,
    "nul\x00",
)
HUGE = (-1, 0, 2**31, 2**63, 10**30, 7_000_000_000, 1e308, float("nan"), float("inf"), -float("inf"))
OTHERS = (None, True, [], {}, "text", 1.5, [[[]]], {"a": {"b": 1}})


class Case(NamedTuple):
    """One damage: what was done to which file, which verb was called, and what is wrong with what it did."""

    number: int
    kind: str
    file: str
    damage: str
    verb: str
    code: int
    wrong: str


def flipped(data: bytes, dice: random.Random) -> bytes:
    """One to eight bits are others."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        if changed:
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def head_flipped(data: bytes, dice: random.Random) -> bytes:
    """Bits of the first or last 300 bytes are others: headers and footers stand there."""
    part = min(300, len(data))
    if dice.random() < 0.5:
        return flipped(data[:part], dice) + data[part:]
    return data[: len(data) - part] + flipped(data[len(data) - part :], dice)


def truncated(data: bytes, dice: random.Random) -> bytes:
    """The end is missing."""
    return data[: dice.randrange(max(len(data), 1))]


def emptied(data: bytes, dice: random.Random) -> bytes:
    """Nothing is left, or zeros."""
    return b"" if dice.random() < 0.5 else bytes(len(data))


def encoded(data: bytes, dice: random.Random) -> bytes:
    """Text in another encoding, or bytes that are no text."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return b"\xff\xfe" + data
    return dice.choice([text.encode("utf-16"), b"\xef\xbb\xbf" + data, data + b"\xff\xc3\x28", text.encode("utf-32")])


def nested(data: bytes, dice: random.Random) -> bytes:
    """Nested without end, or a bomb of text."""
    depth = dice.choice([100, 1000, 200_000])
    return dice.choice([b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth, b'"' + b"a" * 10_000_000 + b'"'])


def _places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path, *(place for key, value in items for place in _places(value, (*path, key)))]


def rewritten(data: bytes, dice: random.Random) -> bytes:
    """One value of a JSON file, or one line's of many, is of another type, huge, hostile or gone; bytes else."""
    lines = data.split(b"\n") if data.startswith(b"{") and b"\n{" in data else [data]
    number = dice.randrange(len(lines))
    try:
        content = json.loads(lines[number])
    except ValueError:
        return _number_rewritten(data, dice)
    places = _places(content)[1:]
    if not places:
        return b"[]"
    *way, last = dice.choice(places)
    inner = content
    for key in way:
        inner = inner[key]
    if dice.random() < 0.15:
        del inner[last]
    else:
        inner[last] = dice.choice([dice.choice(HOSTILE), dice.choice(HUGE), dice.choice(OTHERS)])
    lines[number] = json.dumps(content).encode()
    return b"\n".join(lines)


def _number_rewritten(data: bytes, dice: random.Random) -> bytes:
    """One number or word of a text, as a YAML or a CSV, is another; of bytes some are others."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return flipped(head_flipped(data, dice), dice)
    words = list(re.finditer(r"[\w.+-]+", text))
    if not words:
        return b"x"
    word = dice.choice(words)
    new = str(dice.choice([*HOSTILE[:11], *HUGE, "[1, 2]", "{a: 1}", "null", "x"]))
    return (text[: word.start()] + new + text[word.end() :]).encode("utf-8", "surrogatepass")


def header_rewritten(data: bytes, dice: random.Random) -> bytes:
    """A value of the JSON in the header of a safetensors file, else as `rewritten`."""
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
        about = header["__metadata__"]["mien"].encode()
    except (ValueError, KeyError, TypeError):
        return rewritten(data, dice)
    if dice.random() < 0.7:
        header["__metadata__"]["mien"] = rewritten(about, dice).decode("utf-8", "replace")
        text = json.dumps(header).encode()
    else:
        text = rewritten(data[8 : 8 + size], dice)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flipped,
    head_flipped,
    truncated,
    emptied,
    encoded,
    nested,
    rewritten,
    rewritten,
    header_rewritten,
)


def damage(file: Path, others: list[Path], dice: random.Random) -> str:
    """Damage a file in one way, or put another in its place; gives the way's name."""
    if dice.random() < 0.1:
        other = dice.choice(others)
        file.write_bytes(other.read_bytes())
        return f"swapped with {other.name}"
    if dice.random() < 0.03:
        file.unlink()
        return "removed"
    way = dice.choice(DAMAGES)
    file.write_bytes(way(file.read_bytes(), dice))
    return way.__name__


EXPERIMENT = """
name: tiny
dataset: {name: tiny, size: 24}
model: {name: cnn, channels: [4], kernel_size: 5, fc: [16]}
optimizer: {name: sgd, lr: 0.05}
train: {epochs: 2, batch_size: 32, seed: 1, precision: float32, device: cpu}
"""


def build(home: Path) -> None:
    """A workspace with all that is damaged: an audited data set, two measured runs and a stopped one, an export."""
    from conftest import write_tiny

    from mien.training.fit import train
    from mien.workflow import new_runs
    from mien.workspace import Workspace

    workspace = Workspace(home)
    write_tiny(workspace)
    file = home / "tiny.yaml"
    file.write_text(EXPERIMENT)
    for arguments in (
        ["data", "audit", "tiny"],
        ["train", file],
        ["train", file, "train.seed=2"],
        ["evaluate", "tiny/1"],
        ["evaluate", "tiny/2"],
        ["explain", "tiny/1", "filters", "cases"],
        ["export", "tiny/1", "--to", home / "tiny.onnx"],
    ):
        code, said, _ = call([*map(str, arguments), "--workspace", str(home)])
        assert code == 0, said
    (run,) = new_runs(workspace, file, ["train.seed=3"])

    def stop(epoch: object) -> None:
        raise ValueError

    with contextlib.suppress(ValueError):
        train(workspace, run, ["test"], on_epoch=stop)
    assert run.checkpoint.is_file()
    write_sources(home / "sources")


def write_sources(folder: Path) -> None:
    """Sources of which each can be imported: AffectNet's, a data set that was saved to disk, packed tables."""
    for kind, name, seed in (("AffectNet", "affectnet", 1), ("save_to_disk", "saved", 5)):
        assert BUILDERS[kind](folder / name, random.Random(seed)).harmless
    pixels = [" ".join(map(str, pixels_of(number).ravel())) for number in range(30)]
    text = "emotion,pixels,Usage\n" + "".join(f"{n % 7},{values},Training\n" for n, values in enumerate(pixels))
    (folder / "fer.csv.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(folder / "fer.zip", "w") as packed:
        packed.writestr("fer.csv", text)


def call(arguments: list[str]) -> tuple[int, str, str]:
    """A command line in this process: its exit code, standard error, and the exception that a traceback would show."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1, err.getvalue(), ""
    except BaseException as error:  # All that Python would show a traceback for.
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if "/mien/" in frame.filename]
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else f"{where.filename}:{where.lineno}"
        return -1, err.getvalue(), f"{type(error).__name__}: {str(error)[:100]} at {place}"
    raise AssertionError("main always exits")


def wrong_with(code: int, said: str, raised: str, peak_mb: float) -> str:
    """What is wrong with how a verb ended; "" for nothing."""
    if raised:
        return f"traceback: {raised}"
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if "Traceback" in said:
        return "traceback on standard error"
    lines = [line for line in said.split("\n") if line]
    if code and not any(line.startswith("mien: ") for line in lines) and lines:
        return f"no sentence: {lines[-1][:100]}"
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", said.replace("\r", "")):
        return "a control character on standard error"
    if peak_mb > MEMORY_MB:
        return f"{peak_mb:.0f} MB"
    return ""


def peak_mb(*, anew: bool = False) -> float:
    """The most memory that this process held, since it was asked `anew`."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
        return 0.0
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """The files below a folder, with size and time."""
    return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()}


def run_cases(sandbox: Path, count: int, seed: int, *, slow: float, tell: Callable[[str], None] = print) -> list[Case]:
    """`count` damaged files, kinds in turn; with probability `slow` a verb that takes seconds is called as well.

    `sandbox` holds the workspace `home` and, beside it, what must stay as it is.
    """
    home, whole, outside = sandbox / "a" / "b" / "home", sandbox / "whole", sandbox / "a"
    if not whole.exists():
        build(whole)
    (outside / "mine").mkdir(parents=True, exist_ok=True)
    (outside / "mine" / "thesis.txt").write_text("mine")
    dice, cases = random.Random(seed), []
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(whole, home)
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        patterns, quick, long = KINDS[kind]
        files = sorted(file for pattern in patterns for file in home.glob(pattern) if file.is_file())
        others = sorted(file for file in home.rglob("*.*") if file.is_file())
        file = dice.choice(files)
        what = damage(file, others, dice)
        verbs = [dice.choice(quick)] if quick else []
        if long and (dice.random() < slow or not quick):
            verbs.append(dice.choice(long))
        for verb in verbs:
            words = {"FILE": str(home / "tiny.yaml"), "ONNX": str(home / "tiny.onnx")}
            arguments = [words.get(word, word) for word in verb.replace("SOURCES", str(home / "sources")).split()]
            arguments += ["--workspace", str(home)]
            before = {name: of for name, of in state_of(sandbox).items() if not name.startswith(str(home))}
            peak_mb(anew=True)
            code, said, raised = call(arguments)
            wrong = wrong_with(code, said, raised, peak_mb())
            after = {name: of for name, of in state_of(sandbox).items() if not name.startswith(str(home))}
            if before != after:
                wrong = f"changed outside of the workspace: {sorted(set(after.items()) ^ set(before.items()))[:3]}"
            cases.append(Case(seed + number, kind, str(file.relative_to(home)), what, verb, code, wrong))
            if wrong:
                tell(f"seed {seed}, case {number}: {cases[-1]}")
        shutil.rmtree(home)
        shutil.copytree(whole, home)
    return cases


def summary(cases: list[Case], seed: int) -> dict[str, Any]:
    """What `results/faults/damage.json` holds: how many files of each kind were damaged, and what went wrong."""
    kinds = Counter(case.kind for case in cases)
    return {
        "seed": seed,
        "files": sum(kinds.values()),
        "kinds": dict(sorted(kinds.items())),
        "codes": {str(code): number for code, number in sorted(Counter(case.code for case in cases).items())},
        "tracebacks": sum("traceback" in case.wrong for case in cases),
        "over_memory": sum(case.wrong.endswith(" MB") for case in cases),
        "outside": sum("outside" in case.wrong for case in cases),
        "no_sentence": sum("sentence" in case.wrong or "control" in case.wrong for case in cases),
        "memory_limit_mb": MEMORY_MB,
        "wrong": [case._asdict() for case in cases if case.wrong],
    }


def run(folder: Path, seed: int, n: int) -> Iterator[dict[str, Any]]:
    """The section of `results/faults.md`, after every hundred files and at the end."""
    cases: list[Case] = []
    for start in range(0, n, 100):
        cases += run_cases(folder, min(100, n - start), seed + start, slow=0.3)
        yield section(cases, n)


def section(cases: list[Case], n: int) -> dict[str, Any]:
    """How many files of each kind were damaged, what verbs did with them, and what went wrong."""
    rows = []
    for kind in (*KINDS, "all"):
        own = [case for case in cases if kind in (case.kind, "all")]
        files = len({case.number for case in own})
        codes = Counter(case.code for case in own)
        wrong = [
            sum(word in case.wrong for case in own) for word in ("traceback", "outside", " MB", "sentence", "control")
        ]
        rows.append(
            [kind, files, len(own), codes[0], codes[1] + codes[2], wrong[0], wrong[2], wrong[1], wrong[3] + wrong[4]]
        )
    columns = ["kind", "files", "calls", "went on", "refused", "tracebacks", "over memory", "outside", "no sentence"]
    return {
        "title": "Damaged files",
        "text": f"{len({case.number for case in cases}):,} of {n:,} files damaged: flipped bits, cut, emptied, other "
        "encodings, nested without end, huge numbers, other types, hostile names, another file's content. Each call "
        f"ends with 0, 1 or 2, one sentence a problem, at most {MEMORY_MB:,} MB, and nothing changed elsewhere.",
        "columns": columns,
        "rows": [[str(cell) for cell in row] for row in rows],
        "failed": sum(bool(case.wrong) for case in cases),
        "wrong": [case._asdict() for case in cases if case.wrong],
    }
