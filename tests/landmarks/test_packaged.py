"""The landmark model that mien ships: its terms and card, its points on drawn faces, photos and HELEN."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, read_json
from PIL import Image
from skimage.data import astronaut
from verbs import call

from mien.data.dataset import open_dataset
from mien.data.framing import stored_points
from mien.data.importers import import_dataset
from mien.data.synthetic.dataset import write_faces
from mien.faces.ibug import POINTS
from mien.faces.squares import cut, detector_squares, into
from mien.images import decode
from mien.inference import Model, load
from mien.inference.model import file_header
from mien.inference.onnx_files import OnnxBackend
from mien.landmarks.predict import PACKAGED, open_landmarker
from mien.metrics.nme import image_errors
from mien.workspace import Workspace

WEIGHTS = PACKAGED.with_suffix(".safetensors")
TERMS = "trained on research-only annotations"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_landmarker(Workspace(tmp_path_factory.mktemp("empty")))


def test_its_card_and_terms_are_its_own(model: Model) -> None:
    files = [file.read_bytes() for file in (PACKAGED, WEIGHTS)]
    assert max(map(len, files)) <= 6_000_000
    assert (model.name, model.limits) == ("landmarks-small", TERMS)
    card = (PACKAGED.parent / "README.md").read_text(encoding="utf-8")
    for data in files:
        assert f"{len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}" in card
    assert TERMS[1:] in card
    terms = (PACKAGED.parent / "LICENSE.txt").read_text(encoding="utf-8")
    assert "not under mien's MIT licence" in terms
    assert TERMS in " ".join(terms.split())


def test_the_file_in_use_is_made_of_the_weights_beside_it(model: Model) -> None:
    about = file_header(PACKAGED)
    assert about is not None
    assert about["weights_sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    face = np.ascontiguousarray(astronaut()[40:220, 130:310])
    (found,), (expected,) = (one.points([face]) for one in (model, load(WEIGHTS)))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert isinstance(model.backend, OnnxBackend)


def test_its_card_has_the_published_numbers() -> None:
    published = read_json((REPOSITORY / "results" / "landmarks-small" / "metrics.json").read_text(encoding="utf-8"))
    card = (PACKAGED.parent / "README.md").read_text(encoding="utf-8")
    for size in ("128", "48"):
        (told,) = re.findall(rf"^\| {size} px \| ([\d.]+) \[", card, flags=re.M)
        assert told == f"{100 * published['sizes'][size]['nme_outer_eyes']:.2f}"


def test_its_points_on_drawn_faces(model: Model, workspace: Workspace) -> None:
    """Drawings are no photos and were never fit on, so this is only to notice weights that are broken."""
    drawn = write_faces(workspace, "drawn", n=60, size=48, color="gray", seed=3)
    images = [decode(data, "gray") for split in drawn.card.splits for data in drawn.images(split)]
    true = np.concatenate([stored_points(drawn, split) for split in drawn.card.splits])
    errors = image_errors(model.points(images), true)
    assert len(errors) == 60
    assert np.median(errors) < 0.15


def test_a_portrait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scikit-image's portrait, whose eyes and mouth were marked by eye; its outer eye corners are 62 px apart."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut()).save("portrait.png")
    done = call("landmarks", "portrait.png", "--json", "--workspace", tmp_path)
    found = read_json(done.out)
    assert done.code == 0
    assert found["limits"] == TERMS
    (face,) = found["images"][0]["faces"]
    points = np.array(face["points"]).reshape(POINTS, 2)
    for part, placed in ((slice(36, 42), (203, 101)), (slice(42, 48), (246, 103)), (slice(48, 60), (223, 145))):
        assert np.linalg.norm(points[part].mean(axis=0) - placed) < 4


def test_regions_of_drawn_faces_without_naming_a_model(workspace: Workspace) -> None:
    write_faces(workspace, "drawn", n=40, size=48, color="gray", seed=3)
    done = call("data", "crop", "drawn", "--region", "mouth", "--as", "lips", "--json", "--workspace", workspace.root)
    assert done.code == 0
    made = read_json(done.out)
    assert made["n"] == 40
    assert made["source"]["landmarks"] + made["source"]["mean_shape"] == 40
    assert TERMS in " ".join(open_dataset(workspace, "lips").card.notes)


def test_its_points_on_helen(model: Model, workspace: Workspace, real_data: Path) -> None:
    """Each fourth face of helen_test at 48 px, gray: as good as the published run, to what a fourth can tell."""
    helen = import_dataset(workspace, real_data / "landmarks" / "helen_68pt.parquet", "helen")
    true = stored_points(helen, "helen_test")
    squares = detector_squares(true, helen.ids("helen_test"))
    images = [
        cut(decode(data, "gray"), square, 48) for data, square in zip(helen.images("helen_test"), squares, strict=True)
    ]
    errors = image_errors(model.points(images[::4]), into(true, squares, 48)[::4])
    assert len(errors) == 83
    assert errors.mean() < 0.065
