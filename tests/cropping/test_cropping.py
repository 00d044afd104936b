"""Data sets cut by region: rows, columns, pixels, what is kept, and what an interrupted command leaves."""

import json
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from verbs import call

from mien.audit import found_flags
from mien.cropping import crop_dataset, cut_images
from mien.data.dataset import list_datasets, open_dataset, write_dataset
from mien.data.labels import FER2013
from mien.data.people import group_column
from mien.data.synthetic import faces
from mien.data.synthetic.dataset import write_faces
from mien.errors import MienError
from mien.faces.ibug import MIRROR
from mien.faces.regions import EYES_AT, MEAN_SHAPE, REGIONS, region_boxes
from mien.images import decode, encode_png
from mien.landmarks.stored_points import predict_points
from mien.protocols.named import official
from mien.protocols.roles import masks, without


@dataclass
class Known:
    """A model that knows the faces it is shown: their exact points, by the image's pixels."""

    answers: dict
    name: str = "known"
    digest: str = "0123456789abcdef" * 4
    limits: str = ""
    seen: list = field(default_factory=list)
    stop_after: int = 10**9

    def points(self, images):
        if len(self.seen) + len(images) > self.stop_after:
            raise KeyboardInterrupt
        self.seen.extend(images)
        return np.array([self.answers[image.shape[:2], image[:, :, 0].tobytes()] for image in images], np.float32)


def known(dataset, **changes):
    """Such a model for a data set with points, which are right but where `changes` are told by id."""
    answers = {}
    for split in dataset.card.splits:
        points = dataset.table(split, ["landmarks"])["landmarks"].to_pylist()
        for id_, data, flat in zip(dataset.ids(split), dataset.images(split), points, strict=True):
            image = decode(data, "gray")
            own = changes.get(f"row{id_}", np.array(flat, np.float32).reshape(68, 2))
            mirrored = own[list(MIRROR)].copy()
            mirrored[:, 0] = image.shape[1] - 1 - mirrored[:, 0]
            answers[image.shape[:2], image.tobytes()] = own
            answers[image.shape[:2], np.ascontiguousarray(image[:, ::-1]).tobytes()] = mirrored
    return Known(answers)


@pytest.fixture
def drawn(workspace):
    return write_faces(workspace, "drawn", n=30, size=48, color="gray", seed=0)


def test_what_binds_a_set_and_how_it_was_split_holds_on_when_it_is_cut(workspace):
    details = {
        "terms": "for research",
        "landmarks": {"terms": "research only"},
        "made_splits": {"seed": 0, "groups": ["box"]},
        "drawn": {"n": 2},
    }
    columns = {"landmarks": pa.list_(pa.float32(), 136), "box": pa.string()}
    with write_dataset(workspace, "own", FER2013, source="", format="t", columns=columns, details=details) as writer:
        for number, (image, label, points) in enumerate(faces(2, size=48, color="gray")):
            extra = {"landmarks": points.ravel().astype(np.float32), "box": f"s{number}"}
            writer.add("train", str(number), encode_png(image), label, size=(48, 48), **extra)
    cut = crop_dataset(workspace, "own", "mouth", "cut", "stored")
    crop = cut.card.details["crop"]
    lasting = {key: details[key] for key in ("terms", "landmarks", "made_splits")}
    assert cut.card.details == {**lasting, "group": "parent_box", "crop": crop}
    assert group_column(cut.card) == "parent_box"


def rows(dataset, *columns):
    return [row for split in dataset.card.splits for row in dataset.table(split, list(columns)).to_pylist()]


