"""Training: from an experiment to a run with weights, by Lightning's Trainer; resumable, and the same bit for bit.

Order and randomness derive from (seed, epoch, step), so a run that goes on from the last whole epoch is the run that
was never stopped. Only the fit and choose roles are opened.
"""

import logging
import shutil
import signal
import statistics
import warnings
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from mien import trust
from mien.data.dataset import Dataset, open_dataset
from mien.errors import FailedError, MienError, reason
from mien.experiment.building import (
    build_loss,
    build_model,
    build_optimizer,
    build_pipeline,
    build_roles,
    build_samples,
    build_schedule,
    check_devices,
    class_counts,
    excluded,
    freeze,
    scheme_for,
)
from mien.experiment.schema import Experiment
from mien.files import write_text
from mien.inference.weights import save_weights
from mien.protocols.batches import training_steps
from mien.runs.epochs import Epoch
from mien.runs.manifest import FILE as MANIFEST
from mien.runs.run import Run
from mien.training.devices import Share, World, check_started, gathered
from mien.training.lightning import Joined, OwnSignals, Places
from mien.training.module import Training
from mien.training.recorder import Bar, Deadline, Listener, Recorder, StoppedError
from mien.training.session import begin_session, end_session, keep_roles, same_start
from mien.training.shared_norm import share_norms
from mien.training.start_weights import start
from mien.training.teachers import find_teachers, load_teachers, same_teachers
from mien.training.votes_head import VotesHead
from mien.workspace import Workspace


def check_epochs(run: Run, epochs: Any) -> int:
    """`epochs` if a stopped run can be trained for so many; else an error that says why not."""
    least = max(epochs_done(run) + (run.state == "finished"), 1)
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < least:
        raise MienError(
            f"{epochs} can't stand here", key="train.epochs", expected=f"a number of epochs, at least {least}"
        )
    return epochs


def epochs_done(run: Run) -> int:
    """How many whole epochs a run's checkpoint holds; MienError for one that is damaged."""
    if not run.checkpoint.exists():
        return 0
    try:
        with zipfile.ZipFile(run.checkpoint) as file:
            damaged = file.testzip()
        if damaged is not None:
            raise ValueError(f"the digest of {damaged} is another")
        state = torch.load(run.checkpoint, map_location="meta", weights_only=True)
        return int(state["epoch"]) + 1
    except OSError:
        raise
    except Exception as error:  # Whatever pickles and archives raise.
        raise MienError(
            f"the state to go on from is damaged ({reason(error)})",
            file=str(run.checkpoint),
            expected=f"that file removed: then mien train --resume {run.name} begins anew, to the same weights",
        ) from error


