"""What an install with few packages does, and the one sentence for what it lacks."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from installs import PROJECT, absent, brought, distributions, mien, named, python
from PIL import Image
from skimage.data import astronaut

from mien.cli.export import models
from mien.cli.runs import runs
from mien.cli.shared import app, data
from mien.cli.sweep import sweep
from mien.errors import MienError
from mien.extras import PACKAGES, installed, is_installed, missing, require

BASE: tuple[str, ...] = ()
# What the issue of a light install forbids in it.
HEAVY = {"torch", "pyarrow", "scipy", "sklearn", "matplotlib"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with scikit-image's portrait, as a file and as what a stranger may have named so."""
    Image.fromarray(astronaut()).save(tmp_path / "portrait.png")
    return tmp_path


def told(what: str, package: str, extra: str) -> str:
    return f"{what} needs {package}, which isn't installed; expected pip install 'mien[{extra}]'"


def test_what_the_base_lacks() -> None:
    assert set(absent()) >= HEAVY
    assert not {"numpy", "cv2", "onnxruntime", "PIL", "typer", "rich", "pydantic", "mien"} & set(absent())
    assert {"torch", "pytorch_lightning", "kornia", "captum"} <= set(absent("data"))
    assert not HEAVY - {"torch"} & set(absent("data"))
    assert not set(PACKAGES) & set(absent("dev"))


def test_extras_bring_what_is_said_of_them() -> None:
    for package, (_, extra) in PACKAGES.items():
        assert distributions(package) & brought(extra), package
        assert not distributions(package) & brought(), package
    known = {name for package in PACKAGES for name in distributions(package)}
    for extra in PROJECT["optional-dependencies"].keys() - {"dev"}:
        assert set(named(extra)) - set(named()) - known <= {"ipykernel"}, extra


def test_require_names_the_first_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    require("nothing")
    require("looking", "numpy", "json")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not is_installed("torch")
    with pytest.raises(MienError) as error:
        require("training", "numpy", "torch", "captum")
    assert str(error.value) == told("training", "PyTorch", "train")
    assert error.value.expected == "pip install 'mien[train]'"
    assert "train" not in installed()
    assert "data" in installed()


def test_an_import_that_fails_is_told_only_where_its_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing(ModuleNotFoundError(name="nosuchthing")) is None
    assert missing(ImportError("no name")) is None
    lacking = ModuleNotFoundError(name="sklearn.metrics")
    assert missing(lacking) is None  # It is there, so a traceback helps more.
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert str(missing(lacking)) == told("this", "scikit-learn", "data")


# Verbs that the base has, each with a command line that works.
WORKS = {
    "predict": ["predict", "portrait.png", "--json", "--detector", "cascade"],
    "landmarks": ["landmarks", "portrait.png", "--json", "--detector", "cascade"],
    "models": ["models", "--json"],
    "models fetch": ["models", "fetch", "--help"],
    "doctor": ["doctor", "--json"],
}
# The others, with what is told of them; the command lines are valid, though what they name isn't there.
TOLD = {
    "demo": (["demo"], told("the demo", "PyTorch", "train")),
    "check": (["check", "a.yaml"], told("checking an experiment", "PyTorch", "train")),
    "schema": (["schema"], told("the schema of experiment files", "PyTorch", "train")),
    "train": (["train", "a.yaml"], told("training", "PyTorch", "train")),
    "evaluate": (["evaluate", "a"], told("measuring a model", "PyTorch", "train")),
    "report": (["report", "a"], told("a report", "pyarrow", "data")),
    "runs": (["runs"], told("a list of runs", "scipy", "data")),
    "runs remove": (["runs", "remove", "a/1"], told("removing runs", "pyarrow", "data")),
    "compare": (["compare", "a", "b"], told("comparing runs", "pyarrow", "data")),
    "explain": (["explain", "a"], told("explaining a run", "PyTorch", "train")),
    "slices": (["slices", "a", "--by", "class"], told("measuring by parts", "pyarrow", "data")),
    "suspects": (["suspects", "a"], told("a list of likely label errors", "pyarrow", "data")),
    "reproduce": (["reproduce", "paper-2021"], told("reproducing a report", "PyTorch", "train")),
    "export": (["export", "a"], told("exporting a run", "PyTorch", "train")),
    "sweep run": (["sweep", "a.yaml"], told("a sweep", "PyTorch", "train")),
    "sweep status": (["sweep", "status", "a"], told("a sweep", "PyTorch", "train")),
    "sweep best": (["sweep", "best", "a"], told("a sweep", "PyTorch", "train")),
    "sweep report": (["sweep", "report", "a"], told("a sweep", "PyTorch", "train")),
    "serve": (["serve"], told("a server", "FastAPI", "serve")),
    "data import": (["data", "import", "a.csv", "--as", "a"], told("importing a data set", "pyarrow", "data")),
    "data synth": (["data", "synth", "--as", "a"], told("drawing a data set", "pyarrow", "data")),
    "data list": (["data", "list"], told("a list of data sets", "pyarrow", "data")),
    "data remove": (["data", "remove", "a"], told("removing a data set", "pyarrow", "data")),
    "data show": (["data", "show", "a"], told("looking at a data set", "pyarrow", "data")),
    "data audit": (["data", "audit", "a"], told("auditing a data set", "pyarrow", "data")),
    "data crop": (
        ["data", "crop", "a", "--region", "mouth", "--as", "b"],
        told("cutting a data set", "pyarrow", "data"),
    ),
}


def test_every_verb_is_tried() -> None:
    groups = {"": app, "data ": data, "models ": models, "runs ": runs, "sweep ": sweep}
    verbs = {
        prefix + str(one.name or getattr(one.callback, "__name__", ""))
        for prefix, group in groups.items()
        for one in group.registered_commands
    }
    assert verbs | {"models", "runs"} == WORKS.keys() | TOLD.keys()


