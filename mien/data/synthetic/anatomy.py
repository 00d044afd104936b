"""The head that the drawn faces share: named points in millimetres, and how shape and expression move them.

A point is (outward, down, forward) from the middle between the eyes; `outward` is 0 on the midline, and each point off
it stands for a left and a right one. iBUG's 68 landmarks have their numbers (from 1) as names, those of the image's
left half only. Everything is linear, as in a morphable model: points = TEMPLATE + shape @ SHAPES + units @ UNITS.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.faces.ibug import MIRROR, POINTS

Array = NDArray[np.float32]
Move = tuple[float, float, float]
Name = int | str


def array(values: ArrayLike) -> Array:
    """Numbers as float32."""
    return np.asarray(values, np.float32)


TEMPLATE: dict[Name, Move] = {
    # Jaw, from the ear to the chin.
    1: (71.5, 3, -72), 2: (71, 21, -70), 3: (69, 39, -65), 4: (65, 57, -58), 5: (58.5, 74, -48),
    6: (47, 89, -34), 7: (34, 101, -18), 8: (18, 109, -6), 9: (0, 112, -1),
    # Upper edge of the brow, from its tail to the nose.
    18: (56, -17, -25), 19: (50, -24, -15), 20: (38.5, -27.5, -2), 21: (25.5, -27.5, 8), 22: (13, -25, 9),
    # Nose: bridge, then base.
    28: (0, -2, 9), 29: (0, 11, 15), 30: (0, 23.5, 21), 31: (0, 36, 27),
    32: (14, 45, 9), 33: (7, 47.8, 14), 34: (0, 49.5, 16),
    # Eye: outer corner, upper lid, inner corner, lower lid.
    37: (46, -0.5, -10), 38: (37.5, -5.8, 2), 39: (26, -5.6, 3), 40: (16, 1.5, -1), 41: (25.5, 4.6, 2),
    42: (37, 4.6, 1),
    # Lips: outer edge of the upper and of the lower one, then the inner edges.
    49: (25, 69, 2), 50: (15.5, 64.2, 8), 51: (5.5, 61, 12), 52: (0, 62.2, 12.5),
    58: (0, 78.5, 11), 59: (8.5, 77.6, 10), 60: (17.5, 74.2, 7),
    61: (22.5, 69, 3), 62: (8, 68, 11), 63: (0, 68.6, 11.5), 67: (0, 69, 11.3), 68: (8, 68.5, 10.8),
    # Not landmarks: the rest of the head.
    "skull1": (73.5, -17, -77), "skull2": (73.5, -41, -82), "skull3": (67, -64, -85), "skull4": (52, -83, -87),
    "skull5": (28, -96, -88), "skull6": (0, -100, -88),
    "hair1": (71, 2, -62), "hair2": (65, -27, -42), "hair3": (54, -48, -22), "hair4": (30, -60, -9),
    "hair5": (0, -63, -5),
    "ear1": (70, -7, -76), "ear2": (75, -15, -86), "ear3": (81, -14, -94), "ear4": (83, -1, -97),
    "ear5": (80, 13, -93),
    "ear6": (75, 26, -86), "ear7": (71, 28, -78),
    "iris": (31, -0.8, 5),
    "cheek": (44, 33, -4), "hollow": (46, 62, -22),
    "fold1": (16.5, 41, 5), "fold2": (25, 53, 4), "fold3": (31, 66, -1), "fold4": (31.5, 79, -7),
    "nostril": (7, 45.6, 13), "wing1": (14, 35.5, 8), "wing2": (17.2, 41, 5),
    "edge1": (0, 70.8, 8), "edge2": (9, 70.4, 6.5), "edge3": (17, 69, 1), "edge4": (24, 66.5, -8),
    "low1": (0, 69.5, 7), "low2": (9, 69.5, 5.5), "low3": (17, 69, 0), "low4": (24, 68, -9),
    "ball": (0, 99, 8),
    "beard1": (63, 26, -48), "beard2": (53, 52, -30), "beard3": (40, 60, -14),
    "neck1": (54, 62, -58), "neck2": (53, 110, -62), "neck3": (60, 170, -66), "neck4": (110, 190, -70),
}  # fmt: skip

BROW: tuple[Name, ...] = (18, 19, 20, 21, 22)
EYE: tuple[Name, ...] = (37, 38, 39, 40, 41, 42, "iris")
NOSE: tuple[Name, ...] = (29, 30, 31, 32, 33, 34, "nostril", "wing1", "wing2")
MOUTH: tuple[Name, ...] = (49, 50, 51, 52, 58, 59, 60, 61, 62, 63, 67, 68)
TEETH: tuple[Name, ...] = ("edge1", "edge2", "edge3", "edge4", "low1", "low2", "low3", "low4")
JAW: tuple[Name, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9)

# What each muscle does at full strength, by FACS (Ekman and Friesen, 1978); the number is the action unit's.
UNITS: dict[str, dict[Name, Move]] = {
    "inner_brow_raise": {  # 1
        22: (0, -11, 0), 21: (0, -8, 0), 20: (0, -3, 0), 19: (0, 0.5, 0), 18: (0, 1, 0), 39: (0, -1, 0),
    },
    "outer_brow_raise": {  # 2
        18: (0, -5, 0), 19: (0, -9, 0), 20: (0, -8, 0), 21: (0, -3.5, 0), 38: (0, -0.6, 0),
    },
    "brow_lower": {  # 4
        22: (-5, 9.5, 2), 21: (-4.5, 7.5, 1), 20: (-2.5, 4.5, 0), 19: (-1, 1.5, 0), 18: (0, 0.5, 0),
        28: (0, 1, 0), 39: (0, 0.6, 0),
    },
    "upper_lid_raise": {38: (0, -4.2, 0), 39: (0, -4, 0), 41: (0, 0.6, 0), 42: (0, 0.6, 0),
    "iris": (0, -0.4, 0)},  # 5
    "cheek_raise": {  # 6
        42: (0, -2.2, 0), 41: (0, -1.7, 0), 38: (0, 0.9, 0), 39: (0, 0.6, 0), 37: (-0.3, -0.2, 0),
        "cheek": (1, -5, 3), 19: (0, 0.6, 0), 18: (0, 1.2, 0),
    },
    "lid_tighten": {42: (0, -1.7, 0), 41: (0, -1.6, 0), 38: (0, 1.2, 0), 39: (0, 1.3, 0)},  # 7
    "nose_wrinkle": {  # 9
        31: (0, -2.5, 0), 32: (1.8, -3.6, 0), 33: (0.8, -3, 0), 34: (0, -2.6, 0), "nostril": (1, -3, 0),
        "wing1": (1.5, -3, 0), "wing2": (2, -3.6, 0), 22: (-3, 6, 1), 21: (-2, 4.5, 0), 20: (-1, 2.4, 0),
        39: (0, 1.3, 0), 38: (0, 0.8, 0), 41: (0, -2.2, 0), 42: (0, -1.5, 0), 50: (0, -1.5, 0), 51: (0, -2.4, 0),
        52: (0, -2.4, 0), 62: (0, -1, 0), 63: (0, -1, 0), "fold1": (2, -4, 1), "fold2": (2, -4, 1),
        "cheek": (0, -3, 2),
    },
    "upper_lip_raise": {  # 10
        49: (0.5, -0.5, 0), 50: (0.5, -6.3, 0), 51: (0.5, -5.8, 0), 52: (0, -5, 0), 61: (0.5, -0.5, 0),
        62: (0.5, -4.2, 0),
        63: (0, -3.6, 0), 32: (1.2, -1.5, 0), "wing2": (1.2, -1.2, 0), "fold1": (1, -2, 1), "fold2": (3, -3.5, 2),
        "fold3": (2, -3, 1), "cheek": (0, -2, 2), 41: (0, -0.6, 0), 42: (0, -0.5, 0),
    },
    "corner_pull": {  # 12
        49: (9.5, -9.5, -6), 50: (6, -4.2, -4), 51: (2.6, 0.2, -2), 52: (0, 1.4, -2), 58: (0, 1.4, -2),
        59: (4, 0.2, -2),
        60: (8, -3.4, -4), 61: (9.3, -9, -6), 62: (3.6, 0, -2), 63: (0, 1.5, -2), 67: (0, 1.4, -2), 68: (4, 0, -2),
        "fold1": (2, -1, 1), "fold2": (5, -2.5, 2), "fold3": (9, -5, 2), "fold4": (8, -6, 1), "cheek": (1.5, -4, 4),
        32: (1.8, -0.6, 0), "wing1": (1.2, -0.3, 0), "wing2": (1.8, -0.5, 0), 33: (0.6, 0, 0), "nostril": (0.6, 0, 0),
        4: (1.2, -0.6, 0), 5: (1.8, -1, 0), 6: (1.2, -1, 0), "hollow": (1, -3, 3), 41: (0, -0.5, 0), 42: (0, -0.6, 0),
    },
    "corner_depress": {  # 15
        49: (1, 7, -1), 50: (0.5, 2.8, 0), 60: (1, 3.4, 0), 59: (0, 0.5, 0), 61: (0.5, 6.2, -1), 62: (0, 0.8, 0),
        68: (0, 0.8, 0), 58: (0, -0.5, 0), "fold3": (1, 2, 0), "fold4": (0, 2, 0),
    },
    "lower_lip_depress": {  # 16
        58: (0, 3.6, -1), 59: (1, 4, -1), 60: (1.5, 3.2, -1), 67: (0, 4, -1), 68: (1, 4.2, -1), 61: (0.5, 0.8, 0),
        49: (0.5, 0.8, 0),
    },
    "chin_raise": {  # 17
        9: (0, -2.5, 1), 8: (0, -2, 0), 58: (0, -3.2, 2), 59: (0, -3, 2), 60: (0, -1, 0), 67: (0, -2.4, 1),
        68: (0, -2, 1),
        63: (0, -2.2, 0), 62: (0, -1.8, 0), 52: (0, -1.6, 0), 51: (0, -1.4, 0), 49: (0, 1, 0), 61: (0, 0.8, 0),
        "ball": (0, -4, 2),
    },
    "lip_funnel": {  # 22
        49: (-6.5, -0.5, 5), 61: (-6.2, -0.5, 5), 50: (-3.6, -2.4, 4), 60: (-3.4, 1.2, 4), 51: (-0.6, -1, 4),
        59: (-0.6, 1, 4),
        62: (-0.8, -0.8, 4), 68: (-0.4, 0.8, 4), "fold3": (-3, 0, 1),
    },
    "lip_stretch": {  # 20
        49: (7.5, 2.6, -5), 50: (4.2, 1, -3), 51: (1.2, 0.8, -1), 58: (0, -0.8, 0), 59: (2.2, 0.2, -1),
        60: (4.6, 1.8, -3),
        61: (7.3, 2.4, -5), 62: (2, 0.4, -1), 68: (2, 0.4, -1), "fold3": (3, 0, 0), "fold4": (3, 0, 0),
        5: (0.8, 0, 0), 6: (0.8, 0, 0),
    },
    "lip_press": {  # 24
        49: (-1.2, 0.2, 0), 50: (-0.5, 2, -1), 51: (0, 3.2, -2), 52: (0, 3, -2), 58: (0, -4.4, -2), 59: (0, -4.2, -2),
        60: (-0.5, -2.6, -1), 63: (0, 0.4, 0), 67: (0, 0.2, 0), "ball": (0, -1.5, 1),
    },
    "lips_part": {  # 25
        50: (0, -0.8, 0), 51: (0, -1.4, 0), 52: (0, -1.4, 0), 62: (0, -2.2, 0), 63: (0, -2.4, 0), 58: (0, 3.6, 0),
        59: (0, 3.4, 0), 60: (0, 2, 0), 67: (0, 5, 0), 68: (0, 4.6, 0), 61: (1.2, 0, 0),
    },
    "jaw_drop": {  # 26 and 27
        9: (0, 21, -4), 8: (-0.6, 20, -4), 7: (-1.4, 17, -3), 6: (-2, 11.5, -2), 5: (-2, 6.5, -1), 4: (-1.4, 2.6, 0),
        3: (-0.8, 0.8, 0), 58: (0, 22.5, -2), 59: (0, 21.5, -2), 60: (-0.4, 14.5, -1), 49: (-2.4, 6.8, 0),
        50: (-1.6, 1, 0),
        51: (-0.4, -0.8, 0), 52: (0, -1, 0), 61: (-2, 7, 0), 62: (-0.2, -1.4, 0), 63: (0, -1.6, 0), 67: (0, 21.4, -2),
        68: (0, 20, -2), "low1": (0, 17, -3), "low2": (0, 17, -3), "low3": (0, 14, -3), "low4": (0, 9, -3),
        "ball": (0, 18, -4), "fold3": (-2, 5, 0), "fold4": (-4, 10, 0), "hollow": (-3, 6, -3), "beard2": (-1, 2, 0),
        "beard3": (-2, 4, 0),
    },
    "lid_droop": {38: (0, 3.2, 0), 39: (0, 2.2, 0), 37: (0, 0.6, 0), 42: (0, 0.4, 0)},  # 43, in part
}  # fmt: skip


def _shift(names: tuple[Name, ...], outward: float = 0, down: float = 0, forward: float = 0) -> dict[Name, Move]:
    return dict.fromkeys(names, (outward, down, forward))


def _stretch(names: tuple[Name, ...], about: Move, by: Move) -> dict[Name, Move]:
    """Moves that scale these points about a centre, by these parts along the three axes."""
    moves = {}
    for name in names:
        o, y, z = (b * (p - c) for p, c, b in zip(TEMPLATE[name], about, by, strict=True))
        moves[name] = (o, y, z)
    return moves


_ALL = tuple(TEMPLATE)
_BELOW_NOSE = (*MOUTH, *TEETH, "fold3", "fold4")

# How people differ: each move is one standard deviation of that measure.
SHAPES: dict[str, dict[Name, Move]] = {
    "width": _stretch(_ALL, (0, 0, 0), (0.045, 0, 0)),
    "length": _stretch((*JAW, *NOSE, *_BELOW_NOSE, "ball", "fold1", "fold2", "beard2"), (0, 0, 0), (0, 0.04, 0)),
    "jaw_width": {3: (0.8, 0, 0), 4: (2.2, 0, 0), 5: (3.2, 0, 0), 6: (2.8, 0, 0), 7: (1.8, 0, 0), 8: (0.8, 0, 0)},
    "chin_length": {9: (0, 4, 0), 8: (-0.5, 3.2, 0), 7: (-0.8, 1.8, 0), 6: (-0.5, 0.6, 0), "ball": (0, 2.5, 0)},
    "forehead": _shift(("skull2", "skull3", "skull4", "skull5", "skull6", "hair3", "hair4", "hair5"), down=-4),
    "eye_distance": _shift((*EYE, *BROW), outward=1.5),
    "eye_size": _stretch(EYE[:6], (31, -0.5, 0), (0.06, 0.1, 0)),
    "eye_tilt": {37: (0, -1.5, 0), 38: (0, -0.6, 0), 42: (0, -0.7, 0), 39: (0, 0.2, 0), 40: (0, 0.8, 0),
    41: (0, 0.3, 0)},
    "lid": {38: (0, 0.7, 0), 39: (0, 0.7, 0)},
    "brow_height": _shift(BROW, down=-1.7),
    "brow_tilt": {18: (0, -2, 0), 19: (0, -1.2, 0), 21: (0, 0.8, 0), 22: (0, 1.4, 0)},
    "brow_arch": {18: (0, 0.8, 0), 19: (0, -1, 0), 20: (0, -1.4, 0), 21: (0, -0.5, 0), 22: (0, 0.8, 0)},
    "brow_gap": {22: (1.6, 0, 0), 21: (0.6, 0, 0)},
    "nose_width": _stretch((32, 33, "nostril", "wing1", "wing2", "fold1"), (0, 0, 0), (0.11, 0, 0)),
    "nose_length": {30: (0, 0.8, 0), **_shift((31, 32, 33, 34, "nostril", "wing1", "wing2"), down=1.8)},
    "nose_depth": {29: (0, 0, 1.2), 30: (0, 0, 2), 31: (0, -0.5, 3), 33: (0, 0, 1), 34: (0, 0, 1.5)},
    "mouth_width": _stretch(MOUTH, (0, 0, 0), (0.07, 0, 0)),
    "mouth_height": _shift((*MOUTH, *TEETH), down=1.4),
    "upper_lip": {50: (0, -0.7, 0.3), 51: (0, -1.1, 0.5), 52: (0, -1.1, 0.5)},
    "lower_lip": {60: (0, 0.8, 0.3), 59: (0, 1.4, 0.5), 58: (0, 1.4, 0.5)},
    "corner_rest": {49: (0, -0.9, 0), 61: (0, -0.8, 0), 50: (0, -0.3, 0), 60: (0, -0.4, 0)},
    "ears": _stretch(("ear2", "ear3", "ear4", "ear5", "ear6"), (70, 5, -76), (0.25, 0.08, 0)),
}  # fmt: skip

# Row of each point in the arrays below: landmarks first, in iBUG's order, then the others, left and right.
LEFT: dict[Name, int] = {}
RIGHT: dict[Name, int] = {}
for _name in TEMPLATE:
    if isinstance(_name, int):
        LEFT[_name], RIGHT[_name] = _name - 1, MIRROR[_name - 1]
_count = POINTS
for _name, _at in TEMPLATE.items():
    if isinstance(_name, str):
        LEFT[_name] = _count
        RIGHT[_name] = _count = _count + (_at[0] != 0)
        _count += 1
N = _count


def _rows(moves: dict[Name, Move], left: float = 1, right: float = 1) -> Array:
    """The moves as one (N, 3) array of x, y, z; points on the midline take the mean of both sides."""
    rows = np.zeros((N, 3), np.float32)
    for name, (outward, down, forward) in moves.items():
        if LEFT[name] == RIGHT[name]:
            rows[LEFT[name]] = np.multiply((0, down, forward), (left + right) / 2)
        else:
            rows[LEFT[name]] = np.multiply((-outward, down, forward), left)
            rows[RIGHT[name]] = np.multiply((outward, down, forward), right)
    return rows


_MEAN = _rows(TEMPLATE).ravel()
_SHAPE_BASIS = np.stack([_rows(moves).ravel() for moves in SHAPES.values()])
_UNIT_BASIS = np.stack([_rows(moves, *side).ravel() for moves in UNITS.values() for side in ((1, 0), (0, 1))])

# Upper against lower edge, which must not cross: lids, inner lips.
_UPPER = np.array([38, 39, 44, 45, 62, 63, 64]) - 1
_LOWER = np.array([42, 41, 48, 47, 68, 67, 66]) - 1
_GAP = np.array([0.9, 0.9, 0.9, 0.9, 0, 0, 0], np.float32)


def head(shape: tuple[float, ...], units: tuple[tuple[float, float], ...]) -> Array:
    """The (N, 3) points in millimetres of a head of this shape, its muscles pulled left and right by `units`."""
    points = _MEAN + np.asarray(shape, np.float32) @ _SHAPE_BASIS
    points += np.asarray(units, np.float32).ravel() @ _UNIT_BASIS
    points = points.reshape(N, 3)
    # Lids and lips that would cross meet halfway.
    overlap = np.maximum(points[_UPPER, 1] + _GAP - points[_LOWER, 1], 0) / 2
    points[_UPPER, 1] -= overlap
    points[_LOWER, 1] += overlap
    return points


def rotation(yaw: float, pitch: float) -> Array:
    """The 3 × 3 rotation by degrees; positive yaw turns the face to the image's right, positive pitch down."""
    a, b = math.radians(yaw), math.radians(pitch)
    turn = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]], np.float32)
    nod = np.array([[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]], np.float32)
    return nod @ turn


