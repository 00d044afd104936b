"""Parts of bulk work without anyone who hands them out: each says what it is, and together they are one call's file."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from skimage.data import astronaut

from mien.errors import MienError
from mien.images import encode_png
from mien.inference.model import SHIPPED
from mien.inference.rows import columns, error_row
from mien.prediction.bulk import MANIFEST, Bulk, Target, begin, bulk_of, finish, parts_of, tell
from mien.prediction.output import ROWS, Output
from mien.prediction.places import Place, place_of
from mien.prediction.recipe import Opened, Packed, Recipe, pack, unpack
from mien.prediction.sources import Photos, Source, find_sources
from mien.workspace import Workspace

RECIPE = Recipe(model="mien-s", detector="cascade")
NOWHERE = Workspace(Path("/nonexistent/home"))


@pytest.fixture(scope="module")
def opened() -> Opened:
    # As a worker does.
    cv2.setNumThreads(1)
    return RECIPE.open(NOWHERE, 1)


@pytest.fixture
def photos(tmp_path: Path) -> list[Source]:
    """Two faces, nothing, and no picture."""
    portrait = astronaut()[:260, 100:350]
    (tmp_path / "photos").mkdir()
    for name, pixels in (("a", portrait), ("b", np.full((60, 60, 3), 90, np.uint8)), ("c", portrait[:, ::-1])):
        (tmp_path / f"photos/{name}.png").write_bytes(encode_png(np.ascontiguousarray(pixels)))
    (tmp_path / "photos/d.png").write_text("no picture")
    return find_sources([str(tmp_path / "photos")])


def bulk(folder: Path, sources: list[Source], parts: list[Source], opened: Opened) -> Bulk:
    names = columns(opened.predictor.names)
    return bulk_of(place_of(str(folder)), sources, parts, opened.about, RECIPE.marks(opened), names)


def test_a_part_says_what_it_is_and_is_not_told_twice(tmp_path: Path, photos: list[Source], opened: Opened) -> None:
    made = bulk(tmp_path / "told", photos, photos, opened)
    told = tell(made, 1, photos[0], opened.predictor)
    assert told.counts == {"images": 4, "n": 2, "without": 1, "uncertain": 0, "failed": 1}
    file = tmp_path / "told/part-1-of-1.parquet"
    assert told.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    own = json.loads(pq.read_schema(file).metadata[b"mien"])
    assert (own["part"], own["of"], own["inputs"], own["asked"]["largest"]) == (1, 1, 4, False)
    assert own["about"]["model"] == opened.predictor.title
    (tmp_path / "photos/d.png").write_bytes((tmp_path / "photos/a.png").read_bytes())
    # What was told stays, also if its photo is gone.
    (tmp_path / "photos/a.png").unlink()
    again = tell(made, 1, photos[0], opened.predictor)
    assert again.counts == {"images": 4, "n": 3, "without": 1, "uncertain": 0, "failed": 0}
    before = file.stat().st_mtime_ns
    assert tell(made, 1, photos[0], opened.predictor) == again
    assert file.stat().st_mtime_ns == before


def test_a_part_of_something_else_is_refused(tmp_path: Path, photos: list[Source], opened: Opened) -> None:
    made = bulk(tmp_path / "told", photos, photos, opened)
    tell(made, 1, photos[0], opened.predictor)
    file = tmp_path / "told/part-1-of-1.parquet"
    place = place_of(str(file))
    for other, message in (
        (
            replace(made, asked={**made.asked, "largest": True}),
            "this part was told with largest False; expected largest True",
        ),
        (replace(made, inputs=5), "this part is of another list of inputs (4 of them); expected parts of one list (5 "),
        (replace(made, about={**made.about, "model": "m 1"}), "this part was told by another model, mien-s "),
    ):
        for work in (lambda: tell(other, 1, photos[0], opened.predictor), lambda: begin(other, place)):  # noqa: B023
            with pytest.raises(MienError) as error:
                work()
            assert str(error.value).startswith(f"{file}: {message}")


def test_a_part_that_is_cut_is_told_again(tmp_path: Path, photos: list[Source], opened: Opened) -> None:
    made = bulk(tmp_path / "told", photos, photos, opened)
    told = tell(made, 1, photos[0], opened.predictor)
    file = tmp_path / "told/part-1-of-1.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-30])
    assert tell(made, 1, photos[0], opened.predictor) == told
    assert file.read_bytes() == content


@pytest.mark.parametrize("n", [ROWS - 1, 2 * ROWS, 2 * ROWS + 1])
def test_the_file_is_that_of_one_call(tmp_path: Path, opened: Opened, n: int) -> None:
    names = [str(tmp_path / f"{number}.png") for number in range(n)]
    source = Photos(tuple((name, Place("", name)) for name in names))
    parts: list[Source] = list(source.split(1000))
    target = Target(place_of(str(tmp_path / "told.parquet")))
    assert target.check(resume=False) is None
    made = bulk(Path(target.folder.path), [source], parts, opened)
    begin(made, None)
    told = [tell(made, number, part, opened.predictor) for number, part in enumerate(parts, start=1)]
    with pytest.raises(MienError, match=f"{len(parts) - 1} of {len(parts)} parts were told"):
        finish(made, target, told[1:])
    assert not (tmp_path / "told.parquet").exists()
    assert finish(made, target, told[::-1]) == {"images": n, "n": 0, "without": 0, "uncertain": 0, "failed": n}
    with Output(tmp_path / "one.parquet", made.columns, opened.about) as output:
        for name in names:
            output.add([error_row(name, MienError("there is no such image"))])
    assert (tmp_path / "told.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "told.parquet"]


def test_a_folder_is_whole_with_its_manifest(tmp_path: Path, photos: list[Source], opened: Opened) -> None:
    target = Target(place_of(str(tmp_path / "told")))
    parts = [part for source in photos for part in source.split(3)]
    made = bulk(tmp_path / "told", photos, parts, opened)
    told = [tell(made, number, part, opened.predictor) for number, part in enumerate(parts, start=1)]
    finish(made, target, told)
    manifest = json.loads((tmp_path / "told" / MANIFEST).read_text())
    assert [(part["file"], part["images"], part["failed"]) for part in manifest["parts"]] == [
        ("part-1-of-2.parquet", 3, 0),
        ("part-2-of-2.parquet", 1, 1),
    ]
    assert (manifest["images"], manifest["n"], manifest["failed"]) == (4, 2, 1)
    first = target.check(resume=True)
    assert first is not None
    begin(made, first)
    assert not (tmp_path / "told" / MANIFEST).exists()


@pytest.mark.parametrize(("n", "sizes"), [(1, {1}), (100, {16, 4}), (4096 * 16, {16}), (4096 * 20, {20})])
def test_parts_depend_on_the_list_alone(n: int, sizes: set[int]) -> None:
    source = Photos(tuple((str(number), Place("", str(number))) for number in range(n)))
    assert {len(part) for part in parts_of([source])} == sizes


def test_a_model_that_is_a_file_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(SHIPPED["mien-s"].read_bytes())
    monkeypatch.chdir(tmp_path)
    recipe = replace(RECIPE, model="mine.onnx", classes=("happy", "sad"))
    here = recipe.open(NOWHERE, 1)
    packed = pack(recipe, here, NOWHERE)
    mine.unlink()
    there = unpack(packed)
    assert (there.title, there.names) == (here.predictor.title, ("happy", "sad"))
    assert there.title.startswith("mine ")
    other = Packed(packed.recipe, {"mine.onnx": SHIPPED["mien-m"].read_bytes()}, packed.home, packed.comes_to)
    with pytest.raises(MienError) as error:
        unpack(other)
    assert str(error.value).startswith("a worker has another model, mine ")
    assert str(error.value).endswith(f"; expected {here.predictor.title}, as here")
