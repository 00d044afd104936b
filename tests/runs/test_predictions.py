"""Predictions: what a run stored comes back as it was; someone else's file is checked before it is believed."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import FailedError, MienError
from mien.runs.predictions import Predictions, read_foreign, read_predictions

CLASSES = ("angry", "happy", "sad")


def stored(n: int = 6, split: str = "test") -> Predictions:
    random = np.random.default_rng(0)
    labels = np.arange(n) % 3
    logits = random.normal(size=(n, 3))
    return Predictions(Path("run.parquet"), tuple(map(str, range(n))), (split,) * n, labels, logits, CLASSES)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


def content(like: Predictions) -> dict[str, Any]:
    """A file's columns: ids and probabilities by class."""
    given = softmax(like.logits)
    return {"id": list(like.ids), **{name: given[:, i].tolist() for i, name in enumerate(like.classes)}}


def write(folder: Path, columns: dict[str, Any]) -> Path:
    file = folder / "peer.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def test_what_a_run_stored_comes_back(tmp_path: Path) -> None:
    like = stored()
    columns = {"id": like.ids, "split": like.splits, "label": like.labels}
    columns |= {name: like.logits[:, i].astype(np.float32) for i, name in enumerate(CLASSES)}
    found = read_predictions(write(tmp_path, columns))
    assert (found.ids, found.splits, found.classes) == (like.ids, like.splits, CLASSES)
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.logits.tolist() == like.logits.astype(np.float32).tolist()
    assert found.rows[1] == ("test", "1")
    assert found.take([2, 0]).ids == ("2", "0")
    assert found.take([2, 0]).predicted.tolist() == found.predicted[[2, 0]].tolist()


def test_a_stored_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, {"id": ["1"], "happy": [1.0]})
    with pytest.raises(FailedError) as error:
        read_predictions(file)
    assert str(error.value) == (
        f"{file}: these aren't predictions that mien wrote; expected id, split, label, a column a class"
    )
    file.write_bytes(b"no Parquet at all")
    with pytest.raises(FailedError, match="the predictions can't be read"):
        read_predictions(file)


@pytest.mark.parametrize("shape", ["columns", "prob", "logits", "other names", "float32"])
def test_someone_elses_file_is_read_in_the_runs_order(tmp_path: Path, shape: str) -> None:
    like = stored(9)
    columns = content(like)
    given = softmax(like.logits)
    if shape == "prob":
        columns = {"id": like.ids, "prob": given.tolist()}
    elif shape == "logits":
        columns = {"id": like.ids, **{name: 7 * like.logits[:, i] for i, name in enumerate(CLASSES)}}
    elif shape == "other names":
        columns = {"Sadness": columns["sad"], "id": list(range(9)), "anger": columns["angry"], "joy": columns["happy"]}
    elif shape == "float32":
        columns = {"id": like.ids, "prob": given.astype(np.float32).tolist()}
    order = np.random.default_rng(1).permutation(9)
    file = write(tmp_path, {})
    pq.write_table(pa.table(columns).take(pa.array(order)), file)
    found, further = read_foreign(file, like)
    assert further == 0
    assert (found.ids, found.splits, found.classes, found.file) == (like.ids, like.splits, CLASSES, file)
    assert found.predicted.tolist() == like.predicted.tolist()
    scale = 7 if shape == "logits" else 1
    assert softmax(found.logits / scale) == pytest.approx(given, abs=1e-6)


def test_further_rows_are_counted_and_labels_may_be_named_or_numbered(tmp_path: Path) -> None:
    like = stored()
    columns = content(like)
    for name in columns:
        columns[name] = [*columns[name], "further" if name == "id" else 1 / 3]
    for labels in ([*like.labels.tolist(), 0], [CLASSES[label] for label in like.labels] + ["Anger"]):
        found, further = read_foreign(write(tmp_path, {**columns, "label": labels}), like)
        assert (len(found), further) == (6, 1)
        assert found.labels.tolist() == like.labels.tolist()


def test_a_probability_of_0_becomes_a_finite_logit(tmp_path: Path) -> None:
    like = stored(3)
    found, _ = read_foreign(write(tmp_path, {"id": ["0", "1", "2"], "prob": np.eye(3).tolist()}), like)
    assert np.isfinite(found.logits).all()
    assert found.predicted.tolist() == [0, 1, 2]


ROWS = (1 / 3, 1 / 3, 1 / 3)


