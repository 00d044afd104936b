"""Points as models and losses take them: shares of an image's side from its middle, in batches of torch tensors."""

from torch import Tensor

from mien.faces.ibug import OUTER_EYES


def as_shares(points: Tensor, side: int) -> Tensor:
    """Points (n, 68, 2) in pixel centres of images of `side` pixels as (n, 136): (p + 0.5) / side − 0.5.

    >>> import torch
    >>> as_shares(torch.tensor([[[-0.5, 31.5]]]), 64).tolist()
    [[-0.5, 0.0]]
    """
    shares: Tensor = (points + 0.5) / side - 0.5
    return shares.flatten(1)


def normalized_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """The NME of each image, (n,), by the true outer eye corners; outputs and targets are (n, 136).

    Source: as in `mien.metrics.nme`, which measures runs; this one is for the history while a model trains.
    """
    error: Tensor = (outputs - targets).unflatten(1, (-1, 2))
    true: Tensor = targets.unflatten(1, (-1, 2))
    apart: Tensor = (true[:, OUTER_EYES[0]] - true[:, OUTER_EYES[1]]).norm(dim=-1)
    off: Tensor = error.norm(dim=-1).mean(dim=1)
    return off / apart
