"""Kills at random moments: the next call ends with what an undisturbed one gives."""

import random
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from faults.scenes import SCENES, Scene, Stage, count_changes


def killed(stage: Stage, scene: Scene, draw: random.Random, by_change: bool) -> tuple[str, list[str]]:
    """Kill a scene once, at a change of files or at a time, and go on: when that was, and what is wrong then."""
    expected = stage.unhurt(scene)
    share = draw.random()
    while True:
        stage.begin(scene)
        if by_change:
            last = 1 + int(share * expected.changes)
            when = f"at change {last} of {expected.changes}"
            result = stage.call(scene.arguments, partial(count_changes, stage.home, stage.count, last))
        else:
            when = f"after {share * expected.seconds:.2f} of {expected.seconds:.2f} s"
            result = stage.call(scene.arguments, seconds=share * expected.seconds)
        if result.code == -signal.SIGKILL:
            return when, stage.differences(scene)
        assert result.code == 0, (scene.name, result.err)
        share *= 0.8  # It was faster this time.


def run(folder: Path, seed: int, n: int) -> Iterator[dict[str, Any]]:
    """`n` kills over all scenes in turn, half of them at changes of files: after each the section as it is then."""
    stage, draw = Stage(folder), random.Random(seed)
    rows = {scene.name: [0, 0] for scene in SCENES}
    for index in range(n):
        scene = SCENES[index % len(SCENES)]
        when, wrong = killed(stage, scene, draw, by_change=index // len(SCENES) % 2 == 0)
        rows[scene.name][0] += 1
        rows[scene.name][1] += not wrong
        print(f"{index + 1}/{n} {scene.name} {when}: {wrong or 'as undisturbed'}", flush=True)
        yield {
            "title": "Kills at random moments",
            "text": "Each verb is killed (SIGKILL) while it runs, half of the times at a change of files, half at a "
            "time. Counted is how often the next call ends with the same files as an undisturbed one, bit for bit "
            "where no time stands in them, and nothing half made is left.",
            "columns": ["verb", "kills", "the same"],
            "rows": [[name, *counts] for name, counts in rows.items()],
            "failed": sum(kills - same for kills, same in rows.values()),
        }
