"""A second head that learns the raters' votes beside the labels, and is left behind when the training ends."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import MienError
from mien.training.devices import Share


class VotesHead(nn.Module):
    """A linear layer on what a model's last linear layer reads, with the cross entropy of votes as its loss.

    Several raters' votes on an image tell more of it than one label does, so the features that both heads share are
    learnt from less noise. Raises MienError for a model without a linear layer.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> head = VotesHead(model, num_classes=2)
    >>> _ = nn.init.zeros_(head.linear.weight), nn.init.zeros_(head.linear.bias)
    >>> _ = model(torch.ones(1, 4))
    >>> head.linear.in_features, head.loss(torch.tensor([[0.3, 0.7]]))
    (3, tensor(0.6931, grad_fn=<DivBackward1>))
    """

    def __init__(self, model: nn.Module, num_classes: int) -> None:
        super().__init__()
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        if not layers:
            raise MienError("the model has no linear layer", key="train.votes", expected="one that ends in nn.Linear")
        self.linear = nn.Linear(layers[-1].in_features, num_classes)
        self._features = torch.empty(0)
        layers[-1].register_forward_pre_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._features = inputs[0]

    def loss(self, votes: Tensor, share: Share | None = None) -> Tensor:
        """The mean cross entropy of votes (n, num_classes), each row with sum 1, for the model's last batch.

        The model may have seen its `share` of it alone.
        """
        logits = self.linear(self._features).float()
        logits = logits if share is None else share.whole(logits, len(votes))
        return F.cross_entropy(logits, votes)
