"""Start weights: what a training begins with in place of random weights, and the record of what it began with.

`model: {name: googlenet, pretrained: imagenet}`, or a file in place of `imagenet`: `.safetensors`, or `.pth` as
`torch.save` writes a state. Files are read as tensors alone, no code in them runs; their names and shapes must be the
model's. The last layer stays random, since it tells other classes.

`pretrained: runs/base/1` begins with the weights of a finished run, for any model; its last layer is taken where it
tells the same classes.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mien.augment import Normalize
from mien.data.dataset import open_dataset
from mien.data.labels import LabelScheme
from mien.downloads import download
from mien.errors import MienError, nearest
from mien.experiment.building import build_model, build_pipeline
from mien.experiment.schema import Experiment
from mien.inference.weights import read_header
from mien.models.layers import last_layer
from mien.models.published import Published
from mien.runs.run import Run, list_runs
from mien.workspace import Workspace

KEY = "model.pretrained"
RANDOM: dict[str, Any] = {"name": "random"}

_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.\w+")
_NAMED = 3  # tensors that an error names


@dataclass(frozen=True)
class Source:
    """Where start weights are: `path` is None as long as they have yet to be downloaded from `address`.

    `name` is what the experiment calls them, `address` is None for a file of the user's own, `digest` the first digits
    of their SHA-256, "" where nothing promises any. `run` is the run that they are of.
    """

    name: str
    path: Path | None
    address: str | None
    digest: str
    run: Run | None = None


def find(experiment: Experiment, workspace: Workspace) -> Source | None:
    """Where the start weights of an experiment are, None for random ones; reads and downloads nothing.

    A name is looked for in torch hub's cache (`$TORCH_HOME/hub/checkpoints`), a file and a run from the workspace on.
    Raises MienError for a file that isn't there, a run that isn't finished and a model that takes no others' weights.
    """
    given = getattr(experiment.model, "pretrained", None)
    if given is None:
        return None
    own = getattr(experiment.model.entry.build, "published", None)
    run = None if isinstance(own, Published) and given in own.addresses else _run(given, workspace)
    if run is not None:
        return Source(given, run.weights, None, "", run)
    addresses = _published(experiment).addresses
    if given in addresses:
        name = _file(addresses[given])
        cached = _cache() / name
        return Source(given, cached if cached.is_file() else None, addresses[given], _promised(name))
    path = workspace.root / Path(given).expanduser()
    if not path.is_file():
        known = "".join(f"{name}, or " for name in addresses)
        raise MienError(
            f"there is no file '{path}' with start weights",
            key=KEY,
            expected=f"{known}a .safetensors or .pth file or a run, by its path from the workspace",
            nearest=nearest(given, addresses),
        )
    # A published file keeps its promise wherever it stands.
    published = path.name in map(_file, addresses.values())
    return Source(given, path, None, _promised(path.name) if published else "")


def fetch(source: Source) -> tuple[Path, str]:
    """The file of start weights, downloaded if need be, and its SHA-256.

    Raises MienError for a file that isn't what its name promises, FailedError where the download fails.
    """
    path = source.path
    if path is None:
        assert source.address is not None
        path = _cache() / _file(source.address)
        download(source.address, path, _promised(path.name), "start weights")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(source.digest):
        raise MienError(
            f"'{path}' isn't what its name promises: its SHA-256 begins with {digest[: len(source.digest)]}",
            key=KEY,
            expected=f"{source.digest}; remove the file and get it anew",
        )
    return path, digest


def start(model: nn.Module, experiment: Experiment, names: LabelScheme, workspace: Workspace) -> dict[str, Any]:
    """Put the start weights of an experiment into its model; the record says which they are, as plain data.

    `names` are the classes that the model is to tell.

    `name` is "random", or the experiment's word for published weights, or the file's name; then also `file`, `sha256`,
    `source` (the address, or the path as it was given) and `input`: the `mean` and `sd` for the op `normalize` that
    they were trained with, and whether `preprocess` comes to the same (`used`). Of a run it says more: see
    `_start_from`. Raises MienError where weights and model don't fit.
    """
    source = find(experiment, workspace)
    if source is None:
        return dict(RANDOM)
    path, digest = fetch(source)
    if source.run is not None:
        return {"sha256": digest, **_start_from(source.run, source.name, model, experiment, names, workspace)}
    published = _published(experiment)
    try:
        model.load_state_dict(fitted(model, published, read_tensors(path)))
    except MienError as error:
        raise MienError(f"'{path}' {error.message}", key=KEY, expected=error.expected) from error
    return {
        "name": source.name if source.address else path.name,
        "file": path.name,
        "sha256": digest,
        "source": source.address or source.name,
        "input": {"mean": published.mean, "sd": published.sd, "used": as_published(experiment, published)},
    }


def check(experiment: Experiment, names: LabelScheme, workspace: Workspace) -> dict[str, Any]:
    """What `start` would do, on a model that is thrown away: for errors before there is a run."""
    if find(experiment, workspace) is None:
        return dict(RANDOM)
    return start(build_model(experiment, names), experiment, names, workspace)


def _run(given: str, workspace: Workspace) -> Run | None:
    """The finished run of a path, None for a path of something else."""
    folder = workspace.root / Path(given).expanduser()
    if folder.name == "weights.safetensors":
        folder = folder.parent
    if not (folder / "experiment.yaml").is_file():
        if Path(given).parts[:1] == ("runs",) and not folder.exists():
            known = [f"runs/{one.name}" for one in list_runs(workspace)]
            raise MienError(f"there is no run '{folder}'", key=KEY, nearest=nearest(given, known))
        if not folder.is_dir():
            return None
        there = sorted(path.parent.name for path in folder.glob("*/experiment.yaml"))
        raise MienError(
            f"the folder '{folder}' is no run",
            key=KEY,
            expected=f"one of its runs, as {given.rstrip('/')}/{there[-1]}" if there else "a run, as runs/base/1",
        )
    run = Run(folder.resolve())
    if run.state != "finished":
        raise MienError(f"run {run.name} isn't finished, but {run.state}", key=KEY, expected="a finished run")
    return run


def _start_from(
    run: Run, given: str, model: nn.Module, experiment: Experiment, names: LabelScheme, workspace: Workspace
) -> dict[str, Any]:
    """Put a run's weights into a model; the record names the run and what it was trained on.

    `last_layer` is "taken" where it tells the same classes, or points as this one does, else "new"; the `optimizer` is
    always "new". `input.used`: whether images reach the model as they did there; `limits`: what the use of its weights
    is bound to. Raises MienError for a run that was fit under another protocol on the same rows: it has seen what the
    new one is measured by.
    """
    header, made = read_header(run.weights), run.environment["dataset"]
    protocol = experiment.protocol.model_dump(mode="json")
    if header.get("protocol") != protocol and _kin(made, experiment.dataset.name, workspace):
        raise MienError(
            f"run {run.name} was fit under the protocol {json.dumps(header.get('protocol'))}",
            key=KEY,
            expected=f"a run under {json.dumps(protocol)}, so that it has seen the same rows of "
            f"'{experiment.dataset.name}'",
        )
    task = experiment.task
    same = header["task"] == task.name and (not task.classes or header["classes"] == list(names.classes))
    try:
        model.load_state_dict(_placed(model, read_tensors(run.weights), () if same else (f"{last_layer(model)}.",)))
    except MienError as error:
        raise MienError(
            f"the weights file of run {run.name} {error.message}", key=KEY, expected=error.expected
        ) from error
    ready = [op.model_dump(mode="json") for op in experiment.preprocess]
    return {
        "name": run.name,
        "run": run.name,
        "file": run.weights.name,
        "source": given,
        "trained_on": {key: made[key] for key in ("name", "fingerprint")} | {"protocol": header.get("protocol")},
        "last_layer": "taken" if same else "new",
        "optimizer": "new",
        "limits": header.get("limits", ""),
        "input": {"used": (header["preprocess"], header["input"]["color"]) == (ready, experiment.dataset.color)},
    }


def _kin(trained_on: dict[str, Any], name: str, workspace: Workspace) -> bool:
    """Whether a run's data set and one of the workspace are the same, or cut or relabelled from the same."""
    origins = []
    for called in (trained_on["name"], name):
        try:
            card = open_dataset(workspace, called).card
        except MienError:
            origins.append({trained_on["fingerprint"]} if called == trained_on["name"] else set())
            continue
        origins.append({card.fingerprint, *([card.parent.fingerprint] if card.parent else [])})
    return trained_on["fingerprint"] in origins[1] or bool(origins[0] & origins[1])


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a state that `torch.save` wrote; no code in it runs.

    Raises MienError for a file that isn't whole, or holds anything else.
    """
    with path.open("rb") as file:
        try:
            content: Any = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(file, map_location="cpu", weights_only=True)
            )
        except Exception as error:  # Of a broken or hostile file torch raises errors of many kinds.
            raise MienError(_NO_STATE, expected=_EXPECTED) from error
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise MienError(_NO_STATE, expected=_EXPECTED)
    return dict(content)


_NO_STATE = "isn't a whole file of tensors and nothing else"
_EXPECTED = "a .safetensors file, or a .pth file of a model's state_dict; code in it isn't run"


def fitted(model: nn.Module, published: Published, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A model's state with published tensors in place of its own, but for the last layer.

    For gray images the stem's kernels are summed over red, green and blue: it gives what the three channels gave, each
    showing the same gray. Raises MienError that says what is missing, too many or of another shape.
    """
    own = dict(model.state_dict())
    stem, head = f"{published.stem}.weight", f"{published.head}."
    if stem not in own or not any(name.startswith(head) for name in own):
        raise MienError(f"can't be fitted: the model has no '{stem}' or no '{head}…', which its `published` names")
    left_out = (head, *(f"{part}." for part in published.unused))
    given = {name: tensor for name, tensor in tensors.items() if not name.startswith(left_out)}
    if stem in given and given[stem].ndim == 4 and own[stem].shape[1] == 1:
        given[stem] = given[stem].sum(dim=1, keepdim=True)
    return _placed(model, given, (head,))


