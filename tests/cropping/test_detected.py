"""Data sets cut as photos are for a model: the same pixels, points that move along, whole images where no face is."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from verbs import call

from mien.data.dataset import POINTS_COLUMN, open_dataset, write_dataset
from mien.data.labels import FER2013
from mien.data.synthetic import faces
from mien.faces.detector import open_detector
from mien.faces.framing import framed
from mien.images import decode, encode_png
from mien.workspace import Workspace


def test_rows_are_cut_as_predict_cuts_photos(workspace: Workspace) -> None:
    columns = {POINTS_COLUMN: pa.list_(pa.float32(), 136)}
    scenes = []
    with write_dataset(workspace, "scenes", FER2013, source="drawn", format="test", columns=columns) as writer:
        for number, (image, label, points) in enumerate(faces(3, size=192, color="rgb")):
            scene = np.full((400, 500, 3), 140, np.uint8)
            if number < 2:
                scene[100:292, 200:392] = image
            moved = (points + np.array([200, 100])).astype(np.float32)
            writer.add(
                "train", str(number), encode_png(scene), label, size=(500, 400), **{POINTS_COLUMN: moved.ravel()}
            )
            scenes.append((scene, moved))
    done = call(
        "data", "crop", "scenes", "--region", "detected", "--as", "cut", "--json", "--workspace", workspace.root
    )
    assert done.code == 0, done.err
    assert done.json["splits"] == {"train": {"detected": 2, "whole_image": 1}}
    assert "OpenCV's cascade looks for the faces" in done.err
    cut = open_dataset(workspace, "cut")
    rows = cut.table("train", ["id", "box", "score", "source", POINTS_COLUMN]).to_pylist()
    assert [row["source"] for row in rows] == ["detected", "detected", "whole_image"]
    detector = open_detector("cascade")
    for row, data, (scene, points) in zip(rows, cut.images("train"), scenes, strict=True):
        inside = np.array(row[POINTS_COLUMN]).reshape(68, 2)
        if row["source"] == "detected":
            (face,) = detector.faces(scene)
            assert np.array_equal(decode(data, "rgb"), framed(scene, face, 48))
            # A face is as far about the middle as its points are.
            assert np.abs(inside.mean(axis=0) - (24, 30)).max() < 8
        else:
            assert row["box"] == [0, 0, 500, 400]
            np.testing.assert_allclose(inside, (points + 0.5) * [48 / 500, 48 / 400] - 0.5, atol=1e-3)


def test_without_a_detector_nothing_is_cut(workspace: Workspace, tiny: object, tmp_path: Path) -> None:
    done = call(
        *("data", "crop", "tiny", "--region", "detected", "--as", "cut", "--detector", "none"),
        *("--workspace", workspace.root),
    )
    assert done.code == 2
    assert done.err == "mien: --detector none: nothing finds the faces; expected auto, yunet or cascade\n"
    assert not (workspace.datasets / "cut").exists()
