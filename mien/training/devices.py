"""One training on several devices: who takes part, what each has of a batch, and what all make of it together.

Each device has a process with the whole net. All of them take the same rows in the same order, and change them by the
same random numbers; then each computes the outputs of its own part, and the loss is of all outputs. So the gradient is
that of the whole batch, whatever the loss, and the sums that are told are the same everywhere.
"""

import atexit
import contextlib
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mien.errors import FailedError, MienError
from mien.experiment.schema import TrainSection

# How long a process waits for the first one to begin another training.
_LONG = datetime.timedelta(days=30)
# s between two looks at whether all processes are there.
_LOOK = 0.1


@dataclass(frozen=True)
class Place:
    """A process among those of a training: its machine and its number there, of so many machines and devices each."""

    devices: int
    nodes: int
    node: int = 0
    local: int = 0

    @property
    def rank(self) -> int:
        """Its number among all, from 0; the first one alone writes and tells."""
        return self.node * self.devices + self.local

    @property
    def size(self) -> int:
        """How many there are."""
        return self.devices * self.nodes

    @property
    def told(self) -> str:
        """How many in words."""
        return f"{self.size} on {'1 machine' if self.nodes == 1 else f'{self.nodes} machines'}"


class Share:
    """What a device, the `rank`-th of `size`, has of each batch; a single one has all of it.

    `parted` says whether the last batch that went through a net was divided.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.parted = False

    def divides(self, rows: int) -> bool:
        """Whether a batch of so many rows is divided; one of fewer rows than devices is whole on each of them."""
        return 1 < self.size <= rows

    def part(self, rows: int) -> slice:
        """Which rows of a batch of so many are this device's.

        >>> [Share(rank, size=3).part(8) for rank in range(3)]
        [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
        """
        if not self.divides(rows):
            return slice(0, rows)
        each, more = divmod(rows, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def outputs(self, net: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """What a net gives for all images (n, c, h, w) of a batch; those of this device's part have a gradient."""
        self.parted = self.divides(len(images))
        return self.whole(net(images[self.part(len(images))]), len(images))

    def whole(self, outputs: Tensor, rows: int) -> Tensor:
        """All rows of what each device has of its part of a batch, (rows, …)."""
        if not self.divides(rows):
            return outputs
        together = outputs.new_zeros(rows, *outputs.shape[1:])
        together[self.part(rows)] = outputs.detach()
        dist.all_reduce(together)
        together[self.part(rows)] = outputs
        return together

    @property
    def factor(self) -> int:
        """What a loss is multiplied by, since DDP takes the mean of what are parts of one gradient."""
        return self.size if self.parted else 1


class World:
    """The processes of a training, and the store by which the first one tells the others what to do."""

    def __init__(self, place: Place, store: dist.Store) -> None:  # type: ignore[name-defined]
        self.place, self.store = place, store
        self.calls = 0

    def call(self, order: Mapping[str, Any] | None) -> None:
        """Call the others to a training, or send them home."""
        self.calls += 1
        self.store.set(f"order {self.calls}", json.dumps(order))

    def orders(self) -> Iterator[dict[str, Any]]:
        """What the first process calls for, until it sends the others home or is gone."""
        while True:
            self.calls += 1
            try:
                self.store.wait([f"order {self.calls}"], _LONG)
                order = json.loads(self.store.get(f"order {self.calls}"))
            except RuntimeError:
                return
            if order is None:
                return
            yield order

    @contextlib.contextmanager
    def joined(self, device: str) -> Iterator[Share]:
        """All processes as a group, "cpu" or "cuda", until the block ends; FailedError where one of them is gone."""
        place = self.place
        self.store.set(f"here {self.calls} {place.rank}", "")
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
            store=dist.PrefixStore(f"training {self.calls}", self.store),  # type: ignore[attr-defined]
            rank=place.rank,
            world_size=place.size,
        )
        try:
            yield Share(place.rank, place.size)
        except RuntimeError as error:
            raise _in_words(error) from error
        finally:
            dist.destroy_process_group()


def _in_words(error: RuntimeError) -> Exception:
    """What an error of torch.distributed means to a user; others as they are."""
    text = str(error)
    if isinstance(error, dist.DistError) or any(word in text for word in ("by peer", "Broken pipe")):
        return FailedError("one of the devices has gone", expected="mien train --resume RUN, which goes on")
    # PyTorch's words, and what Lightning makes of them.
    if any(words in text for words in ("Expected to have finished reduction", "not used in producing the loss")):
        return FailedError("the model has weights without effect on its outputs", key="train.devices", expected="1")
    return error


# Where torchrun or srun have started this process among others.
_world: World | None = None


