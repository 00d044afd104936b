"""The FastAPI app that anyone writes first, with mien's model and one lock: `python plain.py PORT MODEL DETECTOR`."""

import sys
import threading

import uvicorn
from fastapi import FastAPI, UploadFile

from mien.faces.detector import open_detector
from mien.images import decode_photo
from mien.inference.model import load
from mien.inference.predictor import Predictor


def main() -> None:
    """Serve until stopped."""
    port, name, detector = sys.argv[1:]
    app, lock = FastAPI(), threading.Lock()
    predictor = Predictor(load(name), open_detector(detector))

    @app.post("/predict")
    def predict(images: UploadFile) -> list[dict[str, float]]:
        data = images.file.read()
        with lock:
            (answers,) = predictor.answers([decode_photo(data)])
        return [dict(one.probabilities) for one in answers]

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error", access_log=False)


if __name__ == "__main__":
    main()
