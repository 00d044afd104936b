"""A trained model in use: from pixels to an answer, without a trainer. Importing this loads no torch."""

from mien.inference.model import Model, load

__all__ = ["Model", "load"]
