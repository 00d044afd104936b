"""The experiments of the 2021 report and the numbers that it claims; they stand nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from mien.errors import unknown

REPORT = "paper-2021"
# A step is trained for what another part starts from, and isn't measured on its own.
Kind = Literal["cnn", "googlenet", "pretraining", "points", "step"]

# The report's tables 1 and 3, and the accuracy of its tables 4 to 6. How it averages F1 over classes it doesn't say.
CLAIMED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "cnn1": {"accuracy": 0.80, "f1": 0.80, "balanced_accuracy": 0.78},
        "cnn2": {"accuracy": 0.83, "f1": 0.83, "balanced_accuracy": 0.81},
        "cnn3": {"accuracy": 0.77, "f1": 0.77, "balanced_accuracy": 0.76},
        "cnn4": {"accuracy": 0.80, "f1": 0.80},
        "googlenet": {"accuracy": 0.87},
        "googlenet-face": {"accuracy": 0.89},
        "googlenet-mouth": {"accuracy": 0.89},
    }
)
# Its tables 4 to 6: precision, recall and F1 of each class, their mean, and their mean weighted by rows.
MEANS = ("macro", "weighted")
BY_CLASS = ("precision", "recall", "f1")
CLAIMED_BY_CLASS: Mapping[str, Mapping[str, tuple[float, float, float]]] = MappingProxyType(
    {
        "googlenet": {
            "angry": (0.87, 0.83, 0.85),
            "disgust": (0.90, 0.77, 0.83),
            "fear": (0.84, 0.82, 0.83),
            "happy": (0.91, 0.96, 0.93),
            "sad": (0.81, 0.84, 0.83),
            "surprise": (0.92, 0.91, 0.91),
            "neutral": (0.88, 0.85, 0.86),
            "macro": (0.88, 0.85, 0.86),
            "weighted": (0.87, 0.87, 0.87),
        },
        "googlenet-face": {
            "angry": (0.86, 0.86, 0.86),
            "disgust": (0.93, 0.84, 0.88),
            "fear": (0.90, 0.84, 0.87),
            "happy": (0.93, 0.95, 0.94),
            "sad": (0.84, 0.89, 0.86),
            "surprise": (0.93, 0.92, 0.92),
            "neutral": (0.88, 0.87, 0.88),
            "macro": (0.90, 0.88, 0.89),
            "weighted": (0.898, 0.897, 0.897),
        },
        "googlenet-mouth": {
            "angry": (0.89, 0.86, 0.88),
            "disgust": (0.86, 0.88, 0.87),
            "fear": (0.89, 0.82, 0.86),
            "happy": (0.93, 0.96, 0.94),
            "sad": (0.87, 0.86, 0.87),
            "surprise": (0.90, 0.94, 0.92),
            "neutral": (0.86, 0.90, 0.88),
            "macro": (0.89, 0.89, 0.89),
            "weighted": (0.899, 0.899, 0.899),
        },
    }
)
# Its table 2: the outputs of the fully connected layers; what goes into the first it prints as 34² × 20 for all.
PRINTED_LAYERS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"cnn1": (120, 250, 7), "cnn2": (250, 120, 120, 120, 7), "cnn3": (250, 120, 120, 120, 50, 50, 7)}
)
PRINTED_INPUT = (34, 20)
# Accuracy on PrivateTest alone of the predictions that the report's authors stored themselves.
STORED = MappingProxyType({"cnn1": 0.482, "cnn2": 0.497, "cnn3": 0.480, "googlenet": 0.535})
SOURCE = "a university report of 2021; the numbers claimed are those of its tables"
# Its "validation" rows were all that weren't PublicTest: of these it had trained on so many.
VALIDATION, TRAINED_ON = 32_298, 28_709


@dataclass(frozen=True)
class Part:
    """One experiment of the reproduction: `name` is its file's and its runs' name.

    `claim` is its key in CLAIMED, "" for what the report doesn't have; `seeds` are trained unless told otherwise.
    `optional` parts need weights that can't be had everywhere.
    """

    name: str
    title: str
    kind: Kind
    images: str = "full image"
    claim: str = ""
    seeds: int = 1
    optional: bool = False


def _cnn(number: int) -> Part:
    return Part(f"cnn{number}", f"CNN {number}", "cnn", claim=f"cnn{number}", seeds=3)


def _googlenet(name: str, title: str, images: str, optional: bool = False) -> Part:
    claim = {"full image": "googlenet", "face": "googlenet-face", "mouth": "googlenet-mouth"}[images]
    return Part(name, f"GoogLeNet on {title}", "googlenet", images, claim, optional=optional)


def _mobilenet(start: str, size: int) -> Part:
    weights = {"scratch": "random weights", "imagenet": "ImageNet's weights"}[start]
    return Part(f"mobilenet-{start}-{size}", f"MobileNetV2 at {size} px from {weights}", "pretraining")


PARTS = (
    *map(_cnn, range(1, 5)),
    _googlenet("googlenet", "full images", "full image"),
    _googlenet("googlenet-long", "full images, long", "full image"),
    _googlenet("googlenet-imagenet", "full images, from ImageNet's weights", "full image", optional=True),
    _googlenet("googlenet-face", "faces", "face"),
    _googlenet("googlenet-face-long", "faces, long", "face"),
    _googlenet("googlenet-mouth", "mouths", "mouth"),
    _googlenet("googlenet-mouth-long", "mouths, long", "mouth"),
    _mobilenet("scratch", 48),
    _mobilenet("imagenet", 48),
    _mobilenet("scratch", 96),
    _mobilenet("imagenet", 96),
    Part("xception", "Xception-like net for 68 points", "points"),
    Part("xception-drawn", "Xception-like net, step 1: drawn faces", "step"),
    Part("xception-youtube", "Xception-like net, step 2: YouTube frames", "step"),
    Part("xception-64", "Xception-like net, step 3: HELEN at 64 px", "step"),
    Part("xception-full", "Xception-like net, trained until it is good", "points"),
)

# Whose inside the report shows, and by which explanations.
EXPLAINED, SHOWN = "cnn1", ("activations", "filters", "regions")

# How each data set comes into a workspace.
DATA = MappingProxyType(
    {
        "fer2013": "mien data import fer2013.csv --as fer2013",
        "fer2013-face": "mien data crop fer2013 --region face --as fer2013-face",
        "fer2013-mouth": "mien data crop fer2013 --region mouth --as fer2013-mouth",
        "helen": "mien data import helen_68pt.parquet --as helen",
        "drawn": "mien data synth --as drawn --n 12000 --size 96",
        "youtube": "mien data import youtube_68pt.parquet --as youtube",
    }
)
# Data sets that the command cuts by itself: what of, and which region.
CUTS = MappingProxyType({"fer2013-face": ("fer2013", "face"), "fer2013-mouth": ("fer2013", "mouth")})


def part_named(name: str) -> Part:
    """The part of that name; an unknown one is an error with the nearest.

    >>> part_named("cnn4").title
    'CNN 4'
    """
    names = [part.name for part in PARTS]
    if name not in names:
        raise unknown(f"no part of {REPORT} is called '{name}'", name, names, key="--only")
    return PARTS[names.index(name)]


def experiment_file(part: Part) -> Path | None:
    """The experiment file of a part: of the clone that this mien runs from, else of the folder that it stands in."""
    package = Path(__file__).parent
    for folder in (package.parent.parent / "experiments" / REPORT, package / REPORT, Path("experiments") / REPORT):
        file = folder / f"{part.name}.yaml"
        if file.is_file():
            return file
    return None
