"""The models that a file can name; importing this package registers them."""

from mien.models import cnn, compact, googlenet, landmarks, mobilenet, resnet, xception

__all__ = ["cnn", "compact", "googlenet", "landmarks", "mobilenet", "resnet", "xception"]