@pytest.mark.parametrize("extras", [BASE, ("data",)])
def test_a_verb_that_needs_more_says_so_in_one_sentence(extras: tuple[str, ...], tmp_path: Path) -> None:
    told_here = {verb: of for verb, of in TOLD.items() if not extras or "[train]" in of[1]}
    done = mien(extras, [arguments for arguments, _ in told_here.values()], tmp_path)
    found = dict(zip(told_here, done, strict=True))
    assert found == {verb: (2, "", f"mien: {sentence}\n") for verb, (_, sentence) in told_here.items()}
    assert list(tmp_path.iterdir()) == []


def test_help_is_there_without_extras(tmp_path: Path) -> None:
    commands = [["--help"], *([*verb.split(), "--help"] for verb in (*WORKS, *TOLD))]
    for arguments, done in zip(commands, mien(BASE, commands, tmp_path), strict=True):
        assert (done.code, done.err) == (0, ""), arguments
        assert ("Example" in done.out) == (len(arguments) > 1)


def test_the_base_tells_a_portrait(folder: Path) -> None:
    (done,) = mien(BASE, [[*WORKS["predict"], "--points"]], folder)
    assert done.code == 0, done.err
    (face,) = done.json["faces"]
    assert (face["answer"], face["error"]) == ("happy", None)
    assert face["probabilities"]["happy"] > 0.8
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    # Its eyes were marked by eye; see tests/landmarks/test_packaged.py.
    eyes = np.array(face["points"])[36:48].reshape(2, 6, 2).mean(axis=1)
    assert np.abs(eyes - [(203, 101), (246, 103)]).max() < 4


def test_the_base_writes_answers_but_parquet(folder: Path) -> None:
    files = [f"faces{ending}" for ending in (".csv", ".json", ".jsonl", ".parquet")]
    found = mien(BASE, [[*WORKS["predict"], "--out", file, "--draw", f"{file}-drawn"] for file in files], folder)
    for file, done in zip(files[:3], found, strict=False):
        assert done.code == 0, done.err
        assert "happy" in (folder / file).read_text(encoding="utf-8")
        assert (folder / f"{file}-drawn" / "portrait.png.png").is_file()
    assert (found[3].code, found[3].err) == (2, f"mien: {told('a Parquet file', 'pyarrow', 'data')}\n")
    assert list(folder.glob("*.parquet*")) == []  # It is said before any work.


def test_the_base_finds_points(folder: Path) -> None:
    kinds = ("csv", "json", "pts")
    for kind, done in zip(
        kinds, mien(BASE, [[*WORKS["landmarks"], "--format", of] for of in kinds], folder), strict=True
    ):
        assert done.code == 0, (kind, done.err)
        (image,) = done.json["images"]
        assert len(image["faces"]) == 1


def test_the_base_lists_its_models_and_what_it_lacks(folder: Path) -> None:
    (folder / "runs").mkdir()
    models, machine = mien(BASE, [WORKS["models"], WORKS["doctor"]], folder)
    assert (models.code, machine.code) == (0, 0), (models.err, machine.err)
    assert [one["name"] for one in models.json["models"]] == [
        "mien-m",
        "mien-m-int8",
        "mien-s",
        "mien-s-int8",
        "landmarks-small",
    ]
    found = machine.json
    assert found["extras"] == []
    assert "device" not in found
    lacking = {"name": "data sets and runs", "problem": told("looking through them", "pyarrow", "data")}
    assert found["broken"] == [lacking]


def test_a_model_of_pytorch_is_told_by_pytorch_alone(folder: Path) -> None:
    run = folder / "runs" / "mine" / "1"
    run.mkdir(parents=True)
    (run / "experiment.yaml").write_text("task: expression\n")
    for path in (run / "weights.safetensors", folder / "some.safetensors"):
        path.write_bytes(b"")
    sentence = told("a run or a file of weights, unlike ONNX,", "PyTorch", "train")
    for done in mien(BASE, [[*WORKS["predict"], "--model", name] for name in ("some.safetensors", "mine")], folder):
        assert (done.code, done.err) == (2, f"mien: {sentence}\n")


API = {
    "mien.train('a.yaml')": told("training", "PyTorch", "train"),
    "mien.resume(mien.Run(Path('a')))": told("training", "PyTorch", "train"),
    "mien.evaluate(mien.Run(Path('a')))": told("measuring a model", "PyTorch", "train"),
    "mien.explain(mien.Run(Path('a')))": told("explaining a run", "PyTorch", "train"),
    "mien.compare('a', 'b')": told("comparing runs", "pyarrow", "data"),
    "mien.draw_dataset('a')": told("drawing a data set", "pyarrow", "data"),
    "mien.import_dataset('a.csv', 'a')": told("importing a data set", "pyarrow", "data"),
    "mien.open_workspace().datasets": told("a list of data sets", "pyarrow", "data"),
    "mien.Run(Path('a')).predictions()": told("a table of predictions", "pandas", "notebook"),
    "faces.to_pandas()": told("a table of faces", "pandas", "notebook"),
}


def test_python_says_the_same_sentences(folder: Path) -> None:
    code = f"""
import json
import sys
from pathlib import Path
import mien
faces = mien.load("mien-m", threads=1).predict("portrait.png", detector="cascade")
said = [faces[0].answer, len(mien.open_workspace().runs)]
for call in {list(API)}:
    try:
        eval(call)
    except mien.MienError as error:
        said.append(str(error))
print(json.dumps(said))
"""
    assert json.loads(python(BASE, code, folder)) == ["happy", 0, *API.values()]
