"""Tasks: what a model is trained to tell and how that is measured, each in one file behind one interface.

This is the one place where tasks are called by name. A task of your own is registered by the same decorator in a
plugin file: see `Task` for what it says.
"""

from collections.abc import Mapping
from typing import Any

from mien.tasks.base import LOSS, Score, Task, find_task, regression, require, resolve
from mien.tasks.expression import ACCURACY
from mien.tasks.expression import NAME as EXPRESSION
from mien.tasks.landmarks import NAME as LANDMARKS
from mien.tasks.landmarks import NME

__all__ = [
    "ACCURACY",
    "EXPRESSION",
    "LANDMARKS",
    "LOSS",
    "NME",
    "OWN",
    "Score",
    "Task",
    "find_task",
    "headline",
    "regression",
    "require",
    "resolve",
    "task_name",
    "task_of",
]

# The tasks that mien brings; all others are plugins'.
OWN: Mapping[str, Task] = {name: find_task(name) for name in (EXPRESSION, LANDMARKS)}


def task_name(metrics: Mapping[str, Any]) -> str:
    """The task that a metrics file is of; those of before files said so are told by their shape.

    >>> task_name({"task": "landmarks"}), task_name({"mean_shape": {}}), task_name({"accuracy": 0.5})
    ('landmarks', 'landmarks', 'expression')
    """
    named: str = metrics.get("task") or (LANDMARKS if "mean_shape" in metrics else EXPRESSION)
    return named


def task_of(metrics: Mapping[str, Any]) -> Task:
    """The task of a metrics file; of a plugin's what the file itself says of it, so that reading runs no plugin."""
    name = task_name(metrics)
    return OWN[name] if name in OWN else Task(name=name, score=Score(**metrics["score"]))


def headline(metrics: Mapping[str, Any]) -> str:
    """A run's score with its interval, split and n in one line, of what its metrics file says."""
    return task_of(metrics).headline(metrics)
