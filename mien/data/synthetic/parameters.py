"""The parameters of a drawn face, and a random sample of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np

from mien.data.synthetic.anatomy import SHAPES, UNITS

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

T = TypeVar("T")
RGB = tuple[float, float, float]
Hair = Literal["bald", "buzz", "short", "parted", "fringe", "back", "long", "curly", "scarf", "beanie"]
Beard = Literal["none", "stubble", "moustache", "goatee", "full"]
Glasses = Literal["none", "round", "square", "half"]


@dataclass(frozen=True)
class Face:
    """All parameters of one face; lengths in millimetres, angles in degrees, colours 0 … 255.

    `units` holds the strength of each muscle of `anatomy.UNITS` on the image's left and right side, `shape` each
    measure of `anatomy.SHAPES` in standard deviations.
    """

    expression: int  # index into CLASSES
    intensity: float  # 0 … 1
    units: tuple[tuple[float, float], ...]
    shape: tuple[float, ...]
    yaw: float  # positive: turned to the image's right
    pitch: float  # positive: looking down
    roll: float  # positive: clockwise in the image
    distance: float  # from the camera to the eyes
    zoom: float  # side of the frame over the usual 162 mm
    shift: tuple[float, float]  # of the face in the frame, in sides
    light: tuple[float, float]  # where the light comes from: right and down, as parts of a unit vector
    ambient: float  # share of light without direction, 0 … 1
    exposure: float
    contrast: float
    tint: RGB  # colour of the light, about 1
    skin: RGB
    gloss: float  # 0 … 1
    age: float  # 0 … 1: how deep lines are at rest
    freckles: float  # 0 … 1
    lips: RGB
    makeup: float  # 0 … 1: lashes and eye shadow
    iris: RGB
    gaze: tuple[float, float]
    hair: Hair
    hair_color: RGB
    hair_volume: float  # 0 … 1
    part: float  # where the hair is parted, −1 … 1
    cloth: RGB  # scarf or beanie
    shirt: RGB
    brow_thickness: float
    brow_strength: float  # 0 … 1: how dark they are beside the hair
    beard: Beard
    glasses: Glasses
    frame: RGB
    background: RGB
    clutter: float  # 0 … 1: contrast of the background
    blur: float  # sigma in thousandths of the image's side
    noise: float  # sigma in gray levels
    texture: int  # seed of strands, freckles, background and noise


# How strongly each muscle takes part at full intensity; each expression has several ways to look, with their weights.
# After the prototypes of FACS (Ekman, Friesen and Hager, 2002, table 10-2).
EXPRESSIONS: dict[str, tuple[tuple[float, dict[str, float]], ...]] = {
    "angry": (
        (0.5, {"brow_lower": 1.1, "upper_lid_raise": 0.6, "lid_tighten": 0.7, "lip_press": 1, "chin_raise": 0.4,
               "corner_depress": 0.25}),
        (0.3, {"brow_lower": 1.1, "upper_lid_raise": 0.6, "lid_tighten": 0.8, "lips_part": 0.9, "upper_lip_raise": 0.5,
               "lower_lip_depress": 0.9, "lip_stretch": 0.3, "corner_depress": 0.3}),
        (0.2, {"brow_lower": 1.1, "upper_lid_raise": 0.5, "lid_tighten": 0.7, "lips_part": 0.7, "upper_lip_raise": 0.5,
               "lower_lip_depress": 0.7, "jaw_drop": 0.7, "lip_stretch": 0.2}),
    ),
    "disgust": (
        (0.55, {"nose_wrinkle": 1, "upper_lip_raise": 1, "brow_lower": 0.3, "lid_tighten": 0.6, "cheek_raise": 0.6,
                "chin_raise": 0.5, "corner_depress": 0.5}),
        (0.45, {"nose_wrinkle": 1, "upper_lip_raise": 1, "brow_lower": 0.3, "lid_tighten": 0.6, "cheek_raise": 0.6,
                "lips_part": 0.5, "lower_lip_depress": 0.4, "corner_depress": 0.6, "jaw_drop": 0.12}),
    ),
    "fear": (
        (0.6, {"inner_brow_raise": 1.2, "outer_brow_raise": 0.4, "brow_lower": 0.7, "upper_lid_raise": 1,
               "lip_stretch": 1, "lips_part": 0.9, "jaw_drop": 0.28, "lower_lip_depress": 0.5}),
        (0.4, {"inner_brow_raise": 1.2, "outer_brow_raise": 0.5, "brow_lower": 0.7, "upper_lid_raise": 1.1,
               "lip_stretch": 0.9, "lips_part": 0.7, "jaw_drop": 0.65, "lower_lip_depress": 0.4}),
    ),
    "happy": (
        (0.5, {"cheek_raise": 0.8, "corner_pull": 1, "lips_part": 1, "upper_lip_raise": 0.15}),
        (0.25, {"cheek_raise": 1, "corner_pull": 1.1, "lips_part": 1, "jaw_drop": 0.45, "upper_lip_raise": 0.1}),
        (0.25, {"cheek_raise": 0.7, "corner_pull": 1}),
    ),
    "sad": (
        (0.7, {"inner_brow_raise": 1.2, "brow_lower": 0.4, "corner_depress": 1.1, "lid_droop": 1, "chin_raise": 0.5}),
        (0.3, {"inner_brow_raise": 1.2, "brow_lower": 0.5, "corner_depress": 1.2, "lid_droop": 0.9, "cheek_raise": 0.4,
               "lips_part": 0.5, "lip_stretch": 0.3}),
    ),
    "surprise": (
        (0.65, {"inner_brow_raise": 0.9, "outer_brow_raise": 1.1, "upper_lid_raise": 0.9, "jaw_drop": 1,
                "lips_part": 0.6, "lip_funnel": 0.8}),
        (0.35, {"inner_brow_raise": 0.9, "outer_brow_raise": 1.1, "upper_lid_raise": 0.9, "jaw_drop": 0.55,
                "lips_part": 0.6, "lip_funnel": 0.9}),
    ),
    "neutral": ((0.85, {}), (0.15, {"lips_part": 0.6, "jaw_drop": 0.06})),
}  # fmt: skip

# Skin from light to dark, hair, irises, lipstick; sRGB.
_SKIN: tuple[RGB, ...] = (
    (250, 214, 188), (243, 198, 166), (230, 178, 142), (209, 156, 119), (180, 126, 90), (146, 97, 67), (110, 71, 49),
    (82, 54, 40),
)  # fmt: skip
_HAIR: tuple[RGB, ...] = ((28, 24, 24), (52, 36, 28), (88, 58, 38), (130, 90, 54), (190, 150, 96), (150, 70, 36))
_GRAY_HAIR = (178, 176, 174)
_IRIS: tuple[RGB, ...] = ((66, 42, 26), (92, 62, 34), (104, 98, 56), (92, 118, 138), (84, 116, 92))
_LIPSTICK: tuple[RGB, ...] = ((168, 44, 56), (190, 84, 92), (140, 36, 66))
# How a child's face differs from the usual one, in the units of `Face.shape`.
_CHILD = {"length": -1.3, "chin_length": -1, "jaw_width": -0.7, "eye_size": 1.3, "nose_length": -1.4, "nose_depth": -1,
          "brow_height": 0.5, "ears": -0.5}  # fmt: skip


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """The colour that is this share of the way from `a` to `b`."""
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share


def times(a: RGB, by: float) -> RGB:
    """A colour, darker or lighter."""
    return a[0] * by, a[1] * by, a[2] * by


@lru_cache(maxsize=64)
def _order(seed: int, block: int) -> list[int]:
    return [int(k) for k in np.random.default_rng((seed, block, 1)).permutation(7)]


def label(seed: int, index: int) -> int:
    """The class of face `index`: each run of seven faces has every class once, in an order of its own."""
    return _order(seed, index // 7)[index % 7]


class _Chance:
    """Random numbers of one face, read in turn from one draw, which is quick."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._uniform: Iterator[float] = iter(rng.random(80).tolist())
        self._normal: Iterator[float] = iter(np.clip(rng.standard_normal(60), -2.3, 2.3).tolist())

    def uniform(self, low: float = 0, high: float = 1) -> float:
        return low + (high - low) * next(self._uniform)

    def normal(self, sd: float = 1) -> float:
        """Cut off at 2.3 standard deviations."""
        return sd * next(self._normal)

    def happens(self, probability: float) -> bool:
        return next(self._uniform) < probability

    def pick(self, options: Iterable[tuple[T, float]]) -> T:
        """One of the options, drawn by their weights."""
        options = list(options)
        at = next(self._uniform) * sum(weight for _, weight in options)
        for option, weight in options[:-1]:
            at -= weight
            if at < 0:
                return option
        return options[-1][0]


