"""The verbs as functions."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mien.api.folders import Dataset, Run, Workspace
from mien.api.results import Comparison, Explanation, Figure, Metrics, Pair, Score
from mien.errors import MienError
from mien.extras import require
from mien.runs.epochs import Epoch
from mien.workspace import find_workspace

if TYPE_CHECKING:
    from mien.inference import Model
    from mien.runs import run as runs


def open_workspace(path: str | Path | None = None) -> Workspace:
    """The folder that holds data sets and runs.

    Parameters
    ----------
    path : path, optional
        Without it `MIEN_HOME`, else the folder that Python runs in.
    """
    return Workspace(find_workspace(None if path is None else Path(path)).root.resolve())


def draw_dataset(
    name: str,
    *,
    n: int = 4000,
    size: int = 48,
    color: Literal["gray", "rgb"] = "gray",
    seed: int = 0,
    workspace: Workspace | None = None,
) -> Dataset:
    """Draw faces with the seven expressions and their 68 points: a new data set, split 8 : 1 : 1.

    Parameters
    ----------
    name : str
        The new data set's name.
    n, size : int
        How many faces, of how many pixels a side.
    color : {"gray", "rgb"}
    seed : int
        The same seed draws the same faces.
    workspace : Workspace, optional
        Without it that of `open_workspace()`.
    """
    require("drawing a data set", "pyarrow")
    from mien.data.synthetic.dataset import write_faces

    home = workspace or open_workspace()
    return Dataset.of(write_faces(home.stored, name, n=n, size=size, color=color, seed=seed))


def import_dataset(
    source: str | Path,
    name: str,
    *,
    votes: str | Path | None = None,
    labels: str | None = None,
    skip_bad: bool = False,
    seed: int = 0,
    image_column: str | None = None,
    label_column: str | None = None,
    metadata: str | Path | None = None,
    group: str | None = None,
    columns: Mapping[str, str] | None = None,
    workspace: Workspace | None = None,
) -> Dataset:
    """Bring a data set into the workspace; its format is found by looking.

    Parameters
    ----------
    source : path
        A CSV, Parquet, a folder of images, .pts or dlib's XML.
    name : str
        The new data set's name.
    votes : path, optional
        FER+ votes (fer2013new.csv), joined by row.
    labels : str, optional
        What numbers mean, or what the classes are: a label scheme, or names as "a,b,c".
    skip_bad : bool
        Leave bad rows out and list them, instead of an error.
    seed : int
        For splits that have to be drawn.
    image_column, label_column : str, optional
        The columns of images, or of their paths, and of labels.
    metadata : path, optional
        A table with the labels of a folder's images.
    group : str, optional
        A column: rows that share its value, as a person, stay in one split where splits are drawn.
    columns : mapping, optional
        Columns from the names of files: patterns by name, as {"subject": "(S[0-9]+)_"}.
    workspace : Workspace, optional
        Without it that of `open_workspace()`.
    """
    require("importing a data set", "pyarrow")
    from mien.data.importers import import_dataset

    home, file = workspace or open_workspace(), None if votes is None else Path(votes)
    stored = import_dataset(
        home.stored,
        Path(source),
        name,
        votes=file,
        labels=labels,
        skip_bad=skip_bad,
        seed=seed,
        image_column=image_column,
        label_column=label_column,
        metadata=None if metadata is None else Path(metadata),
        group=group,
        columns=columns,
    )
    return Dataset.of(stored)


def train(
    file: str | Path,
    overrides: Sequence[str] = (),
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
    workspace: Workspace | None = None,
) -> Run:
    """Train an experiment as a new run and measure it on its choose role; the reporting role stays closed.

    Parameters
    ----------
    file : path
        The experiment's YAML.
    overrides : sequence of str
        `key=value` with dotted keys, as "train.epochs=5".
    on_epoch : callable, optional
        Called with an `Epoch` after each one. What it raises stops the training, with which `resume` goes on.
    workspace : Workspace, optional
        Without it that of `open_workspace()`.
    """
    require("training", "torch")
    from mien.workflow import new_runs, train_to_end

    if isinstance(overrides, str):
        raise MienError("overrides are a list", expected=json.dumps([overrides]))
    (run,) = new_runs((workspace or open_workspace()).stored, Path(file), overrides)
    called = _call("train", str(file), *([list(overrides)] if overrides else []))
    return Run(train_to_end(run, called, on_epoch=on_epoch).run.folder)


def resume(run: Run | str, *, epochs: int | None = None, on_epoch: Callable[[Epoch], None] | None = None) -> Run:
    """Go on with a run that was stopped; it ends with the same weights, bit for bit, as one that never was.

    Parameters
    ----------
    run : Run or str
        The run, or its name in `open_workspace()`.
    epochs : int, optional
        So many altogether, instead of the experiment's.
    on_epoch : callable, optional
        As in `train`.
    """
    require("training", "torch")
    from mien.workflow import train_to_end, unfinished

    given = [] if epochs is None else [f"train.epochs={epochs}"]
    (stored,), changes = unfinished(_stored(run).workspace, str(_stored(run).folder), given)
    called = _call("resume", stored.name)
    return Run(train_to_end(stored, called, on_epoch=on_epoch, **changes).run.folder)


def evaluate(
    run: Run | str, *, protocol: str | None = None, dataset: str | None = None, workspace: Workspace | None = None
) -> Metrics:
    """Measure a finished run on its reporting role and write its page; the ledger keeps who asked, and when.

    Parameters
    ----------
    run : Run or str
        The run or its name, a model that mien ships, or a file as `mien evaluate` takes it.
    protocol : str, optional
        The report rows of another protocol: its name, a YAML file, or its keys.
    dataset : str, optional
        Another data set, classes matched by name.
    workspace : Workspace, optional
        Where names are looked for; without it that of `open_workspace()`.
    """
    require("measuring a model", "torch")
    from mien.inference.named import named_model
    from mien.runs.model_file import ModelFile, is_model_file
    from mien.workflow import measure, measure_file

    home = workspace or open_workspace()
    if isinstance(run, str):
        run = named_model(home.stored, run)
        if is_model_file(run):
            called = _call("evaluate", Path(run).name)
            file = ModelFile(Path(run), home.stored)
            return Metrics.of(measure_file(file, called, protocol=protocol, dataset=dataset))
        run = home.runs[run]
    stored = run.stored
    return Metrics.of(measure(stored, _call("evaluate", stored.name), protocol=protocol, dataset=dataset).metrics)


def compare(*runs: Run | str, workspace: Workspace | None = None) -> Comparison:
    """Say which of two or more measured runs is better on the same rows, or that they can't be told apart.

    Parameters
    ----------
    *runs : Run or str
        Runs, or names; seeds of one experiment together are `name/1-5`. Of models that mien ships, and of files, what
        `evaluate` measured last.
    workspace : Workspace, optional
        Where names are looked for; without it that of `open_workspace()`.
    """
    require("comparing runs", "pyarrow")
    from mien.comparison import same_task
    from mien.inference.named import named_model
    from mien.runs.model_file import find_measured
    from mien.tasks import resolve

    home = (workspace or open_workspace()).stored
    references = [str(run.folder) if isinstance(run, Run) else named_model(home, run) for run in runs]
    task = same_task([run for reference in references for run in find_measured(home, reference)])
    content = resolve(task.compare)(home, references, []).result
    pairs = [
        Pair(
            difference=Score(pair["difference"], tuple(pair["interval"])),
            size=pair.get("size"),
            **{key: pair[key] for key in ("a", "b", "n", "p", "p_holm", "verdict")},
        )
        for pair in content["pairs"]
    ]
    return Comparison(tuple(pairs), tuple(content["notes"]), content)


def explain(
    run: Run | str,
    names: Sequence[str] = (),
    *,
    role: Literal["choose", "report"] = "choose",
    images: Sequence[str] = (),
) -> Explanation:
    """Show what a trained model looks at; the pictures go into the run's folder and its report, too.

    Parameters
    ----------
    run : Run or str
        The run, or its name in `open_workspace()`.
    names : sequence of str
        filters, activations, gradcam, occlusion, regions, neighbours, cases; without any those of the experiment's
        key `explain`, else all.
    role : {"choose", "report"}
        Whose rows; that report rows are looked at is written into the ledger.
    images : sequence of str
        Rows to look at one by one, by id or SPLIT/ID.
    """
    require("explaining a run", "torch")
    from mien.workflow import explain_run

    stored = _stored(run)
    made = explain_run(stored, list(names), _call("explain", stored.name, list(names)), role=role, images=images)
    figures = [Figure(file) for file in map(Path, made["pictures"]) if file.stem.partition("-")[0] in made["said"]]
    about = {key: made[key] for key in ("run", "role", "split", "n", "left_out")}
    return Explanation(**about, sentences=made["said"], figures=tuple(figures))


def load(reference: Run | str | Path, workspace: Workspace | None = None, *, threads: int | None = None) -> "Model":
    """A trained model in use, numpy in and numpy out.

    Parameters
    ----------
    reference : Run, str or path
        A run or its name, a file of weights, an ONNX file (someone else's with its YAML), or the name of a model that
        mien ships. ONNX takes no torch.
    workspace : Workspace, optional
        Where names are looked for; without it that of `open_workspace()`.
    threads : int, optional
        How many an ONNX file runs on; without it all cores.
    """
    from mien.inference import load

    place = reference.folder if isinstance(reference, Run) else reference
    return load(place, (workspace or open_workspace()).stored, threads=threads)


def _stored(run: Run | str) -> "runs.Run":
    return (run if isinstance(run, Run) else open_workspace().runs[run]).stored


def _call(function: str, *arguments: object) -> list[str]:
    """A call from Python as a run's record and the ledger keep it, in place of a command line."""
    return [f"mien.{function}({', '.join(json.dumps(one, ensure_ascii=False) for one in arguments)})"]