@pytest.mark.parametrize("region", REGIONS)
def test_every_region_of_drawn_faces_by_their_exact_points(workspace, drawn, region):
    made = crop_dataset(workspace, "drawn", region, "cut", "stored")
    assert made.card.splits == drawn.card.splits
    assert made.card.image_sizes == {"48×48": 30}
    assert rows(made, "id", "label") == rows(drawn, "id", "label")
    true = np.array([row["landmarks"] for row in rows(drawn, "landmarks")]).reshape(-1, 68, 2)
    sizes = np.full((30, 2), 48)
    of = rows(made, "box", "source_landmarks", "landmarks", "quality", "source")
    boxes = region_boxes(true, sizes, REGIONS[region])
    if region == "no-mouth":
        assert [row["filled"] for row in rows(made, "filled")] == boxes.tolist()
        boxes = np.tile([0, 0, 48, 48], (30, 1))
    assert [row["box"] for row in of] == boxes.tolist()
    assert np.allclose([row["source_landmarks"] for row in of], true.reshape(30, -1))
    assert {(row["quality"], row["source"]) for row in of} == {(1.0, "landmarks")}
    inside = np.array([row["landmarks"] for row in of]).reshape(-1, 68, 2)
    if region == "aligned":
        assert np.allclose(inside[:, 36:42].mean(axis=1), np.array(EYES_AT[0]) * 48 - 0.5, atol=1e-4)
        assert np.allclose(inside[:, 42:48].mean(axis=1), np.array(EYES_AT[1]) * 48 - 0.5, atol=1e-4)
    else:
        corner, side = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        assert np.allclose((inside + 0.5) / 48, (true + 0.5 - corner) / side, atol=1e-5)
    images = [decode(data, "gray") for split in made.card.splits for data in made.images(split)]
    originals = [decode(data, "gray") for split in drawn.card.splits for data in drawn.images(split)]
    for image, original, box in zip(images, originals, boxes.tolist(), strict=True):
        if REGIONS[region].how == "cut":
            part = Image.fromarray(original[:, :, 0]).crop(box).resize((48, 48), Image.Resampling.BILINEAR)
            assert np.array_equal(image[:, :, 0], np.asarray(part))


def test_no_mouth_is_the_image_with_the_mean_of_the_rest_in_the_box(workspace, drawn):
    made = crop_dataset(workspace, "drawn", "no-mouth", "cut", "stored")
    for split in made.card.splits:
        filled = made.table(split, ["filled"])["filled"].to_pylist()
        for image, original, box in zip(made.images(split), drawn.images(split), filled, strict=True):
            new, old = decode(image, "gray"), decode(original, "gray")
            inside = np.zeros((48, 48), bool)
            inside[box[1] : box[3], box[0] : box[2]] = True
            assert np.array_equal(new[~inside], old[~inside])
            assert set(new[inside].ravel().tolist()) == {round(float(old[~inside].mean()))}


def test_aligned_turns_a_color_face_of_any_size_without_steps():
    (image, _, points) = next(faces(1, size=300, color="rgb", seed=5))
    region = REGIONS["aligned"]
    large = cut_images([image], points[None], None, region, 0, 200).images[0].astype(float)
    small = cut_images([image], points[None], None, region, 0, 20).images[0].astype(float)
    assert small.shape == (20, 20, 3)
    assert np.abs(small - large.reshape(20, 10, 20, 10, 3).mean(axis=(1, 3))).mean() < 2