def _muscles(expression: int, intensity: float, chance: _Chance) -> tuple[tuple[float, float], ...]:
    """The strength of each muscle on both sides."""
    way = chance.pick((way, weight) for weight, way in EXPRESSIONS[CLASSES[expression]])
    # Some faces carry a trace of another expression.
    other = EXPRESSIONS[CLASSES[int(chance.uniform(0, 7))]][0][1]
    trace = chance.uniform(0.1, 0.4) if chance.happens(0.12) else 0.0
    tilt = chance.normal(0.09)  # one side is often the stronger
    pulls = []
    for name in UNITS:
        pull = intensity * way.get(name, 0) + trace * other.get(name, 0)
        pull = pull * (1 + chance.normal(0.16)) + abs(chance.normal(0.03))
        lean = tilt + chance.uniform(-0.06, 0.06)
        pulls.append((min(pull * (1 + lean), 1.3), min(pull * (1 - lean), 1.3)))
    return tuple(pulls)


def _hair(chance: _Chance, female: bool, fair: bool, age: float) -> tuple[Hair, RGB]:
    styles: tuple[tuple[Hair, float], ...] = (
        (("long", 0.42), ("fringe", 0.16), ("back", 0.16), ("curly", 0.12), ("parted", 0.06), ("scarf", 0.06),
         ("beanie", 0.02))
        if female
        else (("short", 0.36), ("parted", 0.2), ("buzz", 0.14), ("bald", 0.1), ("fringe", 0.06), ("curly", 0.08),
              ("beanie", 0.06))
    )  # fmt: skip
    weights = (0.3, 0.3, 0.2, 0.12, 0.12, 0.05) if fair else (0.8, 0.2)
    color = times(chance.pick(zip(_HAIR, weights, strict=False)), chance.uniform(0.8, 1.2))
    gray = chance.uniform(0.3, 1) if chance.happens(age - 0.45) else 0
    return chance.pick(styles), mix(color, _GRAY_HAIR, gray)


