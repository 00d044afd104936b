"""Puts a measured landmark run's weights into the package, with a card of its numbers and the terms they are under.

    python results/package.py landmarks-small

The run is of the workspace (MIEN_HOME), measured by `mien evaluate`. What stands in the card comes from its folder.
"""

import hashlib
import shutil
import sys
from typing import Any

from mien.errors import MienError
from mien.files import write_text
from mien.landmarks.predict import PACKAGED
from mien.reading import read_json
from mien.report.wording import in_percent
from mien.runs.run import Run, find_run
from mien.tasks import LANDMARKS, require
from mien.workspace import find_workspace

LARGEST = 6_000_000  # bytes

TERMS = """The weights beside this file (landmarks-small.safetensors) are not under mien's MIT licence.

They were trained on research-only annotations: the 68 points that the iBUG group placed on the photos of HELEN, part of
300-W, which are for research only and not for commercial products. Use these weights for research only, and pass these
terms on with them. For anything else, train your own on data that allow it: experiments/landmarks/small.yaml and
`mien data import` take any data set with 68 points, and every command that takes this model takes yours.

They come without any warranty. Source of the annotations: C. Sagonas, G. Tzimiropoulos, S. Zafeiriou, M. Pantic,
"300 Faces in-the-Wild Challenge: The first facial landmark localization challenge", ICCV Workshops 2013;
photos: V. Le, J. Brandt, Z. Lin, L. Bourdev, T. S. Huang, "Interactive Facial Feature Localization", ECCV 2012.
"""


def main() -> None:
    """Copy the weights, write the card and the terms."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    run = find_run(find_workspace(None), sys.argv[1])
    metrics: dict[str, Any] = read_json(run.metrics_file("report"))
    require(run.task, LANDMARKS, run.name, str(run.folder))
    if run.weights.stat().st_size > LARGEST:
        raise MienError(f"{run.weights.stat().st_size:,} bytes are too many", expected=f"at most {LARGEST:,}")
    PACKAGED.parent.mkdir(exist_ok=True)
    shutil.copyfile(run.weights, PACKAGED)
    write_text(PACKAGED.parent / "LICENSE.txt", TERMS)
    write_text(PACKAGED.parent / "README.md", card(run, metrics))


def card(run: Run, metrics: dict[str, Any]) -> str:
    """What the weights are, what they were trained on and how good they are, as Markdown."""
    data = PACKAGED.read_bytes()
    made = run.environment
    roles = made["dataset"]["roles"]
    lines = "".join(
        f"| {name} | {in_percent(of, 'nme_outer_eyes')} | {in_percent(of, 'nme_inter_pupil')} "
        f"| {in_percent(of, 'failure_rate_8')} |\n"
        for name, of in [
            *((f"{size} px", of) for size, of in metrics["sizes"].items()),
            ("mean shape, for comparison", metrics["mean_shape"]),
        ]
    )
    return (
        "# landmarks-small\n\n"
        "68 points of a face in iBUG's order, for images that a face fills; what `mien data crop` and `mien landmarks` "
        "use unless told otherwise.\n\n"
        f"**{metrics['limits'][:1].upper()}{metrics['limits'][1:]}**: see [LICENSE.txt](LICENSE.txt).\n\n"
        f"Trained as `experiments/landmarks/small.yaml` says, on {roles['fit']['n']:,} faces of "
        f"{roles['fit']['split']} of {metrics['dataset']}, seed {made['seed']}; {len(data) / 1e6:.1f} MB, SHA-256 "
        f"{hashlib.sha256(data).hexdigest()}. Errors on {metrics['split']} of {metrics['dataset']}, "
        f"n = {metrics['n']:,}, in % of the {metrics['normaliser']}, faces in a detector's squares, "
        "95 % intervals in brackets:\n\n"
        "| faces of | NME | NME by pupils | beyond 8 % |\n| --- | --- | --- | --- |\n" + lines + "\n"
        "It was trained and measured on photos of HELEN, mostly of adults who look at the camera; on other people, "
        "poses, light or occlusion it can be worse, and nothing here measures that. Written by `results/package.py`.\n"
    )


if __name__ == "__main__":
    main()
