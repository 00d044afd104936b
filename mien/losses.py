"""What training minimises: modules called as `loss(outputs, targets)`.

The attribute `targets` of a loss says what it is called with: "label" (class indices, int64 (n,)), "votes" (the raters'
probabilities, float (n, num_classes)), "teacher" (the probabilities of other models, alike) or "points" (x and y of
each landmark, float (n, 136), as shares of the image's side from its middle). A loss without the attribute gets labels.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import MienError
from mien.registry import register

Targets = Literal["label", "votes", "teacher", "points"]
Smoothing = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weights = Literal["balanced"] | tuple[Positive, ...] | None


@register("loss", "cross_entropy")
class CrossEntropy(nn.Module):
    """Cross entropy of class labels, averaged over the images, each by its class's weight.

    `label_smoothing` is the share of a target that is spread evenly over all classes (C. Szegedy et al., CVPR 2016).
    `class_weights` is one weight a class in the scheme's order, or "balanced": n / (classes · images of the class),
    as in scikit-learn, counted over the fit role. Called with logits (n, num_classes) and labels int64 (n,);
    gives a float32 scalar.

    >>> loss = CrossEntropy(num_classes=2, class_counts=[3, 1], class_weights="balanced")
    >>> loss.weight
    tensor([0.6667, 2.0000])
    >>> loss(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]))
    tensor(0.6931)
    """

    targets: Targets = "label"
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

    targets: Targets = "votes"
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


@register("loss", "distill")
class Distillation(nn.Module):
    """How far a model's probabilities are from its teachers', averaged over the images.

    `teacher` names finished runs, models that mien ships and ONNX files that it exported; their mean probabilities of
    the same augmented images are the targets, labels aren't read. Both sides are softened by `temperature`, T: the loss
    is T² · KL(teachers ‖ model). Called with logits
    (n, num_classes) and probabilities float (n, num_classes); gives a float32 scalar.
    Sources: G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015; L. Beyer et al.,
    "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022.

    >>> loss = Distillation(teacher=("large/1",))
    >>> loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """

    targets: Targets = "teacher"

    def __init__(
        self, *, teacher: Annotated[tuple[str, ...], Field(min_length=1)], temperature: Positive = 1.0
    ) -> None:
        super().__init__()
        self.teacher, self.temperature = teacher, temperature

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch."""
        told = F.log_softmax(logits.float() / self.temperature, dim=1)
        return self.temperature**2 * F.kl_div(told, targets.float(), reduction="batchmean")


@register("loss", "mse")
class MeanSquaredError(nn.Module):
    """The squared error of coordinates, averaged over all of them.

    Called with outputs and points (n, 136), both in shares of the image's side; gives a float32 scalar.

    >>> MeanSquaredError()(torch.tensor([[0.0, 0.1]]), torch.tensor([[0.0, -0.1]]))
    tensor(0.0200)
    """

    targets: Targets = "points"

    def __init__(self) -> None:
        super().__init__()

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch."""
        return F.mse_loss(outputs.float(), targets.float())


@register("loss", "l1")
class MeanAbsoluteError(nn.Module):
    """The absolute error of coordinates, averaged over all of them.

    Called with outputs and points (n, 136), both in shares of the image's side; gives a float32 scalar.

    >>> MeanAbsoluteError()(torch.tensor([[0.0, 0.1]]), torch.tensor([[0.0, -0.1]]))
    tensor(0.1000)
    """

    targets: Targets = "points"

    def __init__(self) -> None:
        super().__init__()

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch."""
        return F.l1_loss(outputs.float(), targets.float())


@register("loss", "wing")
class Wing(nn.Module):
    """The Wing loss of coordinates, averaged over all of them: w · ln(1 + |x| / epsilon) below w, |x| − c above.

    x is a coordinate's error, c makes the two parts meet. `w` and `epsilon` are in shares of the image's side, as all
    coordinates here; the defaults are the paper's 10 and 2 pixels in an image of 256 × 256.
    Called with outputs and points (n, 136); gives a float32 scalar.
    Source: Z.-H. Feng, J. Kittler, M. Awais, P. Huber, X.-J. Wu, "Wing Loss for Robust Facial Landmark Localisation
    with Convolutional Neural Networks", CVPR 2018, equation 5.

    >>> loss = Wing()
    >>> loss(torch.tensor([[0.0, 2 / 256]]), torch.zeros(1, 2))  # (0 + 10 · ln 2) / 2 pixels
    tensor(0.0135)
    """

    targets: Targets = "points"

    def __init__(self, *, w: Positive = 10 / 256, epsilon: Positive = 2 / 256) -> None:
        super().__init__()
        self.w, self.epsilon = w, epsilon
        self.c = w - w * math.log1p(w / epsilon)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch."""
        error = (outputs.float() - targets.float()).abs()
        return torch.where(error < self.w, self.w * torch.log1p(error / self.epsilon), error - self.c).mean()


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
