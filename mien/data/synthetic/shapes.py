"""The polygons of a face, compiled once: each vertex is a weighted sum of the head's points plus millimetres.

So all polygons of a face are one matrix product, and Python does little for each of them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from mien.data.synthetic.anatomy import LEFT, OUTLINE, RIGHT, Array, N, Name, array, spline

POINTS = N + OUTLINE  # the head's points, then its outline

_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False, dtype=np.float32)
CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)


@dataclass(frozen=True)
class Curve:
    """n points: `weights` (n, POINTS) of the head's points, plus `shift` (n, 2), plus a factor times `grow` (n, 2)."""

    weights: Array
    shift: Array
    grow: Array

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, rows: slice) -> "Curve":
        return Curve(self.weights[rows], self.shift[rows], self.grow[rows])

    def moved(self, right: float, down: float) -> "Curve":
        """Every point moved by the same, in pixels of the head's own picture."""
        return Curve(self.weights, self.shift + array([right, down]), self.grow)

    def smooth(self, per: int = 6, closed: bool = False) -> "Curve":
        """A spline through the points, with `per` points for each of them."""
        matrix = spline(len(self), per, closed)
        return Curve(matrix @ self.weights, matrix @ self.shift, matrix @ self.grow)

    def toward(self, centre: "Curve", share: float) -> "Curve":
        """Each point moved by this share of its way to the one point `centre`."""
        weights = self.weights + np.float32(share) * (centre.weights - self.weights)
        return Curve(weights, self.shift + np.float32(share) * (centre.shift - self.shift), self.grow)


def _points(rows: list[int]) -> Curve:
    weights = np.zeros((len(rows), POINTS), np.float32)
    weights[np.arange(len(rows)), rows] = 1
    none = np.zeros((len(rows), 2), np.float32)
    return Curve(weights, none, none)


def at(*names: Name, side: int = 0) -> Curve:
    """These points on the image's left (0) or right (1) side."""
    return _points([(LEFT, RIGHT)[side][name] for name in names])


def across(*names: Name) -> Curve:
    """These points from the image's left to the midline and on, mirrored, to its right."""
    back = [RIGHT[name] for name in reversed(names) if RIGHT[name] != LEFT[name]]
    return _points([LEFT[name] for name in names] + back)


def outline(first: int = 0, last: int = OUTLINE) -> Curve:
    """The points of the head's outline from one row up to another."""
    return _points([N + row % OUTLINE for row in range(first, last)])


def middle(curve: Curve) -> Curve:
    """The mean of these points."""
    mean = np.full((1, len(curve)), 1 / len(curve), np.float32)
    return Curve(mean @ curve.weights, mean @ curve.shift, mean @ curve.grow)


def join(*curves: Curve) -> Curve:
    """One curve of all points, in their order."""
    return Curve(*(np.concatenate([getattr(c, part) for c in curves]) for part in ("weights", "shift", "grow")))


@lru_cache
def taper(n: int, low: float = 0.1) -> Array:
    """Widths of a stroke that is thin at its ends, `low` … 1."""
    thick = np.sin(np.linspace(0, np.pi, n))
    return (low + (1 - low) * thick).astype(np.float32)


def band(curve: Curve, over: tuple[float, float], widths: Array | float) -> Curve:
    """The polygon between a curve and the same curve moved by `over` times `widths` (times the polygon's factor)."""
    grow = array(over) * np.broadcast_to(np.float32(widths), len(curve))[:, None]
    return join(curve, Curve(curve.weights, curve.shift, curve.grow + grow)[::-1])


def stroke(curve: Curve, over: tuple[float, float], width: float) -> Curve:
    """A band that is thin at its ends."""
    return band(curve, over, width * taper(len(curve)))


