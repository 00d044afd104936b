"""How long Grad-CAM takes over all rows of a role, with its twins' and the intervals, as `mien explain` does it.

    python benchmarks/gradcam.py cnn1 [--role choose] [--threads 2]

Seconds of a busy machine say little: CPU seconds, shared by the threads, are what a quiet one would take.
"""

import argparse
import json
import os
import time

import torch

from mien.explanation.context import open_context
from mien.explanation.saliency import TWINS, gradcam, gradcam_maps, last_map
from mien.runs.run import find_run
from mien.workspace import find_workspace

# For 3,589 images on 2 cores.
WANTED_S = 120


def main() -> None:
    """Measure, print and, last, one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a finished run of the workspace (MIEN_HOME)")
    parser.add_argument("--role", choices=("choose", "report"), default="choose")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    context = open_context(find_run(find_workspace(), given.run), given.role)
    inputs = context.inputs(slice(0, 128))
    layer = last_map(context.network.model, inputs)
    gradcam_maps(context.network.model, layer.module, inputs, context.labels[:128])  # captum is imported here
    found = {}
    for name in ("maps", "all"):
        wall, cpu = time.perf_counter(), time.process_time()
        if name == "maps":
            for start in range(0, len(context), 128):
                some = slice(start, start + 128)
                gradcam_maps(context.network.model, layer.module, context.inputs(some), context.labels[some])
        else:
            gradcam(context)
        found[name] = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    n = len(context)
    busy = os.getloadavg()[0]
    for name, what in (("maps", "the model's maps alone"), ("all", f"with those of {TWINS} twins and the intervals")):
        wall, cpu = found[name]["wall_s"], found[name]["cpu_s"]
        print(
            f"{context.run.name}, {given.role}: {context.split}, n = {n:,}, {what}: {wall:.1f} s, {cpu:.1f} CPU s; "
            f"{n / wall:,.0f} images/s, {n / cpu:,.0f} a CPU second"
        )
    print(f"load {busy:.1f} on {os.cpu_count()} cores, {given.threads} threads; wanted for 3,589 images: {WANTED_S} s")
    print(json.dumps({"run": context.run.name, "n": n, "threads": given.threads, "load": busy, **found}))


if __name__ == "__main__":
    main()
