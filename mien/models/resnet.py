"""A residual network for small images, with width and depth as parameters.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, with the stem of its
CIFAR version: 3×3, stride 1, no pooling, since images of 48 px have no pixels to spare.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mien.errors import MienError
from mien.registry import register


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm, added to their input, which a 1×1 convolution fits if need be."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Identity()
            if inputs == outputs and stride == 1
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, outputs, h / stride, w / stride) for an input (n, inputs, h, w)."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        outer: Tensor = self.relu2(inner + self.downsample(x))
        return outer


@register("model", "resnet")
class ResNet(nn.Module):
    """Stages of residual blocks; each stage after the first halves the image and doubles the width.

    `width` is the number of channels of the first stage, `blocks` the number of blocks in each stage, `dropout` the
    share of the last features that is zeroed in training. Images (n, in_channels, image_size, image_size) give
    logits (n, num_classes). Start values: convolutions by He's normal distribution (fan out); the last batch norm of
    every block 0, so that a block starts as the identity (P. Goyal et al., arXiv 1706.02677).

    >>> model = ResNet(in_channels=1, image_size=48, num_classes=7, width=36)
    >>> sum(parameter.numel() for parameter in model.parameters())
    3538051
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        *,
        width: Annotated[int, Field(ge=1)] = 32,
        blocks: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2, 2, 2, 2),
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        smallest = 2 ** (len(blocks) - 1)
        if image_size < smallest:
            raise MienError(
                f"images of {image_size} px are too small for a resnet of {len(blocks)} stages",
                key="model",
                expected=f"at least {smallest} px or fewer entries in blocks",
            )
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        stages = []
        before = width
        for stage, count in enumerate(blocks):
            after = width * 2**stage
            first = BasicBlock(before, after, stride=1 if stage == 0 else 2)
            stages.append(nn.Sequential(first, *(BasicBlock(after, after, stride=1) for _ in range(count - 1))))
            before = after
        self.stages = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(before, num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, in_channels, h, w)."""
        x = self.stages(self.relu(self.bn1(self.conv1(images))))
        logits: Tensor = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        return logits
