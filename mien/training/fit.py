"""Training: from an experiment to a run with weights, by Lightning's Trainer; resumable, and the same bit for bit.

Order and randomness derive from (seed, epoch, step), so a run that goes on from the last whole epoch is the run that
was never stopped. Only the fit and choose roles are opened.
"""

import csv
import datetime
import io
import logging
import math
import statistics
import time
import warnings
from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint
from rich.progress import TextColumn
from torch import Tensor, nn

from mien import environment
from mien.augment import Pipeline
from mien.data.dataset import Dataset, open_dataset
from mien.errors import FailedError, MienError
from mien.experiment.building import (
    build_loss,
    build_model,
    build_optimizer,
    build_pipeline,
    build_roles,
    build_samples,
    build_schedule,
    class_counts,
    excluded,
    of_points,
    scheme_for,
)
from mien.experiment.schema import Experiment
from mien.faces.shares import as_shares, normalized_errors
from mien.files import replacing, write_text
from mien.inference.weights import save_weights
from mien.optimizers import Factor
from mien.progress import bar, console
from mien.protocols import Roles, check_roles, role_ids
from mien.protocols.batches import Batch, Batches, Samples, epoch_order, step_seed
from mien.runs.run import Run
from mien.training.start_weights import KEY, start
from mien.workspace import Workspace

# Images a batch when nothing is learned from them.
EVALUATION_BATCH = 256


def history_columns(score: str) -> tuple[str, ...]:
    """The columns of `history.csv`, `score` being what a task is measured by: `accuracy`, or `nme` for points."""
    return ("epoch", "lr", "fit_loss", f"fit_{score}", "choose_loss", f"choose_{score}")


