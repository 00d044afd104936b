"""MobileNetV2 of width 1.0, under torchvision's parameter names.

Source: M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2. The strides are
the paper's, made for 224 px: an image of 48 px ends as a map of 2×2, one of 96 px as 3×3.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from mien.models.published import Published
from mien.registry import register

# Expansion, channels, blocks and the first block's stride of each row of the paper's table 2.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_FIRST, _LAST = 32, 1280


def _activated(inputs: int, outputs: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU6."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """1×1 to `expansion` times the channels, 3×3 on each channel alone, 1×1 without activation; added where it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.conv = nn.Sequential(
            *([_activated(inputs, inner, 1)] if expansion > 1 else []),
            _activated(inner, inner, 3, stride, groups=inner),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(n, outputs, h / stride, w / stride) for an input (n, inputs, h, w)."""
        inner: Tensor = self.conv(x)
        return x + inner if self.adds else inner


@register("model", "mobilenet_v2")
class MobileNetV2(nn.Module):
    """MobileNetV2 with torchvision's parameter names, shapes, start values and forward pass.

    `dropout` is the share of the 1280 last features that is zeroed in training. `pretrained` names a file of weights
    that a training starts from, see `mien.training.start_weights`; without it they are random. Images
    (n, in_channels, image_size, image_size) give logits (n, num_classes). Start values: convolutions by He's normal
    distribution (fan out), the last layer from a normal distribution of sd 0.01; batch norm 1 and 0; biases 0.

    >>> model = MobileNetV2(in_channels=3, image_size=48, num_classes=7)
    >>> sum(parameter.numel() for parameter in model.parameters())
    2232839
    """

    published: ClassVar[Published] = Published(stem="features.0.0", head="classifier.1")

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        *,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        self.pretrained = pretrained
        layers: list[nn.Module] = [_activated(in_channels, _FIRST, 3, stride=2)]
        before = _FIRST
        for expansion, channels, blocks, stride in _STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(before, channels, stride if block == 0 else 1, expansion))
                before = channels
        self.features = nn.Sequential(*layers, _activated(before, _LAST, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(_LAST, num_classes))

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, in_channels, h, w)."""
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))
        return logits
