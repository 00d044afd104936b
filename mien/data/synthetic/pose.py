"""Where the points of a face are, in space, in the image and in the frame."""

import math

import numpy as np

from mien.data.synthetic import anatomy
from mien.data.synthetic.anatomy import UNITS, Array, array
from mien.data.synthetic.parameters import Face

_FRAME = 162  # mm that the frame shows, at zoom 1
_EYES = 0.37  # their height in the frame, from the top
_MARGIN = 0.02  # of the frame, which stays free around the landmarks
_UNIT = {name: k for k, name in enumerate(UNITS)}


class Pose:
    """The points of a face as the camera sees them.

    `plane` holds them in millimetres in the image plane before roll, first the landmarks, then what else anatomy names,
    then the outline; `affine` (2, 3) takes them to the frame, 0 … 1.
    """

    def __init__(self, face: Face) -> None:
        solid = anatomy.head(face.shape, face.units)
        turn = anatomy.rotation(face.yaw, face.pitch)
        outline = anatomy.project(anatomy.outline(solid, turn), turn, face.distance)
        self.plane = np.concatenate([anatomy.project(solid, turn, face.distance), outline])
        self.plane[:17] = outline[: 16 * anatomy.RING_STEPS + 1 : anatomy.RING_STEPS]
        self.landmarks = self.plane[:68]
        self.units = array(face.units)
        self.affine = _framing(face, self.landmarks)

    def unit(self, name: str) -> Array:
        """The strength of a muscle on both sides."""
        strength: Array = self.units[_UNIT[name]]
        return strength


def _framing(face: Face, landmarks: Array) -> Array:
    """The (2, 3) affine map from the plane's millimetres to the frame, 0 … 1, with all 68 points inside."""
    angle = math.radians(face.roll)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = array([[cos, -sin], [sin, cos]])
    points = landmarks @ turn.T
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    eyes = float(points[36:48, 1].mean())
    side = max(_FRAME * face.zoom, max(right - left, bottom - top) / (1 - 2 * _MARGIN))
    x = (left + right) / 2 - (0.5 + face.shift[0]) * side
    y = eyes - (_EYES + face.shift[1]) * side
    x = min(max(x, right - (1 - _MARGIN) * side), left - _MARGIN * side)
    y = min(max(y, bottom - (1 - _MARGIN) * side), top - _MARGIN * side)
    return array([[cos / side, -sin / side, -x / side], [sin / side, cos / side, -y / side]])