class Training(pl.LightningModule):
    """One step of fitting and of choosing, with running sums of loss and score.

    The score is 1 for each image whose class is right, so that its mean is the accuracy; for points each image's NME.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        augment: Pipeline,
        preprocess: Pipeline,
        optimizer: torch.optim.Optimizer,
        factor: Factor,
        fit: Samples,
        choose: Samples,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.targets = getattr(loss, "targets", "label")
        self.augment, self.preprocess = augment, preprocess
        self.optimizer, self.factor = optimizer, factor
        self.fit_samples, self.choose_samples = fit, choose
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        # Loss times images, score, images; in float64, so that sums are exact enough to compare.
        self.fitted = torch.zeros(3, dtype=torch.float64)
        self.chosen = torch.zeros(3, dtype=torch.float64)

    def train_dataloader(self) -> Batches:
        """The fit role in this epoch's order; Lightning asks anew before each epoch."""
        order = epoch_order(len(self.fit_samples), self.shuffle, self.seed, self.current_epoch)
        return Batches(self.fit_samples, self.batch_size, order)

    def val_dataloader(self) -> Batches:
        """The choose role."""
        order = epoch_order(len(self.choose_samples), shuffle=False, seed=0, epoch=0)
        return Batches(self.choose_samples, EVALUATION_BATCH, order)

    def configure_optimizers(self) -> Any:
        """The optimiser, and the schedule's factor at every step."""
        schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self.factor)
        return {"optimizer": self.optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Start the sums anew."""
        self.fitted = torch.zeros(3, dtype=torch.float64, device=self.device)

    def on_validation_epoch_start(self) -> None:
        """Start the sums anew."""
        self.chosen = torch.zeros(3, dtype=torch.float64, device=self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Fix this step's randomness: of augmentation, and of dropout."""
        torch.manual_seed(step_seed(self.seed, self.current_epoch, batch_idx))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch; one that isn't a number ends the training."""
        images = batch.images.to(torch.float32, memory_format=torch.channels_last)
        points = batch.points
        if self.augment.ops:
            # Geometry in bfloat16 would move points by whole pixels.
            with torch.autocast(images.device.type, enabled=False):
                images, moved = self.augment(images, points if self.targets == "points" else None)
                points = points if moved is None else moved
        outputs = self._outputs(images)
        targets = self._targets(batch, points, images.shape[-1])
        loss: Tensor = self.loss(outputs, targets)
        if not torch.isfinite(loss):
            rate = self.optimizer.param_groups[0]["lr"]
            raise FailedError(
                f"the loss is {loss.item()} at epoch {self.current_epoch + 1}, step {batch_idx + 1}, "
                f"learning rate {rate:g}",
                key="optimizer.lr",
                expected="a smaller learning rate, normalised input or gradient clipping",
            )
        self.fitted += self._sums(loss.detach(), outputs.detach(), targets, batch)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and score of a batch of the choose role, in float32 whatever the training's precision."""
        with torch.autocast(batch.images.device.type, enabled=False):
            outputs = self._outputs(batch.images.to(torch.float32, memory_format=torch.channels_last))
            targets = self._targets(batch, batch.points, batch.images.shape[-1])
            self.chosen += self._sums(self.loss(outputs, targets), outputs, targets, batch)

    def _outputs(self, images: Tensor) -> Tensor:
        ready, _ = self.preprocess(images)
        outputs: Tensor = self.model(ready.contiguous(memory_format=torch.channels_last))
        return outputs.float()

    def _targets(self, batch: Batch, points: Tensor, side: int) -> Tensor:
        """What the loss wants: labels, votes, or points of images of `side` pixels as shares of that, (n, 136)."""
        if self.targets == "points":
            return as_shares(points, side)
        return batch.votes if self.targets == "votes" else batch.labels

    def _sums(self, loss: Tensor, outputs: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        number = len(batch.labels)
        if self.targets == "points":
            score = normalized_errors(outputs, targets).sum()
        else:
            score = (outputs.argmax(dim=1) == batch.labels).sum()
        return torch.stack([loss.double() * number, score.double(), score.new_tensor(number).double()])


class Recorder(Checkpoint):
    """After each epoch: the history's new line, the best weights so far, and the state to go on from.

    Lightning calls checkpoint callbacks last, so all else of the epoch is done when the state is saved.
    """

    def __init__(self, run: Run, monitor: str, keep_best: bool, patience: int | None) -> None:
        self.run = run
        self.monitor, self.keep_best, self.patience = monitor, keep_best, patience
        self.columns = history_columns("nme" if of_points(run.experiment) else "accuracy")
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that had stopped early, and was killed before its weights were written, has no more epochs to go."""
        if self.exhausted:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what the epoch came to."""
        assert isinstance(pl_module, Training)
        fit, choose = pl_module.fitted.tolist(), pl_module.chosen.tolist()
        row = (
            trainer.current_epoch + 1,
            pl_module.optimizer.param_groups[0]["lr"],
            fit[0] / fit[2],
            fit[1] / fit[2],
            choose[0] / choose[2],
            choose[1] / choose[2],
        )
        self.history.append(dict(zip(self.columns, row, strict=True)))
        if self.best_epoch == 0 or self._score(row[0]) > self._score(self.best_epoch):
            self.best_epoch = row[0]
            if self.keep_best:
                self.best = {name: tensor.clone() for name, tensor in pl_module.model.state_dict().items()}
        if self.exhausted:
            trainer.should_stop = True
        self.write_history()
        with replacing(self.run.checkpoint) as temporary:
            trainer.save_checkpoint(temporary)

    @property
    def exhausted(self) -> bool:
        """Whether the last `patience` epochs were no better than the best before them."""
        return self.patience is not None and len(self.history) - self.best_epoch >= self.patience

    def write_history(self) -> None:
        """Replace `history.csv`."""
        text = io.StringIO()
        table = csv.DictWriter(text, self.columns, lineterminator="\n")
        table.writeheader()
        table.writerows(self.history)
        write_text(self.run.history, text.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint holds of this."""
        return {"history": self.history, "best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.history, self.best = state_dict["history"], state_dict["best"]
        self.best_epoch = state_dict["best_epoch"]
        self.write_history()

    def _score(self, epoch: int) -> float:
        value = self.history[epoch - 1][self.monitor]
        if math.isnan(value):
            return -math.inf
        return value if self.monitor.endswith("accuracy") else -value


class Bar(Callback):
    """The one progress bar: epoch, loss, accuracy or NME on the choose role, images a second, time left.

    Where no terminal is, one line an epoch, so that a log tells the same. `rates` are the images a second of each
    epoch's training steps.
    """

    def __init__(self, name: str, epochs: int, images: int, score: str) -> None:
        self.name, self.epochs, self.images, self.score = name, epochs, images, score
        self.bar = bar(TextColumn("loss {task.fields[loss]}"), TextColumn(f"choose {score} {{task.fields[score]}}"))
        self.task = self.bar.add_task(name, total=epochs * images, loss="", score="")
        self.shown = 0.0
        self.started = self.stepped = 0.0
        self.rates: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show it, as far as the run is already."""
        self.bar.update(self.task, completed=trainer.current_epoch * self.images)
        self.bar.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The epoch's number."""
        self.started = time.monotonic()
        self.bar.update(self.task, description=f"{self.name} epoch {trainer.current_epoch + 1}/{self.epochs}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Images done; the loss twice a second, since reading it waits for the device."""
        self.stepped = time.monotonic()
        self.bar.advance(self.task, len(batch.labels))
        if not self.bar.disable and time.monotonic() - self.shown > 0.5:
            assert isinstance(pl_module, Training)
            self.shown = time.monotonic()
            self.bar.update(self.task, loss=f"{(pl_module.fitted[0] / pl_module.fitted[2]).item():.3f}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The epoch's accuracy, or NME, on the choose role."""
        assert isinstance(pl_module, Training)
        self.rates.append(self.images / (self.stepped - self.started))
        total, number = pl_module.chosen[1].item(), pl_module.chosen[2].item()
        told = f"{total / number:.3f}" if self.score == "acc" else f"{total / number:.4f}"
        self.bar.update(self.task, score=told)
        if self.bar.disable:
            loss = (pl_module.fitted[0] / pl_module.fitted[2]).item()
            console.print(
                f"{self.name} epoch {trainer.current_epoch + 1}/{self.epochs}  loss {loss:.3f}  "
                f"choose {self.score} {told} (n {number:.0f})  {self.rates[-1]:,.0f} images/s"
            )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take it away, also after an error."""
        self.bar.stop()


def check_epochs(run: Run, epochs: Any) -> int:
    """`epochs` if a stopped run can be trained for so many; else an error that says why not."""
    done = 0
    if run.checkpoint.exists():
        done = torch.load(run.checkpoint, map_location="meta", weights_only=True)["epoch"] + 1
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < max(done, 1):
        raise MienError(
            f"{epochs} can't stand here", key="train.epochs", expected=f"a number of epochs, at least {max(done, 1)}"
        )
    return epochs


def train(workspace: Workspace, run: Run, command: Sequence[str], *, epochs: int | None = None) -> None:
    """Train a run to its end, from its beginning or from its last whole epoch.

    `epochs` replaces the experiment's. Raises FailedError when the loss isn't a number, MienError when the data set
    isn't the one that the run began with or another process works on the run.
    """
    with run.working():
        experiment = run.experiment
        if epochs is not None and epochs != experiment.train.epochs:
            experiment = experiment.model_copy(update={"train": experiment.train.model_copy(update={"epochs": epochs})})
            write_text(run.experiment_file, experiment.to_yaml())
        for left in run.folder.glob(".*.partial"):  # From a save that was cut off.
            left.unlink()
        dataset = open_dataset(workspace, experiment.dataset.name)
        _describe(run, experiment, dataset, command)
        run.set_state("running")
        try:
            _fit(workspace, run, experiment, dataset)
        except (KeyboardInterrupt, SystemExit):
            run.set_state("stopped")
            raise
        except BaseException as error:
            run.set_state("failed", str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise
        finally:
            _end_session(run)
        run.set_state("finished")
        run.checkpoint.unlink(missing_ok=True)


def _fit(workspace: Workspace, run: Run, experiment: Experiment, dataset: Dataset) -> None:
    section = experiment.train
    names = scheme_for(experiment, dataset)
    roles = build_roles(experiment, dataset)
    _keep_roles(run, dataset, roles)
    fit = build_samples(experiment, dataset, roles, "fit", names)
    choose = build_samples(experiment, dataset, roles, "choose", names)
    made = run.environment
    made["dataset"]["roles"] = {
        role: {"split": " + ".join(samples.splits), "n": len(samples)}
        for role, samples in (("fit", fit), ("choose", choose))
    }
    made["dataset"]["excluded"] = excluded(experiment, dataset)
    model = build_model(experiment, names)
    resumed = run.checkpoint if run.checkpoint.exists() else None
    if resumed is None:
        made["start_weights"] = _started(run, start(model, experiment, workspace), made.get("start_weights"))
    run.write_environment(made)
    steps = -(-len(fit) // section.batch_size)
    module = Training(
        model,
        build_loss(experiment, class_counts(dataset, roles.fit, names)),
        build_pipeline(experiment.augment),
        build_pipeline(experiment.preprocess),
        build_optimizer(experiment, model),
        build_schedule(experiment, steps),
        fit,
        choose,
        batch_size=section.batch_size,
        shuffle=section.shuffle,
        seed=section.seed,
    )
    recorder = Recorder(run, section.monitor, section.keep == "best", section.early_stopping)
    shown = Bar(run.name, section.epochs, len(fit), "NME" if of_points(experiment) else "acc")
    _trainer(run, experiment, [shown, recorder]).fit(module, ckpt_path=resumed, weights_only=True)
    if shown.rates:
        run.write_environment({**run.environment, "images_per_second": round(statistics.median(shown.rates), 1)})
    state = recorder.best if section.keep == "best" else model.state_dict()
    fingerprint, begun = dataset.card.fingerprint, made.get("start_weights")
    save_weights(run.weights, state, experiment, names, fingerprint, limits(dataset), begun)


def _started(run: Run, found: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """The record of start weights; a run that was stopped in its first epoch must begin with the same again."""
    was, now = (one.get("sha256", "none") for one in (before or found, found))
    if was != now:
        raise MienError(
            f"the start weights have changed since run {run.name} began",
            key=KEY,
            expected=f"SHA-256 {was[:16]}, but it is {now[:16]}",
        )
    return found


def limits(dataset: Dataset) -> str:
    """What the use of weights is bound to that are trained on a data set; "" for nothing that its card tells."""
    terms = dataset.card.details.get("landmarks", {}).get("terms")
    return "trained on research-only annotations" if terms == "research only" else ""


def _keep_roles(run: Run, dataset: Dataset, roles: Roles) -> None:
    """Save which rows a protocol took out of whole splits; a run that goes on must find the same."""
    if run.roles.exists():
        check_roles(dataset, roles, pq.read_table(run.roles))
    elif (rows := role_ids(dataset, roles)).num_rows:
        with replacing(run.roles) as temporary:
            pq.write_table(rows, temporary)


def _trainer(run: Run, experiment: Experiment, callbacks: list[Callback]) -> pl.Trainer:
    section, made = experiment.train, run.environment
    _quiet()
    logger: Any = False
    if section.tensorboard:
        from pytorch_lightning.loggers import TensorBoardLogger

        logger = TensorBoardLogger(run.folder, name="", version="tensorboard")
    return pl.Trainer(
        accelerator="gpu" if made["device"] == "cuda" else "cpu",
        devices=1,
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


def _describe(run: Run, experiment: Experiment, dataset: Dataset, command: Sequence[str]) -> None:
    """Write the environment at the start; when the run goes on, check that it still fits and add a session."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    session = {"started": now, "command": list(command)}
    if (run.folder / "environment.json").exists():
        made = run.environment
        if made["dataset"]["fingerprint"] != dataset.card.fingerprint:
            raise MienError(
                f"data set '{dataset.card.name}' has changed since run {run.name} began",
                file=str(dataset.folder),
                expected=f"fingerprint {made['dataset']['fingerprint'][:16]}, "
                f"but it is {dataset.card.fingerprint[:16]}",
            )
        last = made["sessions"][-1]
        if "duration_s" not in last:
            # It was killed; what came after its last whole epoch is lost.
            begun = datetime.datetime.fromisoformat(last["started"]).timestamp()
            kept = run.checkpoint.stat().st_mtime if run.checkpoint.exists() else begun
            last["duration_s"] = round(max(kept - begun, 0.0), 1)
        made["sessions"].append(session)
    else:
        device = environment.device(experiment.train.device)
        made = {
            **environment.describe(),
            "device": device,
            "precision": environment.precision(experiment.train.precision, device),
            "seed": experiment.train.seed,
            "dataset": {
                "name": dataset.card.name,
                "fingerprint": dataset.card.fingerprint,
                "notes": list(dataset.card.notes),
            },
            "command": list(command),
            "duration_s": 0.0,
            "sessions": [session],
        }
    run.write_environment(made)


def _end_session(run: Run) -> None:
    made = run.environment
    started = datetime.datetime.fromisoformat(made["sessions"][-1]["started"])
    seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
    made["sessions"][-1]["duration_s"] = round(seconds, 1)
    made["duration_s"] = round(sum(one.get("duration_s", 0.0) for one in made["sessions"]), 1)
    run.write_environment(made)