def enter() -> World | None:
    """The processes that torchrun or srun have started for one training; None where this one is alone."""
    global _world
    found = _launched()
    if found is None or found[0].size == 1:
        return None
    place, host, port = found
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = dist.TCPStore(  # type: ignore[attr-defined]
        host, port, is_master=place.rank == 0 and not served, wait_for_workers=False
    )
    _world = World(place, store)
    if place.rank == 0:
        atexit.register(_send_home, _world)
    return _world


def _send_home(world: World) -> None:
    with contextlib.suppress(RuntimeError):  # Whoever keeps the store has gone before.
        world.call(None)


def _launched() -> tuple[Place, str, int] | None:
    """The place that a launcher gave this process, and the host and port of the store."""
    given = os.environ
    if {"WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= given.keys():
        devices = int(given["LOCAL_WORLD_SIZE"])
        nodes = int(given["WORLD_SIZE"]) // devices
        place = Place(devices, nodes, int(given["GROUP_RANK"]), int(given["LOCAL_RANK"]))
        return place, given["MASTER_ADDR"], int(given["MASTER_PORT"])
    if "SLURM_STEP_NUM_TASKS" in given:  # What srun sets, and sbatch doesn't.
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        nodes = int(given["SLURM_STEP_NUM_NODES"])
        devices = int(given["SLURM_STEP_NUM_TASKS"]) // nodes
        place = Place(devices, nodes, int(given["SLURM_NODEID"]), int(given["SLURM_LOCALID"]))
        host = SLURMEnvironment.resolve_root_node_address(given["SLURM_STEP_NODELIST"])
        # All processes of a step find the same, and two steps of one machine hardly ever do.
        return place, host, 15000 + (int(given["SLURM_JOB_ID"]) + int(given["SLURM_STEP_ID"])) % 10000
    return None


def check_started(section: TrainSection) -> None:
    """Raise MienError unless the processes of a training are there, or can be started on this machine."""
    wanted = Place(section.devices, section.nodes)
    if _world is None:
        if section.nodes > 1:
            raise MienError(
                "on several machines mien doesn't start by itself",
                key="train.nodes",
                expected=f"on each machine: torchrun --nnodes {section.nodes} --nproc-per-node {section.devices} "
                "--rdzv-backend c10d --rdzv-endpoint HOST:29500 -m mien train …; or srun",
            )
        return
    there = _world.place
    if (there.devices, there.nodes) != (wanted.devices, wanted.nodes):
        raise MienError(
            f"torchrun or srun has started {there.told}, and the training is for {wanted.told}",
            key="train.devices",
            expected=f"as many processes, or train.devices={there.devices} train.nodes={there.nodes}",
        )


@contextlib.contextmanager
def gathered(section: TrainSection, device: str, order: Mapping[str, Any]) -> Iterator[Share]:
    """The devices of a training as a group; the others are called by `order`, and started where nobody has."""
    place = Place(section.devices, section.nodes)
    if place.size == 1:
        yield Share()
    elif _world is not None:
        _world.call(order)
        with _world.joined(device) as share:
            yield share
    else:
        with _started(place, order) as world, world.joined(device) as share:
            yield share


@contextlib.contextmanager
def _started(place: Place, order: Mapping[str, Any]) -> Iterator[World]:
    """Processes for all devices of this machine but the first, which share its threads evenly, called by `order`."""
    before = torch.get_num_threads()
    threads = max(1, before // place.devices)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    given = {
        "WORLD_SIZE": place.size,
        "LOCAL_WORLD_SIZE": place.devices,
        "GROUP_RANK": 0,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": store.port,
        "OMP_NUM_THREADS": threads,
    }
    processes: list[subprocess.Popen[bytes]] = []
    try:
        torch.set_num_threads(threads)
        for local in range(1, place.devices):
            own = {key: str(value) for key, value in (given | {"LOCAL_RANK": local}).items()}
            # In a group of its own: Ctrl-C in the terminal reaches this process alone.
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "mien", "train"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, **own},
                    start_new_session=True,
                )
            )
        world = World(place, store)
        world.call(order)
        _wait(world, processes)
        yield world
    finally:
        torch.set_num_threads(before)
        for process in processes:
            process.kill()  # It has nothing to write.
        for process in processes:
            process.wait()


def _wait(world: World, processes: list[subprocess.Popen[bytes]]) -> None:
    """Until all processes are there; FailedError where one ends instead."""
    keys = [f"here {world.calls} {rank}" for rank in range(1, world.place.size)]
    while not world.store.check(keys):
        time.sleep(_LOOK)
        for rank, process in enumerate(processes, 1):
            if process.poll() is not None:
                raise FailedError(f"device {rank + 1} has failed (exit code {process.returncode})")
