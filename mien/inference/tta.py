"""Test-time augmentation in use: mean probabilities of an image's views. `mien.augment.views` has the kinds."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.registry import entry


def views(images: Tensor, kind: str) -> Iterator[Tensor]:
    """The views of images float32 (n, c, h, w), each of the same shape; raises MienError for an unknown kind.

    >>> import mien.augment
    >>> [len(list(views(torch.zeros(1, 1, 48, 48), kind))) for kind in ("flip", "flip-shifts", "ten-crop")]
    [2, 10, 10]
    """
    found: Iterator[Tensor] = entry("tta", kind).build(images)
    return found


def mean_logits(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of the views' probabilities, (n, classes), from their logits.

    >>> mean_logits([torch.zeros(1, 2), torch.zeros(1, 2)]).exp().tolist()
    [[0.5, 0.5]]
    """
    return torch.stack([F.log_softmax(one, dim=1) for one in logits]).logsumexp(dim=0) - torch.tensor(len(logits)).log()
