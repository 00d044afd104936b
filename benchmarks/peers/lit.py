"""LitServe with mien's model, a process for each core: `PYTHON lit.py PORT MODEL DETECTOR`.

PYTHON is of a venv with litserve, python-multipart and what `pip install mien` brings, as of constraints.txt.
"""

import os
import sys

import litserve as ls  # type: ignore[import-not-found]
from fastapi import Request

from mien.faces.detector import open_detector
from mien.images import decode_photo
from mien.inference.model import load
from mien.inference.predictor import Predictor


class Faces(ls.LitAPI):
    """A form's file in, the probabilities of each face out."""

    def setup(self, device: str) -> None:
        """Open the model."""
        self.predictor = Predictor(load(sys.argv[2]), open_detector(sys.argv[3]))

    def decode_request(self, request: Request) -> bytes:
        """The bytes of the file."""
        # It gives the form itself.
        data: bytes = request["images"].file.read()
        return data

    def predict(self, x: bytes) -> list[dict[str, float]]:
        """What the model says."""
        (answers,) = self.predictor.answers([decode_photo(x)])
        return [dict(one.probabilities) for one in answers]

    def encode_response(self, output: list[dict[str, float]]) -> list[dict[str, float]]:
        """The same."""
        return output


if __name__ == "__main__":
    server = ls.LitServer(Faces(), accelerator="cpu", workers_per_device=os.cpu_count() or 1, timeout=120)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="error", generate_client_file=False)