def train(
    workspace: Workspace,
    run: Run,
    command: Sequence[str],
    *,
    epochs: int | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    stop_after: float | None = None,
    measure: Callable[[], object] | None = None,
) -> None:
    """Train a run to its end, from its beginning or from its last whole epoch.

    One that had stopped early goes on with its patience counted anew; what was made of its weights is removed.
    `epochs`, `devices` and `nodes` replace the experiment's. `on_epoch` is told of each epoch when its state is saved;
    what it raises stops the training there. A TimeUpError stops it between epochs, before `stop_after` minutes are
    over. `measure` is called when the weights are written, and only after it the run is finished. Raises FailedError
    when the loss isn't a number or a device has gone, MienError when the data set isn't the one that the run began
    with, its checkpoint is damaged, another process works on the run or the devices aren't there.
    """
    with run.working():
        experiment = _changed(run.experiment, epochs=epochs, devices=devices, nodes=nodes)
        check_started(experiment.train)
        check_devices(experiment.train)
        if experiment != run.experiment:
            write_text(run.experiment_file, experiment.to_yaml())
        done = epochs_done(run)  # An error before anything is written.
        since = done if run.stopped_early else 0
        dataset = open_dataset(workspace, experiment.dataset.name)
        begin_session(run, experiment, dataset, command)
        run.set_state("running")
        if since:
            _forget(run)
        try:
            try:
                places = {"run": str(run.folder.absolute()), "workspace": str(workspace.root.absolute())}
                order = {**places, "since": since, "stop_after": stop_after}
                together = gathered(experiment.train, run.environment["device"], order)
                _fit(workspace, run, experiment, dataset, together, since, stop_after, on_epoch)
            finally:
                end_session(run)
            if measure is not None:
                measure()
        except (KeyboardInterrupt, SystemExit):
            run.set_state("stopped")
            raise
        except StoppedError as stopped:
            run.set_state("stopped", reason(stopped.error))
            raise stopped.error from None
        except BaseException as error:
            run.set_state("failed", str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise
        run.set_state("finished")
        if not run.stopped_early:
            run.checkpoint.unlink(missing_ok=True)


def _changed(experiment: Experiment, **wanted: int | None) -> Experiment:
    """The experiment with other values of `train`, but for those that are None."""
    changes = {key: value for key, value in wanted.items() if value is not None}
    return experiment.model_copy(update={"train": experiment.train.model_copy(update=changes)})


def _forget(run: Run) -> None:
    """Remove what was made of a run's weights, which are going to be others."""
    made = (run.weights, run.metrics_file("choose"), run.predictions("choose"), run.page, run.folder / MANIFEST)
    for file in made:
        file.unlink(missing_ok=True)
    shutil.rmtree(run.folder / "explain", ignore_errors=True)


def _fit(
    workspace: Workspace,
    run: Run,
    experiment: Experiment,
    dataset: Dataset,
    together: AbstractContextManager[Share],
    since: int,
    stop_after: float | None,
    on_epoch: Callable[[Epoch], None] | None = None,
    *,
    leads: bool = True,
) -> None:
    """Fit a run's weights on this device, `together` with others; the one that `leads` writes and tells."""
    section = experiment.train
    names = scheme_for(experiment, dataset)
    roles = build_roles(experiment, dataset)
    keep_roles(run, dataset, roles)
    fit = build_samples(experiment, dataset, roles, "fit", names)
    choose = build_samples(experiment, dataset, roles, "choose", names)
    made = run.environment
    made["dataset"]["roles"] = {
        role: {"split": " + ".join(samples.splits), "n": len(samples)}
        for role, samples in (("fit", fit), ("choose", choose))
    }
    made["dataset"]["excluded"] = excluded(experiment, dataset)
    if len(fit) > section.batch_size > 1 and len(fit) % section.batch_size == 1:
        made["last_batch"] = f"{section.batch_size + 1} rows: a single row joined the {section.batch_size} before it"
    model = build_model(experiment, names)
    resumed = run.checkpoint if run.checkpoint.exists() else None
    if resumed is None:
        made["start_weights"] = same_start(run, start(model, experiment, names, workspace), made.get("start_weights"))
    teachers = find_teachers(experiment, dataset, workspace)
    if teachers:
        made["teachers"] = same_teachers(run, teachers, made.get("teachers"))
    if leads:
        run.write_environment(made)
    steps = training_steps(len(fit), section.batch_size)
    head = VotesHead(model, len(names)) if section.votes is not None else None
    still = freeze(experiment, model)
    module = Training(
        experiment.task,
        model,
        build_loss(experiment, class_counts(dataset, roles.fit, names)),
        build_pipeline(experiment.augment),
        build_pipeline(experiment.preprocess),
        build_optimizer(experiment, model, *([head] if head else [])),
        build_schedule(experiment, steps),
        fit,
        choose,
        batch_size=section.batch_size,
        shuffle=section.shuffle,
        seed=section.seed,
        ema=section.ema,
        mixup=section.mixup,
        cutmix=section.cutmix,
        votes_head=head,
        votes_weight=section.votes or 0.0,
        teachers=load_teachers(teachers, experiment, made["device"]),
        still=still,
    )
    recorder = Recorder(run, section.monitor, section.keep == "best", section.early_stopping, since, leads)
    shown = Bar(run.name, section.epochs, len(fit), experiment.task.score)
    shown.quiet = on_epoch is not None
    listeners: list[Callback] = [Listener(on_epoch, recorder, shown)] if on_epoch else []
    listeners += [Deadline(stop_after)] if stop_after is not None else []
    with together as share:
        if share.size > 1:
            module.share = share
            share_norms(model, share)
            listeners.append(OwnSignals())
        callbacks = [*([shown] if leads else []), recorder, *listeners]
        _trainer(run, experiment, callbacks, share).fit(module, ckpt_path=resumed, weights_only=True)
    if not leads:
        return
    if shown.rates:
        run.write_environment({**run.environment, "images_per_second": round(statistics.median(shown.rates), 1)})
    state = recorder.best if section.keep == "best" else module.kept.state_dict()
    fingerprint, begun = dataset.card.fingerprint, made.get("start_weights")
    inherited = [(begun or {}).get("limits", ""), *(one.says.get("limits", "") for one in teachers)]
    bound = limits(dataset, experiment, inherited)
    save_weights(run.weights, state, experiment, names, fingerprint, bound, begun)


def follow(world: World) -> None:
    """Do a device's part of what the first process trains, until that one ends; writes nothing."""
    # Ctrl-C in a terminal reaches all processes at once: the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for order in world.orders():
        workspace = Workspace(Path(order["workspace"]))
        trust.use(workspace)
        run = Run(Path(order["run"]), workspace)
        experiment = run.experiment
        check_devices(experiment.train)
        dataset = open_dataset(workspace, experiment.dataset.name)
        device = run.environment["device"]
        if device == "cuda":
            torch.cuda.set_device(world.place.local)  # Teachers go there before Lightning looks.
        joined = world.joined(device)
        try:
            _fit(workspace, run, experiment, dataset, joined, order["since"], order["stop_after"], leads=False)
        except StoppedError:
            continue
        except FailedError as error:
            # The first process says why.
            raise SystemExit(error.exit_code) from error


def limits(dataset: Dataset, experiment: Experiment, inherited: Sequence[str] = ()) -> str:
    """What the use of weights is bound to that are trained on a data set; "" for nothing that its card tells.

    Points that a model predicted are bound as those that it was trained on; a label beside them isn't. `inherited` is
    what the weights are bound to that the training began with, and those of its teachers.
    """
    details = dataset.card.details
    terms = details.get("landmarks", {}).get("terms") == "research only"
    predicted = details.get("crop", {}).get("landmarks", {}).get("limits") and "points" in experiment.task.targets
    own = "trained on research-only annotations" if terms or predicted else ""
    return "; ".join(dict.fromkeys(one for one in (own, *inherited) if one))


def _trainer(run: Run, experiment: Experiment, callbacks: list[Callback], share: Share) -> pl.Trainer:
    section, made = experiment.train, run.environment
    _quiet()
    logger: Any = False
    if section.tensorboard and share.rank == 0:
        from pytorch_lightning.loggers import TensorBoardLogger

        logger = TensorBoardLogger(run.folder, name="", version="tensorboard")
    return pl.Trainer(
        accelerator="gpu" if made["device"] == "cuda" else "cpu",
        devices=section.devices,
        num_nodes=section.nodes,
        strategy="auto" if share.size == 1 else Joined(),
        # Else Lightning takes what a cluster says of other processes for its own.
        plugins=Places(share.rank, section.devices),
        precision="bf16-mixed" if made["precision"] == "bfloat16" else "32-true",
        max_epochs=section.epochs,
        callbacks=callbacks,
        gradient_clip_val=section.gradient_clip,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=logger,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.folder,
    )


def _quiet() -> None:
    """Keep Lightning's advice to itself: its bars, devices and data loaders are chosen here on purpose."""
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|lightning_utilities")
