"""Draws one face: flat colours by polygons at a multiple of the size, then light, lines of the skin, blur and noise."""

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.synthetic.anatomy import LEFT, RIGHT, UNITS, Array, array
from mien.data.synthetic.light import light
from mien.data.synthetic.parameters import RGB, Face, mix, times
from mien.data.synthetic.pose import Pose
from mien.data.synthetic.shapes import CIRCLE, LINES, SLICES, place, taper
from mien.errors import MienError

Image = NDArray[np.uint8]
Places = NDArray[np.int32]
_DETAIL = 144  # polygons are drawn on at least so many pixels a side
_BITS = 4  # of a pixel's fraction, for OpenCV's `shift`


def _pixels(image: NDArray[Any]) -> Image:
    return image.astype(np.uint8, copy=False)


_LUMA = (0.299, 0.587, 0.114)


class Canvas:
    """The layers of a picture and the polygons of a face, which are drawn on them by name or in millimetres.

    `picture` has the colours, (side, side) of gray or (side, side, 3), without light. `head` is where light falls,
    `lines` the darker and lighter lines of the skin (128: none), `fuzz` short hair over skin.
    """

    def __init__(self, face: Face, pose: Pose, size: int, gray: bool, rng: np.random.Generator) -> None:
        fold = max(1, -(-_DETAIL // size))
        side = size * fold
        self.gray = gray
        # With few pixels to average over, edges are smoothed as they are drawn.
        self._edges = cv2.LINE_AA if fold < 3 else cv2.LINE_8
        self._tint = tuple(t * luma for t, luma in zip(face.tint, _LUMA, strict=True)) if gray else face.tint
        self.layers = np.zeros((3, side, side), np.uint8)
        self.head, self.lines, self.fuzz = self.layers
        self.lines[:] = 128
        self.picture = self._background(face, rng)
        # From millimetres to pixel centres in fixed point.
        matrix = pose.affine * np.float32(side << _BITS)
        matrix[:, 2] -= (1 << _BITS - 1) - 0.5
        self._matrix = matrix
        self.places = place(pose.plane, _factors(face))
        self._pixels = self.pixels(self.places)

    def __getitem__(self, name: str) -> Array:
        """The places of a curve, in millimetres."""
        return self.places[SLICES[name]]

    def pixels(self, points: Array) -> Places:
        """Millimetres (…, 2) to fixed point."""
        there = array(cv2.transform(points.reshape(-1, 1, 2), self._matrix))
        return np.floor(there).astype(np.int32).reshape(points.shape)

    def tone(self, color: RGB) -> Any:
        """A colour under the light's tint, as the picture has it."""
        (r, g, b), tint = color, self._tint
        if self.gray:
            return tint[0] * r + tint[1] * g + tint[2] * b
        return tint[0] * r, tint[1] * g, tint[2] * b

    def paint(self, color: RGB, *shapes: str | Places) -> None:
        """Fill polygons of the picture, each given by its name or by its vertices."""
        self.fill(self.picture, self.tone(color), *shapes)

    def fill(self, layer: Image, value: Any, *shapes: str | Places) -> None:
        """Fill polygons of a layer at once; where two of them overlap, nothing is filled."""
        vertices = [self._pixels[SLICES[s]] if isinstance(s, str) else s for s in shapes]
        cv2.fillPoly(layer, vertices, value, self._edges, _BITS)

    def _background(self, face: Face, rng: np.random.Generator) -> Image:
        side = self.layers.shape[1]
        patches = 60 * face.clutter * rng.standard_normal((4, 4, 1)) + 8 * rng.standard_normal((4, 4, 3))
        patches = np.clip(patches + face.background, 0, 255)
        if self.gray:
            patches = patches @ np.array(_LUMA)
        return _pixels(cv2.resize(_pixels(patches), (side, side), interpolation=cv2.INTER_LINEAR))


def _factors(face: Face) -> dict[str, float]:
    """How wide the bands are that differ between people."""
    widths = {
        "nostril": 1 - 0.03 * face.pitch,
        "brow": face.brow_thickness,
        "bag": 1 + face.age,
        "lash": 1.2 + 1.2 * face.makeup,
        "lash below": 0.5 + 0.5 * face.makeup,
    }
    return {f"{name} {side}": width for name, width in widths.items() for side in "LR"}


def _clip(points: Array, upper: Array, lower: Array) -> Array:
    """These points moved vertically into the region between two curves that run from left to right."""
    x = np.minimum(np.maximum(points[:, 0], upper[0, 0]), upper[-1, 0])
    clipped = np.empty_like(points)
    clipped[:, 0] = x
    high = np.interp(x, upper[:, 0], upper[:, 1])
    low = np.interp(x, lower[:, 0], lower[:, 1])
    clipped[:, 1] = np.maximum(np.minimum(points[:, 1], low), high)
    return clipped


# Inner corner, iris with its rim, iris, pupil, glint.
_DISCS = array([1.6, 6.2, 5, 3.1, 1.2])[:, None, None] * CIRCLE


def _eyes(canvas: Canvas, face: Face, pose: Pose) -> None:
    lid = times(face.skin, 0.94)
    if face.makeup:
        shadow = face.skin[0] * 0.6, face.skin[1] * 0.48, face.skin[2] * 0.54
        lid = mix(lid, shadow, 0.75 * face.makeup)
    lash = mix(times(face.skin, 0.3), (14, 10, 12), 0.5 + 0.5 * face.makeup)
    white = mix((226, 222, 218), face.skin, 0.25)
    white = times(white, min(1, face.exposure**-0.6))
    colors = ((190, 122, 112), times(face.iris, 0.45), face.iris, (12, 10, 12), (250, 250, 250))
    discs = array([(0, 0), face.gaze, face.gaze, face.gaze, face.gaze])
    discs[4] += (2.2 if face.light[0] > 0 else -2.2, -2)  # the glint
    inside = []
    for side, rows, out in (("L", LEFT, -1), ("R", RIGHT, 1)):
        upper, lower = canvas[f"upper {side}"], canvas[f"lower {side}"]
        places = discs + pose.plane[[rows[40], *[rows["iris"]] * 4]]
        places[0, 0] += 0.8 * out
        shade = [upper, (upper + array([0, 1.6]))[::-1]]
        parts = _clip(np.concatenate([(places[:, None] + _DISCS).reshape(-1, 2), *shade]), upper, lower)
        inside.append(canvas.pixels(parts))
    left, right = inside
    canvas.paint(lid, "lid L", "lid R")
    canvas.fill(canvas.lines, 84, "fold L", "fold R")
    canvas.fill(canvas.lines, 108, "bag L", "bag R")
    canvas.paint(white, "white L", "white R")
    for k, color in enumerate(colors):
        canvas.paint(color, left[24 * k : 24 * k + 24], right[24 * k : 24 * k + 24])
    canvas.fill(canvas.lines, 92, left[120:], right[120:])
    canvas.paint(lash, "lash L", "lash R")
    canvas.paint(times(face.skin, 0.52), "lash below L", "lash below R")
    canvas.fill(canvas.fuzz, 255 * face.brow_strength, "brow L", "brow R")


def _nose(canvas: Canvas, face: Face) -> None:
    canvas.fill(canvas.lines, 74, "nose base")
    canvas.fill(canvas.lines, 134, "bridge")
    canvas.fill(canvas.lines, 70, "wing L", "wing R")
    canvas.paint(times(face.skin, 0.3), "nostril L", "nostril R")


def _mouth(canvas: Canvas, face: Face) -> None:
    canvas.paint(times(face.lips, 1.04), "lower lip")
    canvas.paint(times(face.lips, 0.88), "upper lip")
    upper, lower = canvas["upper"], canvas["lower"]
    if (lower - upper)[:, 1].max() > 0.7:
        canvas.paint((46, 16, 18), "mouth")
        edge, low = canvas["teeth"], canvas["low teeth"]
        gaps = edge[6:31:4, None] + array([(-0.3, -11), (0.3, -11), (0, 0)])
        tongue = low[18] + array([0, 11]) + CIRCLE * array([15, 8])
        parts = [tongue, low, (low + array([0, 9]))[::-1], edge - array([0, 11]), edge[::-1], upper]
        parts += [(upper + array([0, 1.7]))[::-1], gaps.reshape(-1, 2)]
        inside = canvas.pixels(_clip(np.concatenate(parts), upper, lower))
        teeth = times((236, 231, 220), min(1, face.exposure**-0.6))
        canvas.paint((148, 70, 70), inside[:24])
        canvas.paint(times(teeth, 0.82), inside[24:98])
        canvas.paint(teeth, inside[98:172])
        canvas.fill(canvas.lines, 92, inside[172:246])
        canvas.fill(canvas.lines, 108, *inside[246:].reshape(-1, 3, 2))
    canvas.paint(times(face.lips, 0.4), "seam")
    canvas.fill(canvas.lines, 100, "lips shade")
    canvas.fill(canvas.lines, 141, "lips shine")


def _wrinkles(canvas: Canvas, face: Face, pose: Pose) -> None:
    """The lines that muscles and years draw; each is as dark as its muscle is strong."""
    age = 0.5 * face.age
    unit = dict(zip(UNITS, pose.units.mean(1).tolist(), strict=True))
    fold = max(unit["corner_pull"], unit["nose_wrinkle"], 0.8 * unit["upper_lip_raise"])
    raised = (unit["inner_brow_raise"] + unit["outer_brow_raise"]) / 2
    strength = {
        "fold": 0.1 + 0.5 * age + 0.65 * fold,
        "corner": 0.6 * age + 0.55 * unit["corner_depress"],
        "foot": 0.5 * age + 0.6 * unit["cheek_raise"],
        "bag": 0.3 * age + 0.5 * max(unit["cheek_raise"], unit["lid_tighten"]),
        "frown": 0.3 * age + 0.75 * unit["brow_lower"],
        "bridge": 0.8 * unit["nose_wrinkle"],
        "forehead": 0.4 * age + 0.55 * raised,
    }
    for kind, dark in strength.items():
        if dark > 0.08:
            canvas.fill(canvas.lines, 128 - 80 * min(dark, 1), *LINES[kind])


def _freckles(canvas: Canvas, face: Face, pose: Pose, rng: Any) -> None:
    if not face.freckles:
        return
    spots = rng.normal(0, (16, 9), (40, 2)) * array([1, 1])
    spots[:, 1] -= 0.008 * spots[:, 0] ** 2 - 3  # over the nose and down the cheeks
    middle = pose.plane[[LEFT["cheek"], RIGHT["cheek"]]].mean(0) - array([0, 4])
    dots = middle + array(spots * (1.7, 1))[:, None] + CIRCLE[::4] * np.float32(0.9)
    canvas.fill(canvas.lines, 128 - 40 * face.freckles, *canvas.pixels(dots))


def _neck(canvas: Canvas, face: Face) -> None:
    color = times(face.cloth, 0.85) if face.hair == "scarf" else times(face.skin, 0.66)
    canvas.paint(color, "neck")
    canvas.fill(canvas.head, 0, "neck")
    canvas.paint(times(color, 0.68), "neck shade")
    canvas.paint(face.shirt, "shirt")


def _head(canvas: Canvas, face: Face) -> None:
    if face.hair not in ("long", "scarf", "curly"):
        canvas.paint(times(face.skin, 0.9), "ear L", "ear R")
        canvas.fill(canvas.head, 255, "ear L", "ear R")
        canvas.fill(canvas.lines, 92, "ear hollow L", "ear hollow R")
    canvas.paint(face.skin, "head")
    canvas.fill(canvas.head, 255, "head")
    canvas.fill(canvas.lines, 128, "head")
    canvas.fill(canvas.lines, 104, "jaw")


def _grown(curve: Array, centre: Array, by: Array | float) -> Array:
    """A curve moved outwards from a centre, by millimetres."""
    away = curve - centre
    away *= (np.float32(by) / np.sqrt((away * away).sum(1)))[:, None]
    return away + curve


_HAIR_THICKNESS = {"buzz": 1.5, "back": 4, "beanie": 9, "scarf": 9, "fringe": 10, "long": 10, "curly": 16, "short": 9,
                   "parted": 9}  # fmt: skip


def _hair_behind(canvas: Canvas, face: Face, pose: Pose) -> None:
    if face.hair not in ("long", "scarf", "curly"):
        return
    color = times(face.cloth, 0.8) if face.hair == "scarf" else times(face.hair_color, 0.8)
    centre = pose.plane[[0, 16]].mean(0)
    if face.hair == "curly":
        curve = canvas["mane"]
        waves = 3.5 * np.abs(np.sin(np.arange(len(curve), dtype=np.float32) * 0.8 + face.part))
        shape = _grown(curve, centre, 12 + 18 * face.hair_volume + waves)
    else:
        crown = _grown(canvas["crown"], centre, 10 + 14 * face.hair_volume)
        wide = 8 + 14 * face.hair_volume
        falls = array([(wide * 0.4, 50), (wide * 0.6, 110), (0.2 * wide, 200)])
        left = (crown[-1] + falls * array([-1, 1]))[::-1]
        shape = np.concatenate([left, crown[::-1], crown[0] + falls])
    vertices = canvas.pixels(shape)
    canvas.paint(color, vertices)
    canvas.fill(canvas.head, 255, vertices)


# Along the hairline, from ear to ear: −1 … 1, and weights that are 0 at the ears.
_ACROSS = np.linspace(-1, 1, 49, dtype=np.float32)
_TOP = 1 - _ACROSS**2
_BROAD = 1 - _ACROSS**4


def _hairline(canvas: Canvas, face: Face, rng: Any) -> Array:
    """From the image's left ear over the forehead to the right one."""
    line = canvas["hairline"].copy()
    brows = np.concatenate([canvas["brow L"][:25], canvas["brow R"][24::-1]])
    if face.hair == "fringe":
        line[:, 1] += 36 * _BROAD - 2 + 3 * rng.random(49, np.float32) * _TOP
    elif face.hair in ("parted", "long"):
        line[:, 1] += 22 * np.abs(_ACROSS - 0.6 * face.part) ** 1.3 * _BROAD - 4
    elif face.hair == "beanie":
        line[:, 1] += 22 * _TOP - 6
    elif face.hair == "scarf":
        line[:, 1] += 10 * _TOP
    else:
        line[:, 1] += 3 * rng.random(49, np.float32) * _TOP
    line[3:-3, 1] = np.minimum(line[3:-3, 1], np.interp(line[3:-3, 0], brows[:, 0], brows[:, 1]) - 2)
    return line


_STRAND_ROWS = np.arange(0, 15, 2)
_STRAND_SHARE = np.linspace(0, 1, 8, dtype=np.float32)[:, None]
_STRAND = taper(8, 0)[:, None]


def _hair(canvas: Canvas, face: Face, pose: Pose, rng: Any) -> None:
    if face.hair == "bald":
        return
    crown = canvas["crown"]
    by = _HAIR_THICKNESS[face.hair] * (0.6 + 0.7 * face.hair_volume) * taper(len(crown), 0.08)
    outer = _grown(crown, pose.plane[[0, 16]].mean(0), by)  # from right to left
    line = _hairline(canvas, face, rng)
    cap = canvas.pixels(np.concatenate([outer, line]))
    canvas.fill(canvas.head, 255, cap)
    if face.hair == "buzz":
        canvas.fill(canvas.fuzz, 190, cap)
        return
    color = face.cloth if face.hair in ("scarf", "beanie") else face.hair_color
    canvas.paint(color, cap)
    if face.hair in ("scarf", "beanie"):
        hem = np.concatenate([line, (line - array([0, 9 if face.hair == "beanie" else 3]))[::-1]])
        canvas.paint(times(color, 0.8), canvas.pixels(hem))
        return
    # Strands, darker ones and lighter ones: along the hairline where the hair is parted, else from it to the crown.
    n = 14
    crown = outer[::-1]
    if face.hair in ("parted", "long", "fringe"):
        share = rng.random((n, 1, 1), np.float32)
        rows = rng.integers(0, 34, (n, 1)) + _STRAND_ROWS
        strands = line[rows]
        away = crown[rows] - strands
        strands += away * share
        away *= _STRAND * np.float32(0.06)
    else:
        rows = rng.integers(2, 47, n)
        strands = line[rows, None]
        strands = strands + (crown[rows + rng.integers(-2, 3, n), None] - strands) * _STRAND_SHARE
        away = _STRAND * array([2.2, 0])
    places = canvas.pixels(np.concatenate([strands - away, (strands + away)[:, ::-1]], 1))
    canvas.paint(times(color, 0.8), *places[: n // 2])
    canvas.paint(mix(times(color, 1.15), (150, 130, 110), 0.1), *places[n // 2 :])


def _beard(canvas: Canvas, face: Face) -> None:
    if face.beard == "none":
        return
    dark = 90 if face.beard == "stubble" else 220
    parts = {"stubble": ("full", "moustache"), "full": ("full", "moustache"), "goatee": ("goatee", "moustache")}
    for part in parts.get(face.beard, ("moustache",)):
        canvas.fill(canvas.fuzz, dark, part)
    canvas.fill(canvas.fuzz, 0, "lips")


def _glasses(canvas: Canvas, face: Face, pose: Pose) -> None:
    if face.glasses == "none":
        return
    power = {"round": 1.0, "square": 0.45, "half": 0.6}[face.glasses]
    unit = np.sign(CIRCLE) * np.abs(CIRCLE) ** np.float32(power)
    centres = []
    for rows, out in ((LEFT, -1), (RIGHT, 1)):
        centre = pose.plane[rows["iris"]] + array([2 * out, 3])
        lens = centre + unit * array([22, 17.5])
        rim = centre + unit * array([20.4, 15.9])
        if face.glasses == "half":
            rim[:13] = lens[:13]
        canvas.fill(canvas.lines, 138, canvas.pixels(rim))
        frame = canvas.pixels(np.concatenate([lens, lens[:1], rim[:1], rim[:0:-1]]))
        canvas.paint(face.frame, frame)
        canvas.fill(canvas.fuzz, 0, frame)
        hinge = centre + array([22 * out, -5])
        ear = pose.plane[rows["ear1"]]
        if (ear[0] - hinge[0]) * out > 0:
            temple = np.stack([hinge, ear, ear + array([0, 1.6]), hinge + array([0, 2.6])])
            canvas.paint(face.frame, canvas.pixels(temple))
        centres.append(centre)
    left, right = centres[0] + array([21, -4]), centres[1] + array([-21, -4])
    arch = np.stack([left, (left + right) / 2 - array([0, 3]), right])
    canvas.paint(face.frame, canvas.pixels(np.concatenate([arch, (arch + array([0, 1.8]))[::-1]])))


def _develop(canvas: Canvas, face: Face, pose: Pose, size: int, rng: np.random.Generator) -> Image:
    """Light, blur and noise over the layers."""

    def small(layer: Image) -> Array:
        if len(layer) != size:
            layer = _pixels(cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA))
        return layer.astype(np.float32)

    head, lines, fuzz = (small(layer) for layer in canvas.layers)
    per_mm = size * float(np.hypot(*pose.affine[:, 0]))
    if per_mm > 0.4:
        fuzz = array(cv2.GaussianBlur(fuzz, (0, 0), 0.8 * per_mm))
        lines = array(cv2.GaussianBlur(lines, (0, 0), 0.8 * per_mm))
    head *= np.float32(1 / 255)
    fuzz *= np.float32(1 / 255)
    shade, gloss = light(face, pose, size)
    shade *= lines
    shade *= np.float32(1 / 128)
    shade -= 1
    shade *= head
    shade += 1
    gloss *= head
    gloss *= np.float32(34 * face.gloss)
    noise = rng.standard_normal((size, size), dtype=np.float32)
    noise *= np.float32(face.noise)
    planes = []
    hair = canvas.tone(times(face.hair_color, 0.8))
    for layer, tone in zip(cv2.split(canvas.picture), [hair] if canvas.gray else hair, strict=True):
        plane = small(_pixels(layer))
        plane += (np.float32(tone) - plane) * fuzz
        plane *= shade
        plane += gloss
        if face.blur * size > 300:
            plane = array(cv2.GaussianBlur(plane, (0, 0), face.blur * size / 1000))
        plane *= np.float32(face.exposure * face.contrast)
        plane += np.float32(120 * (1 - face.contrast) + 0.5)
        plane += noise
        planes.append(np.minimum(np.maximum(plane, 0), 255))
    return _pixels(planes[0] if canvas.gray else np.stack(planes, 2))


def draw(face: Face, size: int = 48, color: Literal["gray", "rgb"] = "gray") -> tuple[Image, Array]:
    """The image of a face, uint8 (size, size) or (size, size, 3), and its landmarks, float32 (68, 2).

    Landmarks are (x, y) in pixels, centres from 0, in iBUG's order; all lie inside the image. The same face at another
    size is the same picture, its landmarks scaled: (p + 0.5) · s − 0.5. Only the noise is of each size's own pixels.
    """
    if size < 8:
        raise MienError(f"a face cannot be drawn on {size} pixels", key="size", expected="at least 8")
    rng = np.random.default_rng(face.texture)
    pose = Pose(face)
    canvas = Canvas(face, pose, size, color == "gray", rng)
    _hair_behind(canvas, face, pose)
    _neck(canvas, face)
    _head(canvas, face)
    _wrinkles(canvas, face, pose)
    _freckles(canvas, face, pose, rng)
    _beard(canvas, face)
    _nose(canvas, face)
    _mouth(canvas, face)
    _eyes(canvas, face, pose)
    _hair(canvas, face, pose, rng)
    _glasses(canvas, face, pose)
    image = _develop(canvas, face, pose, size, rng)
    landmarks = pose.landmarks @ pose.affine[:, :2].T + pose.affine[:, 2]
    return image, landmarks * np.float32(size) - np.float32(0.5)
