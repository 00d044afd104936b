"""Scenes for the tests: a portrait and drawn faces of many sizes, angles and lights before many grounds, or none."""

from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
from skimage.data import astronaut

from mien.data.synthetic import faces
from mien.images import Pixels

# Width and height: odd ones and tiny ones; now and then one that is halved before a face is looked for.
SIZES = ((320, 320), (480, 360), (333, 217), (97, 120), (401, 300), (41, 37), (640, 480))
LARGE = (2600, 700)


@cache
def _heads() -> tuple[Pixels, ...]:
    drawn = (image for image, *_ in faces(4, size=160, color="rgb", seed=7))
    head = astronaut()[0:230, 110:340]
    return (head, head[:, ::-1], *(np.ascontiguousarray(one) for one in drawn))


def scenes(n: int, seed: int = 0) -> Iterator[Pixels]:
    """So many scenes, uint8 (h, w, 3); every tenth has no face."""
    for number in range(n):
        random = np.random.default_rng((seed, number))
        width, height = LARGE if number % 25 == 24 else SIZES[number % len(SIZES)]
        scene = _ground(random, width, height)
        for _ in range(0 if number % 10 == 9 else random.integers(1, 5)):
            _paste(random, scene)
        yield scene


def _ground(random: np.random.Generator, width: int, height: int) -> Pixels:
    """Soft spots of colour with fine noise."""
    spots = random.uniform(20, 230, (random.integers(2, 9), random.integers(2, 9), 3)).astype(np.float32)
    soft = cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(soft + random.normal(0, random.uniform(0, 12), soft.shape), 0, 255).astype(np.uint8)


def _paste(random: np.random.Generator, scene: Pixels) -> None:
    """A head at a place, size, angle and light of its own; it may reach beyond the scene."""
    height, width = scene.shape[:2]
    # The portrait more often than the drawn ones.
    head = _heads()[random.choice(6, p=(0.35, 0.35, 0.075, 0.075, 0.075, 0.075))]
    side = random.uniform(0.15, 0.9) * min(width, height)
    turn = cv2.getRotationMatrix2D((head.shape[1] / 2, head.shape[0] / 2), random.normal(0, 14), side / len(head))
    turn[:, 2] += random.uniform(0.1, 0.9, 2) * (width, height) - np.array(head.shape[1::-1]) / 2
    light = np.clip(head * random.uniform(0.4, 1.3) + random.uniform(-20, 20), 0, 255).astype(np.uint8)
    there = cv2.warpAffine(np.full(head.shape[:2], 255, np.uint8), turn, (width, height)) > 127
    scene[there] = cv2.warpAffine(light, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)[there]
