"""Explanations: what a trained model looks at, and which rows it gets wrong, by hooks on any `nn.Module`."""

from collections.abc import Iterable

from mien.errors import unknown
from mien.experiment.schema import EXPLANATIONS


def check_names(names: Iterable[str]) -> None:
    """Raise MienError for the first name that no explanation has."""
    for name in names:
        if name not in EXPLANATIONS:
            raise unknown(f"no explanation is called '{name}'", name, EXPLANATIONS)
