"""The Lightning module: one step of fitting and of choosing, for any model and loss."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from mien.augment import Pipeline, Seen
from mien.errors import FailedError
from mien.inference.network import Network
from mien.optimizers import Factor
from mien.protocols.batches import EVALUATION_BATCH, Batch, Batches, Samples, epoch_order, step_seed, training_steps
from mien.tasks import Task
from mien.training.devices import Share
from mien.training.mixing import Average, mix
from mien.training.votes_head import VotesHead


def failed(what: str) -> FailedError:
    """The error that ends a training whose numbers are none."""
    return FailedError(
        what,
        key="optimizer.lr",
        expected="a smaller learning rate, normalised input or gradient clipping",
    )


class Training(pl.LightningModule):
    """One step of fitting and of choosing, with running sums of loss and score.

    The score is the task's, of each image; where that is right or wrong, its mean is the accuracy. Of two images that
    are mixed to fit on, the class of the one with the larger share is right. With `ema` the averaged weights are those
    that are chosen by, and kept. `votes_head` is a second head, `votes_weight` that of its loss in what is minimised;
    the loss that is told is without it. `teachers` give the targets of a loss on "teacher". `still` are batch norms
    of the model whose statistics stay as they are. The attribute `share` is what this device has of each batch.
    """

    def __init__(
        self,
        task: Task,
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
        ema: float | None = None,
        mixup: float | None = None,
        cutmix: float | None = None,
        votes_head: VotesHead | None = None,
        votes_weight: float = 0.0,
        teachers: nn.Module | None = None,
        still: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.task = task
        self.model = model
        self.average = None if ema is None else Average(model, ema)
        self.mixup, self.cutmix = mixup, cutmix
        self.votes_head, self.votes_weight = votes_head, votes_weight
        # In a tuple, so that a checkpoint doesn't hold their weights.
        self.teachers = (teachers,)
        self.still = tuple(still)
        self.share = Share()
        self.loss = loss
        self.targets = getattr(loss, "targets", "label")
        self.augment = augment
        # Its `forward` alone: a checkpoint holds the model's tensors once, as `model.…`.
        self.outputs = Network(model, preprocess).forward
        self.outputs_of_kept = Network(self.kept, preprocess).forward
        self.optimizer, self.factor = optimizer, factor
        self.fit_samples, self.choose_samples = fit, choose
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        # Loss times images, score, images; in float64, so that sums are exact enough to compare.
        self.fitted = torch.zeros(3, dtype=torch.float64)
        self.chosen = torch.zeros(3, dtype=torch.float64)

    @property
    def kept(self) -> nn.Module:
        """The model whose weights are chosen by and kept: the one that is trained, or its average."""
        return self.model if self.average is None else self.average.model

    def train_dataloader(self) -> Batches:
        """The fit role in this epoch's order; Lightning asks anew before each epoch."""
        order = epoch_order(len(self.fit_samples), self.shuffle, self.seed, self.current_epoch)
        return Batches(self.fit_samples, self.batch_size, order, training_steps(len(order), self.batch_size))

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
        """Fix this step's randomness: of augmentation, of mixing, and of dropout."""
        torch.manual_seed(step_seed(self.seed, self.current_epoch, batch_idx))
        for norm in self.still:
            norm.eval()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Take the step's weights into the average."""
        if self.average is not None:
            self.average.update(self.model)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch; one that isn't a number ends the training."""
        images = batch.images.to(torch.float32, memory_format=torch.channels_last)
        if self.augment.ops:
            # Geometry in bfloat16 would move points by whole pixels.
            with torch.autocast(images.device.type, enabled=False):
                seen = Seen(batch.rows, self.current_epoch, self.seed)
                images, moved = self.augment(images, batch.points if batch.points.shape[1] else None, seen)
                batch = batch if moved is None else batch._replace(points=moved)
        others, share = None, 1.0
        if self.mixup is not None or self.cutmix is not None:
            images, others, share = mix(images, self.mixup, self.cutmix)
        if self.share.rank and self.share.divides(len(images)):
            # Other rows, other numbers of dropout.
            torch.manual_seed(step_seed(self.seed, self.current_epoch, batch_idx, self.share.rank))
        outputs = self.share.outputs(self.outputs, images)
        targets = self._targets(batch, images)
        loss: Tensor = self.loss(outputs, targets)
        votes = batch.votes
        if others is not None:
            # Teachers have seen the mixed images themselves.
            if self.targets != "teacher":
                loss = share * loss + (1 - share) * self.loss(outputs, targets[others])
            if self.votes_head is not None:
                votes = share * votes + (1 - share) * votes[others]
            if share < 0.5:
                batch = batch._replace(labels=batch.labels[others])
        if not torch.isfinite(loss):
            step = f"epoch {self.current_epoch + 1}, step {batch_idx + 1}"
            raise failed(f"the loss is {loss.item()} at {step}, learning rate {self.rate:g}")
        self.fitted += self._sums(loss.detach(), outputs.detach(), targets, batch)
        if self.votes_head is not None:
            loss = loss + self.votes_weight * self.votes_head.loss(votes, self.share)
        return self.share.factor * loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and score of a batch of the choose role, in float32 whatever the training's precision."""
        with torch.autocast(batch.images.device.type, enabled=False):
            outputs = self.share.outputs(self.outputs_of_kept, batch.images)
            targets = self._targets(batch, batch.images)
            self.chosen += self._sums(self.loss(outputs, targets), outputs, targets, batch)

    @property
    def rate(self) -> float:
        """The learning rate now, of what no factor makes smaller."""
        group = self.optimizer.param_groups[0]
        rate: float = group["lr"] / group.get("body", 1.0)
        return rate

    def lost(self) -> str | None:
        """The name of a weight of the model that isn't finite, or a statistic that is no number; None where none is."""
        weights = (name for name, tensor in self.model.named_parameters() if not torch.isfinite(tensor).all())
        # A model of a plugin may mask by infinity.
        statistics = (name for name, tensor in self.model.named_buffers() if torch.isnan(tensor).any())
        return next(chain(weights, statistics), None)

    def _targets(self, batch: Batch, images: Tensor) -> Tensor:
        """What the loss compares outputs with: of the batch, or what the teachers say of the images."""
        (teachers,) = self.teachers
        if teachers is None:
            return self.task.batch_targets(self.targets, batch, images.shape[-1])
        return self.share.outputs(teachers, images)

    def _sums(self, loss: Tensor, outputs: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        number = len(batch.labels)
        score = self.task.row_scores(outputs, targets, batch.labels)[self.task.score.key].sum()
        return torch.stack([loss.double() * number, score.double(), score.new_tensor(number).double()])
