"""Drawn faces with known expression and landmarks: the data of the demo and the tests."""

from mien.data.synthetic.drawing import draw
from mien.data.synthetic.many import faces
from mien.data.synthetic.parameters import CLASSES, Face, sample

__all__ = ["CLASSES", "Face", "draw", "faces", "sample"]