def test_a_set_with_votes_paths_colors_and_a_column_of_the_same_name_keeps_them(workspace):
    columns = {"votes": pa.list_(pa.int16(), 10), "source": pa.string(), "landmarks": pa.list_(pa.float32(), 136)}
    with write_dataset(workspace, "photos", FER2013, source="", format="test", columns=columns) as writer:
        for index, (image, label, points) in enumerate(faces(4, size=60, color="rgb", seed=1)):
            pixels = image if index % 2 else image[:, :, :1].repeat(3, axis=2)
            writer.add(
                "train",
                f"r{index}",
                encode_png(pixels),
                label,
                size=(60, 60),
                path=f"a/{index}.jpg",
                votes=[index] * 10,
                source=f"film {index}",
                landmarks=points.ravel().tolist(),
            )
    made = crop_dataset(workspace, "photos", "face", "cut", "stored", size=32, margin=0.1)
    assert [row["votes"] for row in rows(made, "votes")] == [[index] * 10 for index in range(4)]
    assert [row["parent_source"] for row in rows(made, "parent_source")] == [f"film {index}" for index in range(4)]
    assert [row["image"]["path"] for row in rows(made, "image")] == [f"a/{index}.png" for index in range(4)]
    assert [row["source"] for row in rows(made, "source")] == ["landmarks"] * 4
    with_color = [bool((image != image[:, :, :1]).any()) for image in (decode(d, "rgb") for d in made.images("train"))]
    assert with_color == [False, True, False, True]
    assert made.card.details["crop"]["margin"] == 0.1
    again = crop_dataset(workspace, "cut", "mouth", "again", "stored")
    assert {"box", "parent_box", "parent_source", "parent_parent_source"} <= set(again.card.columns)
    assert [row["parent_box"] for row in rows(again, "parent_box")] == [row["box"] for row in rows(made, "box")]


def test_points_that_fail_fall_back_and_the_card_says_how_many(workspace, drawn):
    upside = np.array(drawn.table("train", ["landmarks"])["landmarks"].to_pylist()[3], np.float32).reshape(68, 2)
    model = known(drawn, row3=47 - upside)
    model.limits = "trained on research-only annotations"
    made = crop_dataset(workspace, "drawn", "mouth", "cut", model)
    of = {row["id"]: row for row in rows(made, "id", "source", "quality", "box", "source_landmarks")}
    assert [id_ for id_, row in of.items() if row["source"] == "mean_shape"] == ["3"]
    mouth = MEAN_SHAPE[48:] * 48
    assert of["3"]["box"] == [*np.floor(mouth.min(axis=0)).tolist(), *np.ceil(mouth.max(axis=0)).tolist()]
    assert np.allclose(of["3"]["source_landmarks"], (47 - upside).ravel())
    assert of["3"]["quality"] < 0.5
    assert of["4"]["quality"] > 0.99
    assert made.card.details["crop"] == {
        "region": "mouth",
        "margin": 0.0,
        "size": 48,
        "landmarks": {"name": "known", "digest": model.digest, "limits": model.limits},
        "source": {
            "train": {"landmarks": 23, "mean_shape": 1},
            "validation": {"landmarks": 3, "mean_shape": 0},
            "test": {"landmarks": 3, "mean_shape": 0},
        },
    }
    assert made.card.notes == (
        "mouth of 'drawn' by the points of known; by the mean shape, where those failed the checks: "
        "train 1 of 24 (4.2 %), validation 0 of 3 (0.0 %), test 0 of 3 (0.0 %)",
        "the points are by known, trained on research-only annotations",
    )
    # Neither set needs an audit for that.
    flags = found_flags(made, ["fallback"])
    assert [id_ for id_, of in zip(flags["id"].to_pylist(), flags["fallback"].to_pylist(), strict=True) if of] == ["3"]
    kept, dropped = without(made, official(made), ["fallback"])
    assert sum(int(rows.sum()) for rows in masks(made, kept.fit).values()) == 23
    assert dropped["fit"]["fallback"] == 1
    with pytest.raises(MienError) as wrong:
        found_flags(drawn, ["fallback"])
    assert wrong.value.message == "data set 'drawn' isn't cut, so nothing is known of 'fallback'"


def test_twice_gives_the_same_bytes_and_predicts_once(workspace, drawn):
    model = known(drawn)
    first = crop_dataset(workspace, "drawn", "eyes", "one", model)
    assert len(model.seen) == 60
    second = crop_dataset(workspace, "drawn", "eyes", "two", model)
    crop_dataset(workspace, "drawn", "mouth", "three", model)
    assert len(model.seen) == 60
    assert [shard.sha256 for shard in first.card.shards] == [shard.sha256 for shard in second.card.shards]