# The head turns about the neck, not about the eyes.
PIVOT = np.array([0, 20, -80], np.float32)


def project(points: Array, turn: Array, distance: float) -> Array:
    """The (n, 2) places of (n, 3) points, both in millimetres, for a camera this far in front of the eyes."""
    turned = (points - PIVOT) @ turn.T + PIVOT
    return array(turned[:, :2] * (distance / (distance - turned[:, 2:])))


def spline(n: int, per: int = 6, closed: bool = False) -> Array:
    """The matrix of the Catmull-Rom curve through n points, `per` steps from each to the next.

    Its product with (n, d) points holds every point itself, at each `per`-th row.
    """
    spans = n if closed else n - 1
    matrix = np.zeros((spans * per + (not closed), n), np.float32)
    for row in range(len(matrix)):
        i, step = divmod(row, per)
        t = step / per
        weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3)
        for k, weight in zip(range(i - 1, i + 3), weights, strict=True):
            if closed or 0 <= k < n:
                matrix[row, k % n] += weight / 2
            else:  # beyond an end the curve goes straight on
                end, inner = (0, 1) if k < 0 else (n - 1, n - 2)
                if k > n:
                    continue
                matrix[row, end] += weight
                matrix[row, inner] -= weight / 2
    return matrix


# The ring from ear to ear along the jaw and back over the skull, as rows.
_SKULL = ("skull1", "skull2", "skull3", "skull4", "skull5")
RING = np.array(
    [*range(17), *(RIGHT[n] for n in _SKULL), LEFT["skull6"], *(LEFT[n] for n in reversed(_SKULL))], np.intp
)
RING_STEPS = 4
_RING_CURVE = spline(len(RING), RING_STEPS, closed=True)
OUTLINE = len(_RING_CURVE)
_FRONT = np.float32(14)  # depth of the face's front, in mm


def outline(points: Array, turn: Array) -> Array:
    """The (112, 3) points of the head's visible outline; row 4 i is landmark i + 1 of the jaw.

    Each point of the ring is followed forward over the cheek, along an ellipse that ends at the front of the face, to
    where it is furthest out in the image: that is the outline on the side that is turned away, while on the other side
    it stays at the ear and the jaw, as people mark it.
    """
    ring = array(_RING_CURVE @ points[RING])
    radial = ring[:, :2] - PIVOT[:2]
    length = np.sqrt((radial**2).sum(1)) + 1e-6
    outward = radial / length[:, None]
    depth = np.maximum(_FRONT - ring[:, 2], 0)
    # In the image a step out moves by `gain`, a step forward by `lift`, both measured along the outward direction.
    gain = (outward * (outward @ turn[:2, :2].T)).sum(1)
    lift = outward @ turn[:2, 2]
    angle = np.clip(np.arctan2(depth * lift, length * gain), 0, 1.1)
    cos, sin = np.cos(angle), np.sin(angle)
    flat = PIVOT[:2] + radial * cos[:, None]
    return np.concatenate([flat, (ring[:, 2] + depth * sin)[:, None]], 1).astype(np.float32)
