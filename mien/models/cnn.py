"""The plain convolutional network of the 2021 report, with its sizes as parameters."""

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from mien.errors import MienError
from mien.registry import register

Sizes = tuple[Annotated[int, Field(ge=1)], ...]


@register("model", "cnn")
class CNN(nn.Module):
    """Convolutions without padding, each with ReLU and max-pool, then fully connected layers.

    `channels` names the convolutions' outputs, `fc` the hidden fully connected layers; `batch_norm` stands between a
    convolution and its ReLU; `dropout` is the share of a hidden fully connected layer that is zeroed in training.
    Images (n, in_channels, image_size, image_size) give logits (n, num_classes). An image too small for the
    kernels is a MienError. The defaults are CNN 1 of the report:

    >>> model = CNN(in_channels=3, image_size=48, num_classes=7)
    >>> sum(parameter.numel() for parameter in model.parameters())
    2812307
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        *,
        channels: Annotated[Sizes, Field(min_length=1)] = (10, 20),
        kernel_size: Annotated[int, Field(ge=1)] = 5,
        pool_size: Annotated[int, Field(ge=1)] = 4,
        pool_stride: Annotated[int, Field(ge=1)] = 1,
        fc: Sizes = (120, 250),
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        features: OrderedDict[str, nn.Module] = OrderedDict()
        before, size = in_channels, image_size
        for number, width in enumerate(channels, start=1):
            size = (size - kernel_size + 1 - pool_size) // pool_stride + 1
            if size < 1:
                raise MienError(
                    f"images of {image_size} px are too small for the cnn: nothing is left after convolution {number}"
                    f" of {kernel_size}×{kernel_size} and its pooling of {pool_size}×{pool_size}",
                    key="model",
                    expected="larger images, fewer channels or a smaller kernel_size or pool_size",
                )
            features[f"conv{number}"] = nn.Conv2d(before, width, kernel_size, bias=not batch_norm)
            if batch_norm:
                features[f"norm{number}"] = nn.BatchNorm2d(width)
            features[f"relu{number}"] = nn.ReLU()
            features[f"pool{number}"] = nn.MaxPool2d(pool_size, pool_stride)
            before = width
        self.features = nn.Sequential(features)

        classifier: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        before = before * size * size
        for number, width in enumerate(fc, start=1):
            classifier[f"fc{number}"] = nn.Linear(before, width)
            classifier[f"relu{number}"] = nn.ReLU()
            if dropout:
                classifier[f"dropout{number}"] = nn.Dropout(dropout)
            before = width
        classifier["logits"] = nn.Linear(before, num_classes)
        self.classifier = nn.Sequential(classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, in_channels, image_size, image_size)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
