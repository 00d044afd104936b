"""The `fer` package's TFLite model, run as that package runs it: face by face, by LiteRT in a Python of its own.

PYTHON fer.py MODEL FACES OUT THREADS BATCH…: see `benchmarks/best.py`. Needs numpy and ai-edge-litert alone.
"""

import json
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-not-found]

SIZE = 64


def main() -> None:
    """Write the probabilities of all faces, and print the faces a second of each batch size."""
    model, faces, out, threads, *batches = sys.argv[1:]
    network = Interpreter(model, num_threads=int(threads))
    gray = np.fromfile(faces, np.uint8).reshape(-1, SIZE, SIZE, 1)
    ready = (gray.astype(np.float32) / 255 - 0.5) * 2
    found: list[np.ndarray] = []
    rates = {}
    for batch in map(int, batches):
        network.resize_tensor_input(network.get_input_details()[0]["index"], (batch, SIZE, SIZE, 1))
        network.allocate_tensors()
        given, given_back = (part[0]["index"] for part in (network.get_input_details(), network.get_output_details()))
        whole = len(ready) - len(ready) % batch
        found = []
        started = time.perf_counter()
        for start in range(0, whole, batch):
            network.set_tensor(given, ready[start : start + batch])
            network.invoke()
            found.append(network.get_tensor(given_back))
        rates[batch] = whole / (time.perf_counter() - started)
    np.concatenate(found).astype(np.float32).tofile(out)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
