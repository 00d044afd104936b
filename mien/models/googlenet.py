"""GoogLeNet with batch norm and without auxiliary heads, under torchvision's parameter names.

Source: C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, with the changes of torchvision's version: batch
norm (eps 0.001) after every convolution, and 3×3 kernels where the paper has 5×5. Checkpoints of torchvision load
by `pretrained`, without the entries of `aux1` and `aux2`.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from mien.errors import MienError
from mien.models.published import Published
from mien.registry import register

SMALLEST = 15  # px; below, the last pooling has nothing left


class BasicConv2d(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The input's height and width, divided by the stride."""
        activations: Tensor = self.relu(self.bn(self.conv(x)))
        return activations


class Inception(nn.Module):
    """Four branches side by side, their channels joined: 1×1; 1×1 and 3×3; 1×1 and "5×5"; max-pool and 1×1."""

    def __init__(self, inputs: int, ones: int, three_in: int, three: int, five_in: int, five: int, pooled: int) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(inputs, ones, 1)
        self.branch2 = nn.Sequential(BasicConv2d(inputs, three_in, 1), BasicConv2d(three_in, three, 3, padding=1))
        self.branch3 = nn.Sequential(BasicConv2d(inputs, five_in, 1), BasicConv2d(five_in, five, 3, padding=1))
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), BasicConv2d(inputs, pooled, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, ones + three + five + pooled, h, w) for an input (n, inputs, h, w)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


@register("model", "googlenet")
class GoogLeNet(nn.Module):
    """GoogLeNet, 22 layers deep, with torchvision's parameter names, shapes, start values and forward pass.

    `dropout` is the share of the 1024 last features that is zeroed in training. `pretrained` names the weights that a
    training starts from, `imagenet` or a file, see `mien.training.start_weights`; without it they are random. Images
    (n, in_channels, image_size, image_size) give logits (n, num_classes); below 15 px is a MienError. Start values:
    weights of convolutions and of `fc` from a normal distribution (mean 0, sd 0.01) cut at −2 and 2; batch norm 1 and
    0; biases as torch has them.

    >>> model = GoogLeNet(in_channels=3, image_size=48, num_classes=7)
    >>> sum(parameter.numel() for parameter in model.parameters())
    5607079
    """

    # torchvision normalises by ImageNet's mean m and sd s, (x / 255 − m) / s, and its `transform_input` multiplies by
    # s / 0.5 and adds (m − 0.5) / 0.5. Together: (x / 255 − m) / 0.5 + (m − 0.5) / 0.5 = (x / 255 − 0.5) / 0.5.
    published: ClassVar[Published] = Published(
        stem="conv1.conv",
        head="fc",
        unused=("aux1", "aux2"),
        addresses={"imagenet": "https://download.pytorch.org/models/googlenet-1378be20.pth"},
        mean=0.5,
        sd=0.5,
    )

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        *,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        pretrained: str | None = None,
    ) -> None:
        if image_size < SMALLEST:
            raise MienError(
                f"images of {image_size} px are too small for googlenet",
                key="model",
                expected=f"at least {SMALLEST} px",
            )
        super().__init__()
        self.pretrained = pretrained
        self.conv1 = BasicConv2d(in_channels, 64, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)

        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)

        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)

        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)

        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, mean=0.0, std=0.01, a=-2, b=2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, in_channels, h, w)."""
        x = self.maxpool1(self.conv1(images))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.maxpool4(self.inception4e(self.inception4d(x)))
        x = self.avgpool(self.inception5b(self.inception5a(x)))
        logits: Tensor = self.fc(self.dropout(torch.flatten(x, 1)))
        return logits
