"""What stands in a workspace, as the API shows it: data sets and runs."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mien import workspace as places
from mien.api.results import Figure, Metrics, Table
from mien.errors import MienError, nearest
from mien.extras import require
from mien.html_table import html_table
from mien.runs.epochs import Epoch, read_epochs

if TYPE_CHECKING:
    import pandas as pd

    from mien.data import dataset as datasets
    from mien.runs import run as runs


@dataclass(frozen=True, repr=False)
class Run:
    """A run's folder: what was trained, how far it is, and what came of it.

    >>> run = mien.open_workspace().runs["first/1"]
    >>> run.state, run.metrics.n, len(run.history())
    ('finished', 20, 2)
    """

    folder: Path

    def __repr__(self) -> str:
        return f"Run({self.name!r})"

    @property
    def stored(self) -> "runs.Run":
        """The run as the rest of mien has it: its files by their names."""
        from mien.runs.run import Run

        return Run(self.folder)

    @property
    def name(self) -> str:
        """The experiment's name and the run's number, as `cnn1/3`."""
        return self.stored.name

    @property
    def state(self) -> str:
        """Waiting, running, stopped, failed, interrupted or finished."""
        return self.stored.state

    @property
    def metrics(self) -> Metrics:
        """What was measured on the report role, before `mien.evaluate` on the choose role; MienError for neither."""
        from mien.runs.stored import read_metrics

        return Metrics.of({"role": self._role, **read_metrics(self.stored.metrics_file(self._role))})

    @property
    def _role(self) -> str:
        for role in ("report", "choose"):
            if self.stored.metrics_file(role).is_file():
                return role
        raise MienError(f"run {self.name} isn't measured", file=str(self.folder), expected="a finished run")

    def history(self) -> Table[Epoch]:
        """The epochs so far, each with its losses and scores."""
        # Of stored epochs nobody knows how fast they were.
        return Table(self.name, read_epochs(self.stored), lambda epoch: dict([*asdict(epoch).items()][:-1]))

    def predictions(self, role: Literal["report", "choose"] | None = None) -> "pd.DataFrame":
        """The rows of a role with what the model says of them; needs pandas.

        Parameters
        ----------
        role : {"report", "choose"}, optional
            Whose rows; without it, those of `metrics`.

        Returns
        -------
        pandas.DataFrame
            `id`, `split`, `label` and `predicted` as names of classes, and for each class its probability at the
            temperature that was fitted on the choose role.

        Examples
        --------
        >>> list(mien.open_workspace().runs["first/1"].predictions().columns)[:5]
        ['id', 'split', 'label', 'predicted', 'angry']
        """
        require("a table of predictions", "pandas")
        import pandas as pd

        from mien.metrics.probabilities import probabilities
        from mien.runs.predictions import read_predictions
        from mien.runs.stored import read_metrics

        chosen = role or self._role
        if not self.stored.predictions(chosen).is_file():
            raise MienError(f"run {self.name} has no predictions of the {chosen} role", file=str(self.folder))
        rows = read_predictions(self.stored.predictions(chosen))
        calibration = read_metrics(self.stored.metrics_file(chosen)).get("calibration") or {}
        shares = probabilities(rows.logits, calibration.get("temperature", 1.0))
        names = {
            column: [rows.classes[index] for index in indices]
            for column, indices in (("label", rows.labels), ("predicted", rows.predicted))
        }
        by_class = dict(zip(rows.classes, shares.T, strict=True))
        return pd.DataFrame({"id": rows.ids, "split": rows.splits, **names, **by_class})

    def figure(self, name: str) -> Figure:
        """One of the run's figures: curves, confusion, reliability, …, and what `mien.explain` drew.

        Parameters
        ----------
        name : str
            As a file of the run's `figures/` or `explain/` is called. Its role may be left out: then the report
            role's is meant before the choose role's. MienError for another name says which there are.
        """
        known = {path.stem: path for part in ("figures", "explain") for path in (self.folder / part).glob("*.png")}
        for stem in (name, f"{name}-report", f"{name}-choose"):
            if stem in known:
                return Figure(known[stem])
        short = sorted({stem.removesuffix("-report").removesuffix("-choose") for stem in known})
        raise MienError(
            f"run {self.name} has no figure '{name}'",
            expected="one of " + ", ".join(short) if short else "a finished run",
            nearest=nearest(name, short),
        )

    def _row(self) -> dict[str, object]:
        row: dict[str, object] = {"run": self.name, "state": self.state}
        try:
            content, done = self.stored.listed, len(self.history())
        except MienError as error:
            nothing = dict.fromkeys(("data set", "protocol", "epochs", "measured on"), "–")
            return {**row, **nothing, "score": f"can't be read: {error}"}
        row["data set"] = content["dataset"]["name"]
        row |= {"protocol": content["protocol"]["name"], "epochs": f"{done}/{content['train']['epochs']}"}
        try:
            metrics = self.metrics
        except MienError:
            return {**row, "measured on": "–", "score": "–"}
        name, score = next(iter(metrics.scores.items()))
        where = f"{metrics.role}: {metrics.split}, n = {metrics.n:,}"
        return {**row, "measured on": where, "score": f"{name.replace('_', ' ')} {score}"}

    def _repr_html_(self) -> str:
        return html_table(self.name, [self._row()])


@dataclass(frozen=True)
class Dataset:
    """A data set of the workspace; `splits` counts the rows of each class.

    >>> drawn = mien.open_workspace().datasets["drawn"]
    >>> drawn.labels, drawn.splits["test"]["happy"]
    ('fer2013-7', 4)
    """

    name: str
    labels: str
    splits: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]
    folder: Path = field(repr=False)

    @classmethod
    def of(cls, stored: "datasets.Dataset") -> "Dataset":
        """What the card of a data set says."""
        card = stored.card
        splits = {split: dict(zip(card.classes, counts, strict=True)) for split, counts in card.splits.items()}
        return cls(card.name, card.labels, splits, tuple(card.notes), stored.folder)

    def contact_sheet(self) -> Figure:
        """The first images of each class of the first split."""
        require("a contact sheet", "pyarrow")
        from mien.data.contact_sheets import sheet_of_classes
        from mien.data.dataset import Dataset

        return Figure(sheet_of_classes(Dataset(self.folder)))

    def _row(self) -> dict[str, object]:
        rows = {split: sum(counts.values()) for split, counts in self.splits.items()}
        return {"data set": self.name, "labels": self.labels, **rows}

    def _repr_html_(self) -> str:
        rows = [{"split": split, **counts, "all": sum(counts.values())} for split, counts in self.splits.items()]
        return html_table(". ".join([f"{self.name}: {self.labels}", *self.notes]), rows)


@dataclass(frozen=True)
class Workspace:
    """The folder of data sets and runs.

    >>> mien.open_workspace().datasets
    data sets
    data set  labels     train  validation  test
    drawn     fer2013-7  160    20          20
    """

    root: Path

    @property
    def stored(self) -> places.Workspace:
        """The workspace as the rest of mien has it."""
        return places.Workspace(self.root)

    @property
    def datasets(self) -> Table[Dataset]:
        """The data sets, in order and by name."""
        require("a list of data sets", "pyarrow")
        from mien.data.dataset import list_datasets, open_dataset

        def find(name: str) -> Dataset:
            return Dataset.of(open_dataset(self.stored, name))

        known = []
        for name in list_datasets(self.stored):
            with contextlib.suppress(MienError):  # `mien data list` says what is wrong with it.
                known.append(find(name))
        return Table("data sets", known, Dataset._row, find)

    @property
    def runs(self) -> Table[Run]:
        """The runs, in order and by name: `cnn1/3`, or `cnn1` for its latest finished one."""
        from mien.runs.run import find_run, list_runs

        def find(name: str) -> Run:
            return Run(find_run(self.stored, name).folder)

        return Table("runs", [Run(run.folder) for run in list_runs(self.stored)], Run._row, find)

    def _repr_html_(self) -> str:
        return self.datasets._repr_html_() + self.runs._repr_html_()
