"""What Lightning is told of processes that mien has started or found: who they are, and who handles signals."""

import signal
import threading

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy


class Places(LightningEnvironment):
    """Processes that are there already: this is the `rank`-th, of `devices` on each machine."""

    def __init__(self, rank: int, devices: int) -> None:
        super().__init__()
        self.rank, self.devices = rank, devices

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts none."""
        return True

    def node_rank(self) -> int:
        """The number of the machine."""
        return self.rank // self.devices

    def local_rank(self) -> int:
        """The number of the process on its machine."""
        return self.rank % self.devices


class Joined(DDPStrategy):
    """DDP in a group that is there already, in a notebook too."""

    def _configure_launcher(self) -> None:
        """There is nothing to launch."""


class OwnSignals(Callback):
    """SIGTERM stops a training as it did before Lightning, whose way waits for all devices and may wait for ever."""

    def __init__(self) -> None:
        self.before = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning has just put its own in place."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.before)
