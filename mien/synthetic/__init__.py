"""Drawn faces with known expression and landmarks: the data of the demo and the tests."""

from mien.synthetic.drawing import draw
from mien.synthetic.many import faces
from mien.synthetic.parameters import CLASSES, Face, sample

__all__ = ["CLASSES", "Face", "draw", "faces", "sample"]
