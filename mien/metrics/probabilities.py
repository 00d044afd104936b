"""From logits to probabilities, without more than numpy: what a model in use needs of the metrics."""

import numpy as np
import numpy.typing as npt


def probabilities(logits: npt.NDArray[np.floating], temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """The softmax of logits (n, k) over a temperature, float64 (n, k); the higher the temperature, the less sure.

    >>> probabilities(np.array([[0.0, np.log(3)]])).round(2).tolist()
    [[0.25, 0.75]]
    """
    # In one array: that of many rows and classes is large.
    shares = np.array(logits, dtype=np.float64)
    shares /= temperature
    shares -= shares.max(axis=1, keepdims=True)
    np.exp(shares, out=shares)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares
