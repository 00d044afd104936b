"""A list told in parts is the list told at once; what isn't whole, or doesn't go together, is refused."""

import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut
from verbs import apart, call

from mien.cli import main
from mien.errors import MienError
from mien.prediction.shards import Shard, parse_shard

N = 37
# Their odd ones: a photo without a face, and one that can't be read.
EMPTY, BROKEN = "12.png", "20.png"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """37 small photos, most with a face."""
    folder = tmp_path_factory.mktemp("shards") / "photos"
    folder.mkdir()
    face = Image.fromarray(astronaut()).crop((120, 0, 330, 210))
    for index in range(N):
        side = 120 + index
        face.resize((side, side)).save(folder / f"{index:02}.png")
    Image.new("RGB", (60, 60), "gray").save(folder / EMPTY)
    (folder / BROKEN).write_text("no picture")
    return folder


ASKED = ("--detector", "cascade", "--model", "mien-s")


def told(*arguments: object, code: int = 0) -> str:
    done = call("predict", *arguments)
    assert done.code == code, done.err
    return done.err


@pytest.fixture(scope="module")
def whole(photos: Path) -> Path:
    """The photos told at once, in each format."""
    for ending in ("csv", "jsonl", "json", "parquet"):
        told(photos, *ASKED, "--out", photos.parent / f"whole.{ending}", code=1)
    return photos.parent / "whole.csv"


@pytest.fixture(scope="module")
def made(photos: Path) -> Path:
    """The photos told in five parts."""
    folder = photos.parent / "parts"
    for part in (3, 1, 5, 2, 4):
        told(photos, *ASKED, "--shard", f"{part}/5", "--out", folder, code=int(part == 3))
    return folder


