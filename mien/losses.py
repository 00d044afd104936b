"""What training minimises: modules called as `loss(logits, targets)`.

A loss says by its attribute `targets` what it wants: "label" (class indices, int64 (n,)) or "votes" (the raters'
probabilities, float (n, num_classes)). A loss without the attribute gets labels.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import MienError
from mien.registry import register

Smoothing = Annotated[float, Field(ge=0, le=1)]
Weights = Literal["balanced"] | tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] | None


@register("loss", "cross_entropy")
class CrossEntropy(nn.Module):
    """Cross entropy of class labels, averaged over the images, each by its class's weight.

    `label_smoothing` is the share of a target that is spread evenly over all classes (C. Szegedy et al., CVPR 2016).
    `class_weights` is one weight a class in the scheme's order, or "balanced": n / (classes · images of the class),
    as scikit-learn has it, from the images that are fit. Called with logits (n, num_classes) and labels int64 (n,);
    gives a float32 scalar.

    >>> loss = CrossEntropy(num_classes=2, class_counts=[3, 1], class_weights="balanced")
    >>> loss.weight
    tensor([0.6667, 2.0000])
    >>> loss(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]))
    tensor(0.6931)
    """

    targets: Literal["label", "votes"] = "label"
    weight: Tensor | None

    def __init__(
        self,
        num_classes: int,
        class_counts: list[int],
        *,
        label_smoothing: Smoothing = 0.0,
        class_weights: Weights = None,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("weight", _weights(class_weights, num_classes, class_counts), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch."""
        return F.cross_entropy(logits.float(), targets, weight=self.weight, label_smoothing=self.label_smoothing)


@register("loss", "soft_cross_entropy")
class SoftCrossEntropy(nn.Module):
    """Cross entropy of the raters' votes as probabilities, averaged over the images, each by its classes' weights.

    Where all raters agree it is `cross_entropy`, with the same parameters. Called with logits (n, num_classes) and
    votes float (n, num_classes), each row of which adds up to 1; gives a float32 scalar.

    >>> loss = SoftCrossEntropy(num_classes=2, class_counts=[3, 1])
    >>> loss(torch.zeros(1, 2), torch.tensor([[0.7, 0.3]]))
    tensor(0.6931)
    """

    targets: Literal["label", "votes"] = "votes"
    weight: Tensor | None

    def __init__(
        self,
        num_classes: int,
        class_counts: list[int],
        *,
        label_smoothing: Smoothing = 0.0,
        class_weights: Weights = None,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("weight", _weights(class_weights, num_classes, class_counts), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch."""
        surprise = -F.log_softmax(logits.float(), dim=1)
        votes = targets.float()
        total = votes.sum()
        if self.weight is not None:
            surprise = surprise * self.weight
            total = (votes * self.weight).sum()
        smooth = votes * (1 - self.label_smoothing) + self.label_smoothing / votes.shape[1]
        return (smooth * surprise).sum() / total


def _weights(class_weights: Weights, num_classes: int, class_counts: list[int]) -> Tensor | None:
    if class_weights is None:
        return None
    key = "loss.class_weights"
    if class_weights == "balanced":
        empty = [str(index) for index, count in enumerate(class_counts) if count == 0]
        if empty:
            raise MienError(
                f"no image to fit is of class {', '.join(empty)}, so its balanced weight would be infinite",
                key=key,
                expected="a list of weights, or images of every class",
            )
        counts = torch.tensor(class_counts, dtype=torch.float64)
        return (counts.sum() / (num_classes * counts)).float()
    if len(class_weights) != num_classes:
        raise MienError(
            f"{len(class_weights)} weights for {num_classes} classes", key=key, expected=f"{num_classes} weights"
        )
    return torch.tensor(class_weights, dtype=torch.float32)