def spoiled(name: str, place: int, value: Any) -> Any:
    def change(columns: dict[str, Any]) -> dict[str, Any]:
        columns[name] = list(columns[name])
        columns[name][place] = value
        return columns

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: {name: values[1:] for name, values in c.items()},
            "row '0' is missing; expected all 6 rows; 1 aren't there",
        ),
        (
            lambda c: {"hapy" if name == "happy" else name: values for name, values in c.items()},
            "hapy: column 'hapy' is no class; expected id and the classes angry, happy, sad. Did you mean 'happy'?",
        ),
        (
            spoiled("happy", 2, 0.9999),
            "the probabilities of row '2' sum to {sum}; expected probabilities that sum to 1, or logits",
        ),
        (spoiled("sad", 4, float("nan")), "sad: 'sad' of row '4' isn't a finite number"),
        (spoiled("sad", 4, None), "sad: 'sad' of row '4' isn't a finite number"),
        (spoiled("sad", 4, float("inf")), "sad: 'sad' of row '4' isn't a finite number"),
        (
            spoiled("angry", 1, -0.25),
            "the probabilities of row '1' don't lie in 0 … 1; expected probabilities that sum to 1, or logits",
        ),
        (
            lambda c: {**c, "label": [0, 1, 2, 0, 2, 2]},
            "label: row '4' of test has label '2'; expected 'happy' (1), as in run.parquet",
        ),
        (
            lambda c: {**c, "label": ["angry", "joy", "sad", "angry", "happy", "cross"]},
            "label: row '5' of test has label 'cross'; expected 'sad' (2), as in run.parquet",
        ),
        (lambda c: {**c, "id": [0, 1, 2, 3, 4, 4]}, "row '4' stands there twice"),
        (lambda c: {**c, "id": ["0", "1", None, "3", "4", "5"]}, "id: row number 2 has no id"),
        (
            lambda c: {**c, "id": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]},
            "id: column 'id' holds double; expected text or whole numbers",
        ),
        (
            lambda c: {**c, "split": ["test"] * 5 + ["train"]},
            "row '5' of test is missing; expected all 6 rows; 1 aren't there",
        ),
        (
            lambda c: {name: values for name, values in c.items() if name != "id"},
            "there is no column 'id'; expected Parquet or CSV with a column id, split where ids alone aren't unique, "
            "and one of numbers for each class",
        ),
        (
            lambda c: {name: values for name, values in c.items() if name != "sad"},
            "there is no column for class 'sad'; expected a column for each of angry, happy, sad, or 'prob'",
        ),
        (
            lambda c: {**c, "joy": c["happy"]},
            "joy: class 'joy' stands there twice, as 'happy' and as 'joy'",
        ),
        (
            lambda c: {**c, "prob": [ROWS] * 6},
            "angry: class 'angry' stands there twice, as 'prob' and as 'angry'",
        ),
        (lambda c: {**c, "sad": ["no"] * 6}, "sad: column 'sad' holds string; expected numbers"),
        (
            lambda c: {"id": c["id"], "prob": [ROWS] * 5 + [(0.5, 0.5)]},
            "prob: 'prob' of row '5' isn't a list of 3 numbers; expected one each for angry, happy, sad",
        ),
        (
            lambda c: {"id": c["id"], "prob": [("a", "b", "c")] * 6},
            "prob: 'prob' of row '0' isn't a list of 3 numbers; expected one each for angry, happy, sad",
        ),
        (
            lambda c: {"id": c["id"], "prob": [1.0] * 6},
            "prob: 'prob' of row '0' isn't a list of 3 numbers; expected one each for angry, happy, sad",
        ),
        (
            lambda c: {"id": c["id"], "prob": [(0.2, 0.2, 0.2)] * 6},
            "the probabilities of row '0' sum to 0.6; 6 rows are like that; expected probabilities that sum to 1, "
            "or logits",
        ),
    ],
)
def test_what_is_wrong_with_someone_elses_file_is_said(tmp_path: Path, change: Any, message: str) -> None:
    like = stored()
    columns = content(like)
    total = columns["angry"][2] + 0.9999 + columns["sad"][2]
    file = write(tmp_path, change(columns))
    with pytest.raises(MienError) as error:
        read_foreign(file, like)
    assert str(error.value) == f"{file}: {message.format(sum=f'{total:.4g}')}"
    assert error.value.exit_code == 2


def test_a_file_that_is_none_says_so(tmp_path: Path) -> None:
    file = tmp_path / "peer.parquet"
    with pytest.raises(MienError, match="there is no such file"):
        read_foreign(file, stored())
    file.write_text("id,happy\n1,0.5\n")
    with pytest.raises(MienError, match="this Parquet can't be read"):
        read_foreign(file, stored())


def test_ids_that_two_splits_share_need_their_splits(tmp_path: Path) -> None:
    half = stored(3)
    like = Predictions(
        half.file,
        half.ids * 2,
        ("train",) * 3 + ("test",) * 3,
        np.tile(half.labels, 2),
        np.vstack([half.logits, half.logits]),
        CLASSES,
    )
    columns = content(like)
    with pytest.raises(MienError) as error:
        read_foreign(write(tmp_path, columns), like)
    assert str(error.value).endswith("ids alone don't tell the rows apart; expected a column 'split' as well")
    found, _ = read_foreign(write(tmp_path, {**columns, "split": like.splits}), like)
    assert found.rows == like.rows


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20).flatmap(lambda n: st.permutations(range(n))))
def test_the_order_of_a_files_rows_changes_nothing(tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    like = stored(len(order))
    file = tmp_path_factory.mktemp("order") / "peer.parquet"
    pq.write_table(pa.table(content(like)).take(pa.array(order)), file)
    found, _ = read_foreign(file, like)
    assert softmax(found.logits) == pytest.approx(softmax(like.logits))
