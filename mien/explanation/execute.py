"""All explanations of a run by name: what `mien explain` makes, one after the other, into the run's folder."""

from collections.abc import Sequence
from typing import Any

from mien.errors import MienError
from mien.experiment.schema import EXPLANATIONS
from mien.explanation import activations, by_region, cases, check_names, filters, neighbours, saliency  # noqa: F401
from mien.explanation.context import open_context
from mien.explanation.rows import named_rows
from mien.explanation.storage import store
from mien.protocols import Role
from mien.registry import call
from mien.runs.run import Run
from mien.workspace import Workspace


def explain(
    workspace: Workspace,
    run: Run,
    names: Sequence[str] = (),
    *,
    role: Role = "choose",
    images: Sequence[str] = (),
    layers: Sequence[str] = (),
    landmarks: str | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Make explanations anew: those named, else those of the experiment's key `explain`, else all.

    `images` are ids of rows that are looked at one by one, `layers` those whose filters and activations are wanted,
    `landmarks` the run that finds the points of faces ("stored": the data set's own, which is the default where it has
    some; else the model that mien ships). Returns `run`, `role`, `split`, `n`, `explanations` (results by name) and
    `left_out` (reasons by name): where nobody named any, what can't be made of this run is left out; what was named
    and can't be made is a MienError. Asking for the report role is written into the ledger.
    """
    check_names(names)
    named = tuple(names) or run.experiment.explain
    wanted = [name for name in EXPLANATIONS if name in (named or EXPLANATIONS)]
    context = open_context(run, role, command)
    chosen = named_rows(context, images)
    supplied = {"context": context, "chosen": chosen, "layers": layers, "workspace": workspace, "landmarks": landmarks}
    results, left_out = {}, {}
    for name in wanted:
        try:
            result, arrays = call("explanation", name, **supplied)
        except MienError as error:
            if named:
                raise
            left_out[name] = error.message
            continue
        store(run, name, result, arrays)
        results[name] = result
    about = {key: context.about[key] for key in ("run", "role", "split", "n")}
    return {**about, "explanations": results, "left_out": left_out}