def _eye(side: int) -> dict[str, Curve]:
    # From left to right, so that x rises along both lids.
    names: tuple[Name, ...] = (37, 38, 39, 40, 42, 41)
    out = -1 if side == 0 else 1
    run = slice(None, None, -out)
    upper = at(*names[:4], side=side)[run].smooth()
    lower = at(37, 42, 41, 40, side=side)[run].smooth()
    fold = upper.moved(0.6 * out, -3.8)
    brow = at(18, 19, 20, 21, 22, side=side).smooth()
    widths = np.interp(np.linspace(0, 4, len(brow)), [0, 1, 2.4, 3.6, 4], [0.6, 4.2, 6.2, 6.8, 5.6])
    return {
        "upper": upper,
        "lower": lower,
        "lid": join(fold, upper[::-1]),
        "fold": stroke(fold, (0, -1), 1.4),
        "bag": stroke(lower.moved(0, 5), (0, 1), 1),
        "white": join(upper, lower[::-1]),
        "lash": band(upper, (0.15 * out, -1), taper(len(upper), 0.25)),
        "lash below": stroke(lower, (0, 1), 1),
        "brow": band(brow, (-0.25 * out, 1), widths.astype(np.float32)),
    }


def _side(side: int) -> dict[str, Curve]:
    """The parts that each side has, besides the eye."""
    out = -1 if side == 0 else 1
    ear = at("ear1", "ear2", "ear3", "ear4", "ear5", "ear6", "ear7", side=side).smooth(4)
    wing = at("wing1", "wing2", 32, side=side).smooth()
    nostril = _points([(LEFT, RIGHT)[side]["nostril"]] * len(CIRCLE))
    nostril = Curve(nostril.weights, CIRCLE * array([3.9, 0]) + array([0, 0.7]) * CIRCLE[:, :1] * out,
                    CIRCLE * array([0, 1.8]))  # fmt: skip
    return {
        "ear": ear,
        "ear hollow": ear.toward(middle(ear), 0.4),
        "wing": stroke(wing, (out, 0.3), 2),
        "nostril": nostril,
    }


def _lines(side: int) -> dict[str, Curve]:
    """Lines of the skin; each name begins with the muscle or trait that draws it."""
    out = -1 if side == 0 else 1

    def line(start: Name, steps: list[tuple[float, float]], over: tuple[float, float], width: float) -> Curve:
        """A stroke through places (outward, down) of a point."""
        place = at(start, side=side)
        curve = join(*(place.moved(right * out, down) for right, down in steps)).smooth()
        return stroke(curve, over, width)

    eye = at(37, 42, 41, 40, side=side).smooth()
    brows = at(18, 19, 20, 21, 22, side=side).smooth()
    return {
        "fold": stroke(at("fold1", "fold2", "fold3", "fold4", side=side).smooth(), (out, 0.3), 2.2),
        "corner": line(49, [(0.5, 0), (2.5, 5), (3, 11)], (out, 0), 1.6),
        "foot 1": line(37, [(2, -2), (6, -4), (11, -7)], (0, 1), 1.1),
        "foot 2": line(37, [(2, 0), (6, 0.6), (11, 1)], (0, 1), 1.1),
        "foot 3": line(37, [(2, 2), (6, 4), (11, 7)], (0, 1), 1.1),
        "bag": stroke(eye.moved(0, 3), (0, 1), 1.7),
        "frown": line(22, [(-6, -5), (-6.5, 3), (-5, 10)], (out, 0), 1.7),
        "bridge 1": line(28, [(1, 2), (6, 0), (11, 5)], (0, 1), 1.4),
        "bridge 2": line(28, [(1, 7), (6, 5), (11, 11)], (0, 1), 1.4),
        "bridge 3": line(28, [(1, 12), (6, 10), (11, 17)], (0, 1), 1.4),
        "forehead 1": stroke(brows[4:].moved(-2 * out, -9), (0, 1), 1.4),
        "forehead 2": stroke(brows[4:].moved(-2 * out, -17), (0, 1), 1.4),
        "forehead 3": stroke(brows[4:].moved(-2 * out, -25), (0, 1), 1.4),
    }


