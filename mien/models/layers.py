"""The layers of a model by the names of its parameters: the last one, and those that don't learn."""

import difflib
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mien.errors import MienError
from mien.models.published import Published


def last_layer(model: nn.Module) -> str:
    """The name of the layer that gives a model's outputs: its `published.head`, else its last linear layer.

    A model without a linear layer ends in its last layer with parameters; one without parameters is a MienError.

    >>> last_layer(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 2), nn.Softmax(dim=1)))
    '2'
    """
    published = getattr(model, "published", None)
    if isinstance(published, Published):
        return published.head
    layers = [(name, layer) for name, layer in model.named_modules() if list(layer.parameters(recurse=False))]
    if not layers:
        raise MienError("the model has no parameters", expected="layers that learn")
    linear = [name for name, layer in layers if isinstance(layer, nn.Linear)]
    last: str = (linear or [layers[-1][0]])[-1]
    return last


def under(name: str, prefixes: Sequence[str]) -> bool:
    """Whether a dotted name is one of `prefixes`, or stands below one.

    >>> under("features.1.weight", ["features.1"]), under("features.10.weight", ["features.1"])
    (True, False)
    """
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def freeze(model: nn.Module, prefixes: Sequence[str]) -> list[nn.Module]:
    """Make the parameters below some names learn no more; gives the batch norms there, whose statistics must stay too.

    Whoever trains keeps those in eval mode. Raises MienError for a name that no parameter's name begins with, and where
    nothing is left to learn.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    >>> freeze(model, ["0", "1"]) == [model[1]]
    True
    >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    ['2.weight', '2.bias']
    """
    named = dict(model.named_parameters())
    known = dict.fromkeys(
        ".".join(steps[:length]) for length in (1, 2, 3, 4, 5, 6) for steps in (name.split(".") for name in named)
    )
    for prefix in prefixes:
        if not any(under(name, [prefix]) for name in named):
            close = difflib.get_close_matches(prefix, known, n=3) or [name for name in known if "." not in name][:8]
            raise MienError(f"no parameter's name begins with '{prefix}'", expected=f"for example {', '.join(close)}")
    for name, parameter in named.items():
        if under(name, prefixes):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in named.values()):
        raise MienError("every parameter is frozen", expected="at least the last layer left to learn")
    return [layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm) and under(name, prefixes)]
