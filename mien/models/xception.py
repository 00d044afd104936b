"""Xception: 36 convolutional layers, 34 of them depthwise separable, in 14 modules.

Source: F. Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, figure 5; where it is
silent (the first two convolutions aren't padded, poolings are), as Chollet's own version in Keras. The 1×1
convolutions of the shortcuts aren't counted among the 36.
"""

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mien.errors import MienError
from mien.registry import register

SMALLEST = 7  # px; below, the two convolutions without padding leave nothing


class Separable(nn.Module):
    """A 3×3 convolution of each channel by itself, a 1×1 convolution of them all, batch norm; h and w stay."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, outputs, h, w) for an input (n, inputs, h, w)."""
        mixed: Tensor = self.bn(self.pointwise(self.depthwise(x)))
        return mixed


class Residual(nn.Module):
    """Separable layers, each behind a ReLU, added to their input; with `halve` both are reduced to half the size.

    `channels` are those of the input and of each layer's output. The first ReLU is left out where the input comes
    from one. The shortcut is linear: the input itself, or a 1×1 convolution of stride 2 with batch norm.
    """

    def __init__(self, channels: tuple[int, ...], *, halve: bool, first_relu: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            if layers or first_relu:
                layers.append(nn.ReLU())
            layers.append(Separable(inputs, outputs))
        if halve:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(channels[0], channels[-1], 1, stride=2, bias=False), nn.BatchNorm2d(channels[-1]))
            if halve
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels[-1], h, w) for an input (n, channels[0], h, w); halved, h and w are rounded up."""
        added: Tensor = self.layers(x) + self.shortcut(x)
        return added


@register("model", "xception")
class Xception(nn.Module):
    """Chollet's Xception, with the first convolution for `in_channels` and `num_classes` outputs.

    `dropout` is the share of the 2048 last features that is zeroed in training (0.5 in the paper's ImageNet runs).
    Images (n, in_channels, image_size, image_size) give (n, num_classes): logits of classes, or coordinates of
    points; below 7 px is a MienError. Start values: plain and depthwise convolutions, which stand behind a ReLU, by
    He's normal distribution (fan in; K. He et al., ICCV 2015); 1×1 convolutions, which don't, and `fc` by Glorot's
    uniform one (X. Glorot, Y. Bengio, AISTATS 2010), which is Keras' for all; batch norm 1 and 0, `fc`'s bias 0.

    >>> model = Xception(in_channels=1, image_size=128, num_classes=136)
    >>> sum(parameter.numel() for parameter in model.parameters())
    21085040
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        *,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        if image_size < SMALLEST:
            raise MienError(
                f"images of {image_size} px are too small for xception", key="model", expected=f"at least {SMALLEST} px"
            )
        super().__init__()
        self.entry = nn.Sequential(
            nn.Sequential(
                *(nn.Conv2d(in_channels, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
                *(nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
            ),
            Residual((64, 128, 128), halve=True, first_relu=False),
            Residual((128, 256, 256), halve=True),
            Residual((256, 728, 728), halve=True),
        )
        self.middle = nn.Sequential(*(Residual((728, 728, 728, 728), halve=False) for _ in range(8)))
        self.exit = nn.Sequential(
            Residual((728, 728, 1024), halve=True),
            nn.Sequential(Separable(1024, 1536), nn.ReLU(), Separable(1536, 2048), nn.ReLU()),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs (n, num_classes) of images (n, in_channels, h, w)."""
        x = self.exit(self.middle(self.entry(images)))
        outputs: Tensor = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        return outputs
