"""The light on a head: slopes of a dome with bumps, lit by the laws of Lambert and Blinn."""

import cv2
import numpy as np

from mien.data.synthetic.anatomy import LEFT, RIGHT, Array, Name, array
from mien.data.synthetic.parameters import Face
from mien.data.synthetic.pose import Pose

# Bumps of the head that catch the light: point, (outward, down) of it, height, width and length, in mm.
_BUMPS: tuple[tuple[Name, tuple[float, float], float, float, float], ...] = (
    (29, (0, 0), 5, 6, 11),
    (30, (0, 0), 7, 7, 9),
    (31, (0, -1), 10, 9, 8),
    (32, (1, -3), 4.5, 5, 4.5),
    (20, (0, 6), 4, 19, 7),
    ("iris", (0, 0), -6, 16, 10),
    (40, (0, -2), -4, 6, 7),
    ("iris", (0, 1), 3.5, 10, 6),
    ("cheek", (0, 0), 5, 18, 13),
    ("hollow", (0, 0), -3, 15, 15),
    (34, (0, 8), -1.5, 3.5, 5),
    (63, (0, 0), 5, 24, 16),
    (51, (0, 2), 1.8, 8, 3.5),
    (58, (0, -4), 3, 13, 4),
    (58, (0, 7), -4, 14, 4.5),
    ("ball", (0, 0), 6, 15, 9),
)
_both = [(b, rows, out) for b in _BUMPS for rows, out in ((LEFT, -1), (RIGHT, 1))[: 1 + (LEFT[b[0]] != RIGHT[b[0]])]]
_BUMP_ROWS = np.array([rows[b[0]] for b, rows, _ in _both])
_BUMP_SHIFT = np.array([(b[1][0] * out, b[1][1]) for b, _, out in _both], np.float32)
_BUMP_HEIGHT = np.array([b[2] for b, _, _ in _both], np.float32)
_BUMP_SIZE = np.array([b[3:] for b, _, _ in _both], np.float32)
_CHEEKS = [k for k, (b, _, _) in enumerate(_both) if b[0] == "cheek"]
_CHIN = [k for k, (b, _, _) in enumerate(_both) if b[0] == "ball"]

# The grid that the light is computed on, in mm about the middle of the head, and its slopes.
_CELL = 5
_GRID_X = np.arange(-112, 113, _CELL, dtype=np.float32)
_GRID_Y = np.arange(-132, 149, _CELL, dtype=np.float32)
_steep = 1 / np.sqrt(np.maximum(1 - (_GRID_X / 88) ** 2 - (_GRID_Y[:, None] / 132) ** 2, 0.12))
_DOME_RIGHT = (0.85 * _GRID_X / 88 * _steep).astype(np.float32)
_DOME_DOWN = (0.6 * _GRID_Y[:, None] / 132 * _steep).astype(np.float32)


def light(face: Face, pose: Pose, size: int) -> tuple[Array, Array]:
    """How much light each pixel of the head sends back, (size, size): about 1, and its gloss, 0 … 1."""
    centre = (pose.plane[LEFT["skull6"]] + pose.plane[LEFT[9]]) / 2
    height = _BUMP_HEIGHT.copy()
    height[_CHEEKS] += 2.5 * pose.unit("cheek_raise") + 3 * pose.unit("corner_pull")
    height[_CHIN] += 3 * pose.unit("chin_raise")[0]
    bumps = pose.plane[_BUMP_ROWS] + _BUMP_SHIFT - centre
    x = (_GRID_X - bumps[:, :1]) / _BUMP_SIZE[:, :1]
    y = (_GRID_Y - bumps[:, 1:]) / _BUMP_SIZE[:, 1:]
    bell_x, bell_y = np.exp(-0.5 * x * x), np.exp(-0.5 * y * y)
    # Slopes of the sum of bells and of the dome below them; then Lambert's and Blinn's laws.
    right = (bell_y.T * (height / _BUMP_SIZE[:, 0])) @ (x * bell_x) + _DOME_RIGHT
    down = ((y * bell_y).T * (height / _BUMP_SIZE[:, 1])) @ bell_x + _DOME_DOWN
    norm = 1 / np.sqrt(1 + right * right + down * down)
    lx, ly = face.light
    lz = max(1 - lx * lx - ly * ly, 0.1) ** 0.5
    lit = np.maximum((lx * right + ly * down + lz) * norm, 0)
    half = (2 + 2 * lz) ** -0.5
    gloss = np.maximum((lx * half * right + ly * half * down + (lz + 1) * half) * norm, 0)
    for _ in range(3):
        gloss *= gloss
    gloss *= gloss * gloss  # to the 24th power
    shade = face.ambient * (0.55 + 0.45 * norm) + (1 - face.ambient) / 0.88 * lit
    # From a pixel's centre to the frame, to the plane, to the grid.
    back = array(cv2.invertAffineTransform(pose.affine))
    offset = back @ array([0.5 / size, 0.5 / size, 1]) - centre - (_GRID_X[0], _GRID_Y[0])
    matrix = np.concatenate([back[:, :2] / size, offset[:, None]], 1) / _CELL
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sides = (size, size)
    return (
        array(cv2.warpAffine(shade, matrix, sides, flags=how, borderMode=cv2.BORDER_REPLICATE)),
        array(cv2.warpAffine(gloss, matrix, sides, flags=how, borderMode=cv2.BORDER_REPLICATE)),
    )
