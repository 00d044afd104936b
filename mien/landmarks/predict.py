"""A landmark model in use: the 68 points of images that a face fills, by the packaged weights or by a run's."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mien import environment
from mien.augment import Gray
from mien.errors import MienError
from mien.faces.ibug import POINTS
from mien.images import Pixels
from mien.inference.weights import Trained, load_packaged, load_weights
from mien.runs.run import find_run
from mien.tasks import LANDMARKS, require
from mien.workspace import Workspace

# What mien ships; its licence and card stand beside it.
PACKAGED = Path(__file__).parent / "packaged" / "landmarks-small.safetensors"


@dataclass(frozen=True)
class Landmarker:
    """A landmark model: how it is called, the SHA-256 of its weights, what its use is bound to, and its net."""

    name: str
    digest: str
    limits: str
    trained: Trained
    device: str = "cpu"

    def points(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """The points, float32 (n, 68, 2), pixel centres from 0, of images, uint8 (h, w, 1 or 3), that a face fills.

        Images may have any sizes; one that isn't square is stretched to a square for the net.
        """
        found = np.empty((len(images), POINTS, 2), np.float32)
        shapes = [image.shape for image in images]
        for shape in dict.fromkeys(shapes):
            here = [place for place, one in enumerate(shapes) if one == shape]
            stacked = torch.from_numpy(np.stack([images[place] for place in here])).permute(0, 3, 1, 2)
            gray, _ = Gray()(stacked.to(self.device, torch.float32))
            shares = self.trained.shares(gray).cpu().numpy().reshape(-1, POINTS, 2)
            found[here] = (shares + 0.5) * [shape[1], shape[0]] - 0.5
        return found


def open_landmarker(workspace: Workspace, reference: str | None = None) -> Landmarker:
    """The landmark model that a reference of a run means, or without one the one that mien ships.

    Raises MienError for a run that isn't there, isn't finished, or is on expressions.
    """
    device = environment.device("auto")
    if reference is None:
        if not PACKAGED.is_file():
            raise MienError(
                "this mien was installed without its landmark model",
                file=str(PACKAGED),
                expected="a landmark run of the workspace, by name",
            )
        return _landmarker(PACKAGED.stem, PACKAGED, load_packaged(PACKAGED, device), device)
    run = find_run(workspace, reference)
    require(run.experiment.task, LANDMARKS, run.name, str(run.folder))
    return _landmarker(run.name, run.weights, load_weights(run.weights, run.experiment, device), device)


def _landmarker(name: str, weights: Path, trained: Trained, device: str) -> Landmarker:
    return Landmarker(name, hashlib.sha256(weights.read_bytes()).hexdigest(), trained.limits, trained, device)
