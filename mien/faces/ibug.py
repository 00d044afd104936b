"""The 68 points of a face as iBUG numbers them: which belong to what, and which change places in a mirror.

Numbers here count from 0; the figure of the 300-W challenge counts from 1. "Left" is the left of the picture.

Source: C. Sagonas, G. Tzimiropoulos, S. Zafeiriou, M. Pantic, "300 Faces in-the-Wild Challenge: The first facial
landmark localization challenge", ICCV Workshops 2013, figure 1.
"""

from collections.abc import Mapping
from types import MappingProxyType

POINTS = 68

# Each part's points, in order along the part: the jaw from left to right over the chin; the left brow, then the
# right; the bridge downwards, then the nostrils; the left eye, then the right, each clockwise from its left corner;
# the outer lips (48 to 59), then the inner (60 to 67), each clockwise from its left corner.
GROUPS: Mapping[str, range] = MappingProxyType(
    {
        "jaw": range(17),
        "brows": range(17, 27),
        "nose": range(27, 36),
        "eyes": range(36, 48),
        "lips": range(48, 68),
    }
)

# MIRROR[i] is the point that stands, in a mirrored face, where point i stood: mirrored = points[MIRROR], x turned.
MIRROR: tuple[int, ...] = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *(27, 28, 29, 30),  # bridge of the nose
    *(35, 34, 33, 32, 31),  # nostrils
    *(45, 44, 43, 42, 47, 46),  # left eye: its outer corner is the right eye's outer corner
    *(39, 38, 37, 36, 41, 40),  # right eye
    *(54, 53, 52, 51, 50, 49, 48),  # outer upper lip
    *(59, 58, 57, 56, 55),  # outer lower lip
    *(64, 63, 62, 61, 60),  # inner upper lip
    *(67, 66, 65),  # inner lower lip
)

# What errors are divided by, so that faces of different sizes count alike: the distance of the outer corners of the
# eyes (300-W's "inter-ocular"), or that of the pupils, each the mean of its eye's six points, since none is marked.
# Sources: C. Sagonas, E. Antonakos, G. Tzimiropoulos, S. Zafeiriou, M. Pantic, "300 Faces In-The-Wild Challenge:
# database and results", Image and Vision Computing 47 (2016), section 4, for the corners; S. Ren, X. Cao, Y. Wei,
# J. Sun, "Face Alignment at 3000 FPS via Regressing Local Binary Features", CVPR 2014, section 4, for the pupils.
OUTER_EYES = (36, 45)
PUPILS = (range(36, 42), range(42, 48))
