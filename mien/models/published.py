"""How weights that others have trained and published fit a model here."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """What a model class says, as its attribute `published`, of files of weights for its `pretrained` to name.

    `stem` is the convolution that sees the image, `head` the last layer, whose tensors aren't taken, since they tell
    other classes; `unused` are parts of the published network that the model does without. All three are names as in
    the model's state. `addresses` are files that stand in public, by the name that an experiment gives them; a file's
    name ends with the first digits of its SHA-256, as in `googlenet-1378be20.pth`. `mean` and `sd` are what the op
    `normalize` takes to make of an image what the weights were trained on.
    """

    stem: str
    head: str
    unused: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    mean: float | tuple[float, ...] = 0.5
    sd: float | tuple[float, ...] = 0.5