def sample(seed: int, index: int) -> Face:
    """The parameters of face `index` of this seed, whatever else is drawn.

    >>> CLASSES[sample(0, 3).expression]
    'surprise'
    """
    rng = np.random.default_rng((seed, index, 0))
    chance = _Chance(rng)
    uniform, normal, happens = chance.uniform, chance.normal, chance.happens

    expression = label(seed, index)
    # Most faces show it clearly, some weakly.
    intensity = uniform(0.2, 0.5) if happens(0.17) else uniform(0.55, 1.05)
    units = _muscles(expression, intensity, chance)
    shape = dict(zip(SHAPES, np.clip(rng.standard_normal(len(SHAPES)), -2.2, 2.2).tolist(), strict=True))

    female = happens(0.5)
    child = happens(0.1)
    age = 0 if child else uniform() ** 1.5
    if child:
        shape = {name: value + _CHILD.get(name, 0) for name, value in shape.items()}
    tone = uniform(0, len(_SKIN) - 1.001)
    darkness = tone / (len(_SKIN) - 1)
    fair = darkness < 0.45
    skin = mix(_SKIN[int(tone)], _SKIN[int(tone) + 1], tone % 1)
    skin = skin[0] + normal(2.5), skin[1] + normal(2.5), skin[2] + normal(2.5)
    hair, hair_color = _hair(chance, female, fair, age)
    beards: tuple[tuple[Beard, float], ...] = (
        ("none", 0.58), ("stubble", 0.16), ("moustache", 0.06), ("goatee", 0.08), ("full", 0.12)
    )  # fmt: skip
    beard = "none" if female or age < 0.05 else chance.pick(beards)
    lipstick = times(chance.pick((color, 1) for color in _LIPSTICK), 1 - 0.35 * darkness)
    lips = (skin[0] * 0.84 + 4, skin[1] * 0.66, skin[2] * 0.64 + 2)
    lips = mix(lips, lipstick, uniform(0.35, 0.85) if female and not child and happens(0.4) else 0)
    shirt, cloth, backdrop = uniform(30, 220), uniform(50, 200), uniform(25, 230)
    warmth = 0.01 + normal(0.025)
    brightness = 0.3 * skin[0] + 0.6 * skin[1] + 0.1 * skin[2]
    glasses: tuple[tuple[Glasses, float], ...] = (("none", 0.87), ("round", 0.04), ("square", 0.05), ("half", 0.04))

    return Face(
        expression=expression,
        intensity=0 if CLASSES[expression] == "neutral" else min(intensity, 1),
        units=units,
        shape=tuple(shape.values()),
        yaw=normal(11),
        pitch=normal(6),
        roll=normal(6),
        distance=uniform(600, 2200),
        zoom=uniform(0.94, 1.16),
        shift=(normal(0.025), normal(0.025)),
        light=(uniform(-0.62, 0.62), uniform(-0.6, 0.15)),
        ambient=uniform(0.3, 0.72),
        exposure=uniform(0.8, 1.15) * (175 / brightness) ** 0.4,
        contrast=uniform(0.85, 1.35),
        tint=(1 + warmth, 1, 1 - warmth),
        skin=skin,
        gloss=uniform(),
        age=age,
        freckles=uniform(0.3, 1) if fair and happens(0.12) else 0,
        lips=lips,
        makeup=uniform(0.3, 1) if female and not child and happens(0.6) else 0,
        iris=chance.pick(zip(_IRIS, (0.3, 0.25, 0.15, 0.2, 0.1) if fair else (0.8, 0.2), strict=False)),
        gaze=(normal(1.3), normal(0.6)),
        hair=hair,
        hair_color=hair_color,
        hair_volume=uniform(),
        part=uniform(-1, 1),
        cloth=(cloth + uniform(-45, 45), cloth + uniform(-35, 35), cloth + uniform(-45, 45)),
        shirt=(shirt + uniform(-30, 30), shirt + uniform(-20, 20), shirt + uniform(-30, 30)),
        brow_thickness=uniform(0.55, 0.95) if female or child else uniform(0.85, 1.35),
        brow_strength=uniform(0.55, 1),
        beard=beard,
        glasses=chance.pick(glasses),
        frame=(25, 22, 24) if happens(0.6) else times((120, 90, 60), uniform(0.4, 1.5)),
        background=(backdrop + uniform(-20, 20), backdrop + uniform(-12, 12), backdrop + uniform(-20, 20)),
        clutter=uniform(),
        blur=uniform(2, 9) if happens(0.55) else 0,
        noise=uniform(0, 6),
        texture=int(rng.integers(2**31)),
    )
