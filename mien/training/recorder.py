"""What is kept and shown of every epoch: the history, the best weights, the state to go on from, the progress bar."""

import csv
import io
import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint
from rich.progress import TextColumn
from torch import Tensor

from mien.errors import FailedError
from mien.files import replacing, write_text
from mien.progress import bar, console
from mien.protocols.batches import Batch
from mien.runs.epochs import Epoch, as_epoch
from mien.runs.run import Run
from mien.tasks import Score
from mien.training.module import Training, failed


def history_columns(score: str) -> tuple[str, ...]:
    """The columns of `history.csv`, `score` being the key of the task's."""
    return ("epoch", "lr", "fit_loss", f"fit_{score}", "choose_loss", f"choose_{score}")


class Recorder(Checkpoint):
    """After each epoch: the history's new line, the best weights so far, and the state to go on from.

    Patience counts from the epoch `since` which a run goes on that had stopped early. Of several devices the one
    that `writes` does so alone.

    Lightning calls checkpoint callbacks last, so all else of the epoch is done when the state is saved.
    """

    def __init__(
        self, run: Run, monitor: str, keep_best: bool, patience: int | None, since: int = 0, writes: bool = True
    ) -> None:
        self.run, self.since, self.writes = run, since, writes
        self.monitor, self.keep_best, self.patience = monitor, keep_best, patience
        task = run.experiment.task
        self.columns = history_columns(task.score.key)
        self.higher = task.score.higher and monitor == task.monitor
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
        if (lost := pl_module.lost()) is not None:
            raise failed(f"'{lost}' holds what is no number after epoch {trainer.current_epoch + 1}")
        fit, choose = pl_module.fitted.tolist(), pl_module.chosen.tolist()
        row = (
            trainer.current_epoch + 1,
            pl_module.rate,
            fit[0] / fit[2],
            fit[1] / fit[2],
            choose[0] / choose[2],
            choose[1] / choose[2],
        )
        self.history.append(dict(zip(self.columns, row, strict=True)))
        if self.best_epoch == 0 or self._score(row[0]) > self._score(self.best_epoch):
            self.best_epoch = row[0]
            if self.keep_best:
                self.best = {name: tensor.clone() for name, tensor in pl_module.kept.state_dict().items()}
        # On processors of several kinds the devices may see other last digits: what the first one sees counts.
        if trainer.strategy.broadcast(self.exhausted):
            trainer.should_stop = True
        self.write_history()
        if trainer.logger is not None:
            values = {name: value for name, value in self.history[-1].items() if name != "epoch"}
            trainer.logger.log_metrics(values, step=int(row[0]))
            trainer.logger.save()
        if not self.writes:
            trainer.save_checkpoint(self.run.checkpoint)  # Waits for the first device, which writes.
            return
        with replacing(self.run.checkpoint) as temporary:
            trainer.save_checkpoint(temporary)

    @property
    def exhausted(self) -> bool:
        """Whether the last `patience` epochs were no better than the best before them."""
        waited = len(self.history) - max(self.best_epoch, self.since)
        return self.patience is not None and waited >= self.patience

    def write_history(self) -> None:
        """Replace `history.csv`."""
        if not self.writes:
            return
        text = io.StringIO()
        table = csv.DictWriter(text, self.columns, lineterminator="\n")
        table.writeheader()
        table.writerows(self.history)
        write_text(self.run.history, text.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint holds of this."""
        return {"history": self.history, "best": self.best, "best_epoch": self.best_epoch, "since": self.since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.history, self.best = state_dict["history"], state_dict["best"]
        self.best_epoch = state_dict["best_epoch"]
        self.since = max(self.since, state_dict.get("since", 0))
        self.write_history()

    def _score(self, epoch: int) -> float:
        value = self.history[epoch - 1][self.monitor]
        if math.isnan(value):
            return -math.inf
        return value if self.higher else -value


class StoppedError(Exception):
    """A function that was told of an epoch has raised this error."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Listener(Checkpoint):
    """Tells a function of each epoch. It stands after the recorder, so that the epoch can't be lost by what it does."""

    def __init__(self, on_epoch: Callable[[Epoch], None], recorder: Recorder, shown: "Bar") -> None:
        self.on_epoch, self.recorder, self.shown = on_epoch, recorder, shown

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell it."""
        epoch = as_epoch(self.recorder.history[-1], self.shown.epochs, round(self.shown.rates[-1], 1))
        try:
            self.on_epoch(epoch)
        except Exception as error:
            raise StoppedError(error) from error


class TimeUpError(FailedError):
    """A training has stopped since its time was up."""


class Deadline(Checkpoint):
    """Stops a training where its next epoch wouldn't end in time; as `Listener`, it stands after the recorder."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self.begun = minutes * 60, time.monotonic()
        self.epoch_begun = self.begun

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the clock."""
        self.epoch_begun = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop it, unless that was the last epoch anyway."""
        now = time.monotonic()
        done, epochs = trainer.current_epoch + 1, trainer.max_epochs
        late = done != epochs and not trainer.should_stop and now - self.begun + now - self.epoch_begun > self.seconds
        if trainer.strategy.broadcast(late):
            raise StoppedError(TimeUpError(f"the time was up after epoch {done} of {epochs}"))


class Bar(Callback):
    """The one progress bar: epoch, loss, the task's score on the choose role, images a second, time left.

    Where no terminal is, one line an epoch, so that a log tells the same. `rates` are the images a second of each
    epoch's training steps.
    """

    def __init__(self, name: str, epochs: int, images: int, score: Score) -> None:
        self.name, self.epochs, self.images = name, epochs, images
        self.score, self.digits = score.short or score.label, 4 if score.percent else 3
        self.bar = bar(
            TextColumn("loss {task.fields[loss]}"), TextColumn(f"choose {self.score} {{task.fields[score]}}")
        )
        self.task = self.bar.add_task(name, total=epochs * images, loss="", score="")
        self.shown = 0.0
        self.started = self.stepped = 0.0
        self.rates: list[float] = []
        self.quiet = False  # Where somebody else tells of epochs.

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
        """The epoch's score on the choose role."""
        assert isinstance(pl_module, Training)
        self.rates.append(self.images / (self.stepped - self.started))
        total, number = pl_module.chosen[1].item(), pl_module.chosen[2].item()
        told = f"{total / number:.{self.digits}f}"
        self.bar.update(self.task, score=told)
        if self.bar.disable and not self.quiet:
            loss = (pl_module.fitted[0] / pl_module.fitted[2]).item()
            console.print(
                f"{self.name} epoch {trainer.current_epoch + 1}/{self.epochs}  loss {loss:.3f}  "
                f"choose {self.score} {told} (n {number:.0f})  {self.rates[-1]:,.0f} images/s"
            )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take it away, also after an error."""
        self.bar.stop()
