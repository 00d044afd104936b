"""A residual network that is fast on few cores: its stem halves the image, and its blocks weigh their channels.

Sources: residual blocks as in `mien.models.resnet`; squeeze and excitation from J. Hu, L. Shen, G. Sun, CVPR 2018;
stochastic depth from G. Huang, Y. Sun, Z. Liu, D. Sedra, K. Weinberger, ECCV 2016, for each image by itself.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mien.errors import MienError
from mien.models.resnet import BasicBlock
from mien.registry import register


class Excitation(nn.Module):
    """Each channel times a weight from 0 to 1 that the means of all channels give, through a layer of `inner`."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, inner, 1)
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv2d(inner, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w), as the input."""
        weighed: Tensor = x * self.gate(self.fc2(self.relu(self.fc1(self.squeeze(x)))))
        return weighed


class DropPath(nn.Module):
    """Stochastic depth: in training each image is zeroed with probability `rate`, others divided by 1 − rate.

    >>> DropPath(0.5).eval()(torch.ones(2, 1, 1, 1)).flatten()
    tensor([1., 1.])
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w), as the input."""
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(len(x), 1, 1, 1).bernoulli_(1 - self.rate)
        return x * (kept / (1 - self.rate))


class CompactBlock(BasicBlock):
    """A residual block whose convolutions go through squeeze and excitation, and stochastic depth."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, se: float, drop_path: float) -> None:
        super().__init__(inputs, outputs, stride)
        self.se = Excitation(outputs, max(1, round(se * outputs))) if se else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(n, outputs, h / stride, w / stride) for an input (n, inputs, h, w)."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        outer: Tensor = self.relu2(self.drop_path(self.se(inner)) + self.downsample(x))
        return outer


@register("model", "compact")
class Compact(nn.Module):
    """A 5×5 stem of stride 2, then stages of residual blocks; each after the first halves the image, doubles the width.

    `width` is the number of channels of the stem and the first stage, `blocks` the number of blocks in each stage.
    `se` is the share of a block's channels that its squeeze and excitation has inside, 0 for none of that. `drop_path`
    is the share of images for which the last block is left out in training; of L blocks the l-th has the share
    drop_path · l / L. `dropout` is the share of the last features that is zeroed in training. Images
    (n, in_channels, image_size, image_size) give logits (n, num_classes). Start values are those of
    `mien.models.resnet`.

    >>> model = Compact(in_channels=1, image_size=48, num_classes=7)
    >>> sum(parameter.numel() for parameter in model.parameters())
    1652143
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        *,
        width: Annotated[int, Field(ge=1)] = 32,
        blocks: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 2, 2, 1),
        se: Annotated[float, Field(ge=0, le=1)] = 0.25,
        drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        smallest = 2 ** len(blocks)
        if image_size < smallest:
            raise MienError(
                f"images of {image_size} px are too small for a compact of {len(blocks)} stages",
                key="model",
                expected=f"at least {smallest} px or fewer entries in blocks",
            )
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 5, 2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        stages = []
        before, number = width, 0
        for stage, count in enumerate(blocks):
            row = []
            for block in range(count):
                number += 1
                after, stride = width * 2**stage, 2 if stage and block == 0 else 1
                row.append(CompactBlock(before, after, stride, se=se, drop_path=drop_path * number / sum(blocks)))
                before = after
            stages.append(nn.Sequential(*row))
        self.stages = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(before, num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, in_channels, h, w)."""
        x = self.stages(self.relu(self.bn1(self.conv1(images))))
        logits: Tensor = self.logits(self.dropout(torch.flatten(self.avgpool(x), 1)))
        return logits