def _rest() -> dict[str, Curve]:
    """The parts in the middle."""
    top, bottom = across(49, 50, 51, 52).smooth(), across(49, 60, 59, 58).smooth()
    upper, lower = across(49, 61, 62, 63).smooth(), across(49, 61, 68, 67).smooth()
    bridge = across(28, 29, 30, 31).smooth()
    jaw = outline(0, 65)
    chin = outline(12, 53)
    under = chin.toward(at(9), 0.12).moved(0, 7)
    left, right = at("neck1", "neck2", "neck3", "neck4"), at("neck1", "neck2", "neck3", "neck4", side=1)
    collar = middle(across("neck3")).moved(0, 20)
    cheek = join(at("beard1", "beard2", "beard3", "fold3", 50), at(34).moved(0, 6),
                 at(50, "fold3", "beard3", "beard2", "beard1", side=1)).smooth()  # fmt: skip
    goatee = join(at(49).moved(-3, 1), at(60).moved(-9, 8), at(8).moved(-3, -5), at(9).moved(0, 1),
                  at(8, side=1).moved(3, -5), at(60, side=1).moved(9, 8), at(49, side=1).moved(3, 1))  # fmt: skip
    goatee = goatee.smooth()
    moustache = join(at(49).moved(-2, 2), at(50).moved(-3, -2), at(34).moved(-7, 4), at(34).moved(0, 5.5),
                     at(34).moved(7, 4), at(50, side=1).moved(3, -2), at(49, side=1).moved(2, 2)).smooth()  # fmt: skip
    return {
        "head": outline(),
        "jaw": join(jaw, jaw.toward(at(31), 0.03)[::-1]),
        "neck": join(left[:3], right[2::-1]),
        "neck shade": join(chin, under[::-1]),
        "shirt": join(
            left[3:], left[2:3], collar, right[2:3], right[3:], right[3:].moved(0, 60), left[3:].moved(0, 60)
        ),
        "nose base": stroke(across(32, 33, 34).smooth(), (0, 1), 2),
        "bridge": join(bridge.moved(-1.7, 0), bridge.moved(1.7, 0)[::-1]),
        "top": top,
        "bottom": bottom,
        "upper": upper,
        "lower": lower,
        "teeth": across("edge4", "edge3", "edge2", "edge1").smooth(),
        "low teeth": across("low4", "low3", "low2", "low1").smooth(),
        "upper lip": join(top, upper[::-1]),
        "lower lip": join(upper, bottom[::-1]),
        "mouth": join(upper, lower[::-1]),
        "seam": stroke(upper, (0, 1), 0.9),
        "lips shade": stroke(bottom.moved(0, 1.2), (0, 1), 3.4),
        "lips shine": stroke(bottom[11:-11].moved(0, -4.2), (0, 1), 1.7),
        "full": join(outline(6, 59), cheek[::-1]),
        "goatee": join(goatee, top[::-1]),
        "moustache": join(moustache, top[::-1]),
        "lips": join(top, bottom[::-1]),
        "hairline": across("hair1", "hair2", "hair3", "hair4", "hair5").smooth(),
        "crown": outline(64, OUTLINE + 1),  # from the right ear over the skull to the left one
        "mane": outline(46, OUTLINE + 19),  # the same from jaw to jaw
    }


_curves = _rest()
for _side_ in (0, 1):
    for _part in (_eye(_side_), _side(_side_), {f"line {k}": c for k, c in _lines(_side_).items()}):
        _curves |= {f"{name} {'LR'[_side_]}": curve for name, curve in _part.items()}

NAMES = tuple(_curves)
_all = join(*_curves.values())
_weights = csr_array(_all.weights)  # most weights are 0
_lengths = np.array([len(c) for c in _curves.values()])
_ends = np.cumsum(_lengths)
SLICES = {name: slice(int(e - n), int(e)) for name, n, e in zip(NAMES, _lengths, _ends, strict=True)}
INDEX = {name: k for k, name in enumerate(NAMES)}
# The lines of the skin by what draws them, as `line bridge 2 L`.
LINES: dict[str, list[str]] = {}
for _name in NAMES:
    if _name.startswith("line "):
        LINES.setdefault(_name.split()[1], []).append(_name)


def place(points: Array, factors: dict[str, float]) -> Array:
    """All vertices (m, 2) from the (POINTS, 2) points of a head; `factors` are those of the bands named there."""
    factor = np.ones(len(NAMES), np.float32)
    for name, value in factors.items():
        factor[INDEX[name]] = value
    vertices: Array = _weights @ points + _all.shift + _all.grow * np.repeat(factor, _lengths)[:, None]
    return vertices
