"""The models that a file can name; importing this package registers them."""

from mien.models import cnn, googlenet, landmarks, mobilenet, resnet, xception

__all__ = ["cnn", "googlenet", "landmarks", "mobilenet", "resnet", "xception"]