def test_a_stopped_command_goes_on_where_it_was(workspace, drawn, monkeypatch):
    monkeypatch.setattr("mien.landmarks.stored_points._PART", 10)
    whole = known(drawn)
    crop_dataset(workspace, "drawn", "face", "whole", whole)
    other = write_faces(workspace, "other", n=30, size=48, color="gray", seed=0)
    stopped = known(other)
    stopped.digest, stopped.stop_after = "f" * 64, 50
    with pytest.raises(KeyboardInterrupt):
        crop_dataset(workspace, "other", "face", "cut", stopped)
    assert list_datasets(workspace) == ["drawn", "other", "whole"]
    assert len(stopped.seen) == 48
    folder = other.folder / "cache"
    parts = sorted(path.name for path in folder.glob("points-*/*"))
    assert parts == ["train-00000.npz", "train-00001.npz", "train-00002.npz"]
    # A part that was damaged is made anew, and only that.
    next(folder.glob("points-*/train-00001.npz")).write_bytes(b"PK")
    stopped.stop_after, stopped.seen = 10**9, []
    made = crop_dataset(workspace, "other", "face", "cut", stopped)
    assert len(stopped.seen) == 20 + 12
    shards = open_dataset(workspace, "whole").card.shards
    assert [shard.sha256 for shard in made.card.shards] == [shard.sha256 for shard in shards]


def test_an_image_that_does_not_decode_is_named(workspace):
    with write_dataset(workspace, "broken", FER2013, source="", format="test") as writer:
        writer.add("train", "a7", b"no image", 0, size=(48, 48))
    with pytest.raises(MienError, match=r"row 'a7' of train: this is no image of a known format"):
        predict_points(open_dataset(workspace, "broken"), Known({}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("drawn", "mouht", "cut"), "--region: no region is called 'mouht'"),
        (("drawn", "mouth", "drawn"), "there is a data set 'drawn' already"),
        (("drawn", "mouth", "cut", "--size", 4), "--size: 4 pixels a side; expected 8 to 1024"),
        (
            ("drawn", "mouth", "cut", "--margin", -1),
            "--margin: a margin of -1; expected 0 to 10, as a share of the box",
        ),
        (("drawn", "mouth", "cut", "--margin", "nan"), "--margin: a margin of nan"),
        (("tiny", "mouth", "cut"), "--landmarks: data set 'tiny' has no points of its own"),
    ],
)
def test_mistakes_leave_nothing_behind(workspace, drawn, tiny, arguments, message):
    name, region, new, *more = arguments
    done = call(
        *("data", "crop", name, "--region", region, "--as", new, "--landmarks", "stored", "--workspace"),
        *(workspace.root, *more),
    )
    assert done.code == 2
    assert message in done.err
    assert sorted(path.name for path in workspace.datasets.iterdir()) == ["drawn", "tiny"]


def test_the_verb_tells_shares_and_makes_sheets(workspace, drawn):
    options = ("--landmarks", "stored", "--workspace", workspace.root)
    done = call("data", "crop", "drawn", "--region", "face", "--as", "cut", "--json", *options)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["dataset"] == "cut"
    assert result["n"] == 30
    assert result["source"] == {"landmarks": 30, "mean_shape": 0}
    assert result["splits"]["train"] == {"landmarks": 24, "mean_shape": 0}
    folder = workspace.datasets / "cut" / "sheets"
    assert result["sheets"] == [str(folder / "random.png"), str(folder / "lowest-quality.png")]
    for sheet in result["sheets"]:
        with Image.open(sheet) as image:
            assert image.width > 8 * 292
    shown = call("data", "crop", "drawn", "--region", "aligned", "--as", "cut2", *options)
    assert shown.code == 0, shown.err
    assert "cut2: aligned of drawn, 48 × 48 pixels, margin 0" in shown.out
    assert "0 of 30 (0.0 %)" in shown.out
