"""What is measured of each row by itself: the means over the rows, each with its interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mien.errors import FailedError
from mien.intervals import Counts, Values, clusters, percentile_interval, resampled_means


def measure_rows(scores: Mapping[str, Values], groups: Counts | None = None) -> dict[str, Any]:
    """The mean of each score (n,) by its name, `n`, and their 95 % `interval` over bootstrap samples of the rows.

    With `groups`, int (n,) as `intervals.clusters` gives them, of whole groups; `groups` says of how many. Raises
    FailedError for scores that aren't finite numbers.

    >>> measure_rows({"mae": np.array([1.0, 1.0, 1.0])})
    {'n': 3, 'mae': 1.0, 'interval': {'mae': [1.0, 1.0]}, 'groups': None}
    """
    groups = None if groups is None else clusters(groups.tolist())
    table = np.stack([np.asarray(values, np.float64) for values in scores.values()], axis=1)
    if not np.isfinite(table).all():
        broken = int((~np.isfinite(table)).any(axis=1).sum())
        raise FailedError(f"the scores of {broken} of {len(table)} rows aren't finite numbers")
    means, samples = table.mean(axis=0).tolist(), resampled_means(table, groups=groups)
    ends = [list(percentile_interval(samples[:, number], mean)) for number, mean in enumerate(means)]
    return {
        "n": len(table),
        **dict(zip(scores, means, strict=True)),
        "interval": dict(zip(scores, ends, strict=True)),
        "groups": None if groups is None else int(groups.max()) + 1,
    }
