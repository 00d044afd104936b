"""Images of a batch mixed in pairs, and weights averaged over steps: what makes a training generalise better."""

import copy

import torch
from torch import Tensor, nn


def mix(images: Tensor, mixup: float | None, cutmix: float | None) -> tuple[Tensor, Tensor, float]:
    """The images (n, c, h, w) each mixed with another, the others' places int64 (n,), and the share of their own.

    `mixup` and `cutmix` are the alpha of the Beta(alpha, alpha) that the share is drawn from; of both one is drawn with
    equal chance. Mixup adds the two images by their shares (H. Zhang et al., ICLR 2018); cutmix puts a rectangle of the
    other image there, as large as its share but cut off at the edge, by which the share is then corrected (S. Yun
    et al., ICCV 2019). All is drawn from torch's global generator.

    >>> _ = torch.manual_seed(0)
    >>> mixed, others, share = mix(torch.tensor([0.0, 100.0]).reshape(2, 1, 1, 1), mixup=1.0, cutmix=None)
    >>> others.tolist(), round(share, 3), mixed.flatten()
    ([1, 0], 0.864, tensor([13.6238, 86.3762]))
    """
    cut = cutmix is not None and (mixup is None or torch.rand(()).item() < 0.5)
    alpha = cutmix if cut else mixup
    assert alpha is not None
    share = torch.distributions.Beta(alpha, alpha).sample().item()
    others = torch.randperm(len(images)).to(images.device)
    if not cut:
        return torch.lerp(images[others], images, share), others, share
    height, width = images.shape[-2:]
    rows, columns = (round(side * (1 - share) ** 0.5) for side in (height, width))
    top = int(torch.randint(height, ()).item()) - rows // 2
    left = int(torch.randint(width, ()).item()) - columns // 2
    down, across = slice(max(top, 0), max(top + rows, 0)), slice(max(left, 0), max(left + columns, 0))
    mixed = images.clone()
    mixed[..., down, across] = images[others][..., down, across]
    area = len(range(height)[down]) * len(range(width)[across])
    return mixed, others, 1 - area / (height * width)


class Average(nn.Module):
    """The exponential moving average of a model's weights over the steps of its training, as a model.

    Step t, from 0, moves every parameter and statistic by 1 − min(decay, (1 + t) / (10 + t)) of its distance to the
    model's, as TensorFlow's ExponentialMovingAverage does, so that the start values are soon forgotten; what is no
    float is copied.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(model.weight)
    >>> average = Average(model, 0.999)
    >>> _ = nn.init.ones_(model.weight)
    >>> average.update(model)
    >>> average.model.weight.item()
    0.8999999761581421
    """

    step: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's weights after a step."""
        step = int(self.step)
        self.step += 1
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        own, new = list(self.model.state_dict().values()), list(model.state_dict().values())
        floats = [index for index, tensor in enumerate(own) if tensor.is_floating_point()]
        torch._foreach_lerp_([own[index] for index in floats], [new[index] for index in floats], weight)
        for mine, its in zip(own, new, strict=True):
            if not mine.is_floating_point():
                mine.copy_(its)