def _placed(model: nn.Module, given: dict[str, Tensor], new: tuple[str, ...]) -> dict[str, Tensor]:
    """A model's state with the given tensors in place of its own, but for those whose names begin as in `new`."""
    own = dict(model.state_dict())
    given = {name: tensor for name, tensor in given.items() if not name.startswith(new)}
    # Batch norm has counted its batches since torch 0.4.1; the count has no effect where momentum is fixed.
    missing = [
        name
        for name in own
        if name not in given and not name.startswith(new) and not name.endswith(".num_batches_tracked")
    ]
    extra = [name for name in given if name not in own]
    other = [
        f"{name} {tuple(given[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    problems = [
        f"{len(found):,} {what} ({', '.join(found[:_NAMED])}{', …' if len(found) > _NAMED else ''})"
        for found, what in ((missing, "missing"), (extra, "too many"), (other, "of another shape"))
        if found
    ]
    if problems:
        raise MienError(f"doesn't fit the model; tensors: {', '.join(problems)}")
    return {**own, **given}


def as_published(experiment: Experiment, published: Published) -> bool:
    """Whether an experiment's `preprocess` hands plain surfaces to the model as the weights were trained on them."""
    section = experiment.dataset
    surfaces = torch.tensor([0.0, 51.0, 255.0]).view(-1, 1, 1, 1)
    channels = 1 if section.color == "gray" else 3
    ready, _ = build_pipeline(experiment.preprocess)(surfaces.expand(-1, channels, section.size, section.size))
    wanted, _ = Normalize(mean=published.mean, sd=published.sd)(surfaces.expand(-1, 3, 1, 1))
    if ready.shape[1] not in (1, 3):
        return False
    shown, meant = torch.broadcast_tensors(ready, wanted)
    return torch.allclose(shown, meant, atol=1e-4)


def _published(experiment: Experiment) -> Published:
    found = getattr(experiment.model.entry.build, "published", None)
    if not isinstance(found, Published):
        raise MienError(
            f"{experiment.model.entry} doesn't say how weights fit it",
            key=KEY,
            expected="a run, as runs/base/1, or a model with the attribute `published`",
        )
    return found


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _file(address: str) -> str:
    return address.rpartition("/")[2]


def _promised(name: str) -> str:
    """The first digits of the SHA-256 that a published file's name ends with."""
    found = _DIGEST.search(name)
    if found is None:
        raise MienError(f"the name '{name}' promises no SHA-256", expected="one as googlenet-1378be20.pth")
    return found[1]