@pytest.fixture
def parts(made: Path, tmp_path: Path) -> Path:
    """The five parts, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "parts"))


def test_five_parts_are_the_whole_byte_by_byte(whole: Path, made: Path, tmp_path: Path) -> None:
    assert len({line.split(",")[0] for line in whole.read_text().splitlines()[1:]}) == N
    for ending in ("csv", "jsonl", "json", "parquet"):
        merged = tmp_path / f"merged.{ending}"
        told("--merge", made, "--out", merged)
        assert merged.read_bytes() == whole.with_suffix(f".{ending}").read_bytes(), ending


def test_what_a_part_says_of_itself(made: Path, whole: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == [
        name for part in range(1, 6) for name in (f"part-{part}-of-5.json", f"part-{part}-of-5.jsonl")
    ]
    manifests = [json.loads((made / f"part-{part}-of-5.json").read_text()) for part in range(1, 6)]
    assert [(one["first"], one["end"]) for one in manifests] == [(0, 7), (7, 14), (14, 22), (22, 29), (29, 37)]
    assert [one["images"] for one in manifests] == [7, 7, 8, 7, 8]
    assert {one["inputs"] for one in manifests} == {N}
    assert len({one["inputs_sha256"] for one in manifests}) == 1
    rows = [json.loads(line) for line in whole.with_suffix(".jsonl").read_text().splitlines()]
    answers = Counter("no face" if row["answer"] == "no face" else "face" if row["face"] else "error" for row in rows)
    assert sum(one["faces"] for one in manifests) == answers["face"] > 30
    assert [one["without"] for one in manifests] == [0, answers["no face"], 0, 0, 0] == [0, 1, 0, 0, 0]
    (unread,) = manifests[2]["unread"]
    assert Path(unread["path"]).name == BROKEN
    assert unread["error"] == next(row["error"] for row in rows if row["error"])
    done = call("predict", "--merge", made, "--out", tmp_path / "merged.csv", "--json").json
    assert (done["parts"], done["images"], done["n"], done["without"], done["failed"]) == (5, N, answers["face"], 1, 1)


def kill_after(photos: int, arguments: list[str]) -> None:
    """Be killed when so many photos of a part stand in its file."""
    import os

    from mien.prediction.output import Output

    add, seen = Output.add, [0]

    def counting(self: Output, rows: object, further: object = None) -> None:
        add(self, rows, further)  # type: ignore[arg-type]
        seen[0] += 1
        if seen[0] == photos:
            os.kill(os.getpid(), signal.SIGKILL)

    Output.add = counting  # type: ignore[method-assign, assignment]
    main(arguments)


def test_a_part_that_was_killed_goes_on(parts: Path, photos: Path, made: Path, tmp_path: Path) -> None:
    words = ["predict", str(photos), *ASKED, "--shard", "3/5", "--out", str(parts), "--resume"]
    part, manifest, partial = (parts / f"part-3-of-5.{ending}" for ending in ("jsonl", "json", "jsonl.partial"))
    part.unlink()
    # The unreadable one is the seventh of this part's eight.
    done = apart(tmp_path, kill_after, 7, words)
    assert done.code == -signal.SIGKILL
    assert (part.exists(), manifest.exists(), partial.exists()) == (False, False, True)
    assert len(partial.read_text().splitlines()) == 7
    refused = call("predict", "--merge", parts, "--out", tmp_path / "merged.csv")
    assert (refused.code, refused.err) == (
        2,
        f"mien: {parts}: 1 of 5 parts aren't whole: 3; expected it told again, by --shard 3/5\n",
    )
    # What couldn't be read is tried again last, and stands in its place nevertheless.
    told(*words[1:], code=1)
    assert part.read_bytes() == (made / part.name).read_bytes()
    assert manifest.read_bytes() == (made / manifest.name).read_bytes()
    assert not partial.exists()


def missing(parts: Path) -> str:
    (parts / "part-2-of-5.json").unlink()
    (parts / "part-5-of-5.json").unlink()
    return f"{parts}: 2 of 5 parts aren't whole: 2, 5; expected it told again, by --shard 2/5"


def without_answers(parts: Path) -> str:
    (parts / "part-2-of-5.jsonl").unlink()
    return f"{parts}/part-2-of-5.jsonl: the answers of this part are missing; expected it told again, by --shard 2/5"


def double(parts: Path) -> str:
    shutil.copy(parts / "part-2-of-5.json", parts / "part-3-of-5.json")
    return f"{parts}/part-3-of-5.json: this is part 2/5, as part-2-of-5.json is; expected each once"


def renamed(parts: Path) -> str:
    for ending in ("json", "jsonl"):
        (parts / f"part-5-of-5.{ending}").rename(parts / f"part-6-of-5.{ending}")
    return f"{parts}/part-6-of-5.json: this says that it is part 5/5; expected as its name says"


def damaged(parts: Path) -> str:
    file = parts / "part-4-of-5.jsonl"
    file.write_bytes(file.read_bytes().replace(b"happy", b"angry", 1))
    return f"{file}: this part has changed: its SHA-256 is another; expected it told again, by --shard 4/5"


def cut(parts: Path) -> str:
    file = parts / "part-4-of-5.json"
    file.write_bytes(file.read_bytes()[:-20])
    return f"{file}: the manifest of a part can't be read"


def changed(key: str, value: object, words: str) -> Callable[[Path], str]:
    def change(parts: Path) -> str:
        file = parts / "part-4-of-5.json"
        content = json.loads(file.read_text())
        where = content if key in content else content["about"] if key in content["about"] else content["asked"]
        where[key] = value
        file.write_text(json.dumps(content))
        return f"{file}: {words}"

    change.__name__ = f"another_{key}"
    return change


def nothing(parts: Path) -> str:
    shutil.rmtree(parts)
    parts.mkdir()
    return f"{parts}: there is no whole part here; expected a folder that --shard wrote into"


@pytest.mark.parametrize(
    "break_it",
    [
        missing,
        without_answers,
        double,
        renamed,
        damaged,
        cut,
        nothing,
        changed("of", 6, "this is a part of 6; expected parts of 5 alone"),
        changed(
            "inputs_sha256",
            "0" * 64,
            "this part is of another list of inputs (37 of them); expected parts of one list (37 inputs), in a folder",
        ),
        changed("model", "mien-m 0123", "this part was told by another model, mien-m 0123; expected mien-s "),
        changed("largest", True, "this part was told with largest True; expected largest False, as the others"),
        changed("first", 21, "this says that it is part 4/5; expected as its name says"),
    ],
    ids=lambda one: one.__name__,
)
def test_what_does_not_go_together_is_refused(parts: Path, tmp_path: Path, break_it: Callable[[Path], str]) -> None:
    expected = break_it(parts)
    done = call("predict", "--merge", parts, "--out", tmp_path / "merged.csv")
    assert done.code in (1, 2)
    assert done.err.startswith(f"mien: {expected}")
    assert done.err.count("\n") == 1
    assert list(tmp_path.glob("merged*")) == []


def test_parts_of_something_else_are_refused_before_any_work(parts: Path, photos: Path) -> None:
    before = {path.name: path.read_bytes() for path in parts.iterdir()}
    for words, message in (
        ((photos, *ASKED, "--shard", "2/6"), "this is a part of 5; expected parts of 6 alone"),
        ((photos / "00.png", *ASKED, "--shard", "2/5"), "this part is of another list of inputs (37 of them); "),
        ((photos, *ASKED[:2], "--shard", "2/5"), "this part was told by another model, mien-s "),
        ((photos, *ASKED, "--largest", "--shard", "2/5"), "this part was told with largest False; "),
    ):
        error = told(*words, "--out", parts, code=2)
        assert f"{parts}/part-1-of-5.json: {message}" in error
    assert {path.name: path.read_bytes() for path in parts.iterdir()} == before


def test_more_parts_than_photos(photos: Path, tmp_path: Path) -> None:
    for part in (1, 2, 3):
        told(photos / "00.png", photos / "01.png", *ASKED, "--shard", f"{part}/3", "--out", tmp_path / "parts")
    told(photos / "00.png", photos / "01.png", *ASKED, "--out", tmp_path / "whole.csv")
    told("--merge", tmp_path / "parts", "--out", tmp_path / "merged.csv")
    assert (tmp_path / "merged.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@given(st.integers(0, 500), st.integers(1, 40))
def test_every_photo_is_in_one_part(n: int, of: int) -> None:
    bounds = [Shard(part, of).bounds(n) for part in range(1, of + 1)]
    assert [place for first, end in bounds for place in range(first, end)] == list(range(n))
    sizes = [end - first for first, end in bounds]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/100001", "1", "a/b", "1/-2", "1/2/3", ""])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(MienError, match=r"--shard: '.*' is no shard; expected a part of up to 100,000, as 3/64"):
        parse_shard(text)


def test_options_that_exclude_each_other(photos: Path) -> None:
    assert "--shard: a part needs a place; expected --out FOLDER" in told(photos, "--shard", "1/2", code=2)
    assert "--merge: parts are put together as they are; expected --out FILE" in told("--merge", photos, code=2)
