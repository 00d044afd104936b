"""How published weights, trained by others, fit a model here."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """The attribute `published` of a model class: which published weights its parameter `pretrained` may name.

    `stem` is the convolution that sees the image, `head` the last layer, whose tensors aren't loaded, since
    they are for other classes; `unused` are parts of the published network that the model lacks. All three are names of
    the model's state dict. `addresses` are public files by the name that an experiment gives them; a file's name ends
    with the first digits of its SHA-256, as in `googlenet-1378be20.pth`. `mean` and `sd` are the parameters of the op
    `normalize` that turn an image into what the weights were trained on.
    """

    stem: str
    head: str
    unused: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    mean: float | tuple[float, ...] = 0.5
    sd: float | tuple[float, ...] = 0.5
