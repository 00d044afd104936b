"""Parts told by the machines of a Ray cluster, or by the cores of this one: Ray Data hands them out, and out again."""

import contextlib
import json
import logging
import os
import pickle
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mien.errors import FailedError, MienError, reason
from mien.inference.predictor import Predictor
from mien.prediction.bulk import Bulk, Told, tell
from mien.prediction.recipe import Packed, unpack
from mien.prediction.sources import Source


class Teller:
    """What each worker is: one process with models of its own, which tells one part after the other."""

    def __init__(self, packed: Any, bulk: Bulk) -> None:
        """`packed` is the reference of a recipe in Ray's store. What is wrong with it is told with the first part."""
        import ray

        self.bulk = bulk
        self.predictor: Predictor | MienError
        try:
            self.predictor = unpack(ray.get(packed))
        except MienError as error:
            self.predictor = error

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The part as it was told, or the error that ends the work, as JSON."""
        try:
            if isinstance(self.predictor, MienError):
                raise self.predictor
            told = tell(self.bulk, int(row["part"]), pickle.loads(row["source"]), self.predictor)
            return {"told": told.model_dump_json()}
        except MienError as error:
            return {"told": json.dumps({"error": error.as_dict(), "failed": isinstance(error, FailedError)})}


def tell_by_ray(bulk: Bulk, parts: Sequence[Source], packed: Packed) -> Iterator[Told]:
    """Tell all parts, as many at once as the cluster has cores; each is given when it is whole, in any order.

    The cluster is that of RAY_ADDRESS, or one that runs on this machine, or one that is started. A part whose worker or
    machine dies is told by another. Raises MienError where there is no such cluster, and FailedError where work fails.
    """
    import ray.data
    from ray.exceptions import RayError

    with _connected():
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        # From one actor to as many as a cluster grows to, beginning with those that there is room for.
        workers = ray.data.ActorPoolStrategy(min_size=1, initial_size=min(cores, len(parts)))
        rows = [{"part": number, "source": pickle.dumps(part)} for number, part in enumerate(parts, start=1)]
        told = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Teller, fn_constructor_args=(ray.put(packed), bulk), compute=workers, num_cpus=1
        )
        try:
            for row in told.iter_rows():
                yield _told(row["told"])
        except RayError as error:
            expected = "--resume, to go on with what is done"
            raise FailedError(f"a worker failed ({reason(error)})", expected=expected) from error


def _told(text: str) -> Told:
    content = json.loads(text)
    if "error" in content:
        raise (FailedError if content["failed"] else MienError)(**content["error"])
    return Told(**content)


def _call(address: str) -> None:
    """OSError where nobody answers at HOST:PORT, which takes Ray itself minutes to find out."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing of what libraries in C write to standard error is shown: Ray tells there how it was told to be silent."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """A connection to a cluster, for as long as it is needed."""
    import ray.data

    # Ray tells its makers of each cluster, unless this says otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What Ray says of its own work stands in its logs; what a user is to know, mien says.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
    address = os.environ.get("RAY_ADDRESS")
    where = f"there is no Ray cluster at {address}" if address else "Ray doesn't start"
    try:
        _call(address or "")
        with _silent():
            ray.init(log_to_driver=False, logging_level="ERROR", configure_logging=True)
    except Exception as error:  # Ray raises its errors, and bare ones where it takes too long to start.
        raise MienError(
            f"{where} ({reason(error)})",
            key="RAY_ADDRESS",
            expected="the address of one that runs, as 10.0.0.1:6379; or none, to use this machine",
        ) from error
    # Ray tells on standard output of machines that die, some of it at the end; there the result stands.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            ray.shutdown()
