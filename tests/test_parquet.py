"""Parquet from anywhere: pieces that memory holds, whatever a small file unpacks to."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.errors import FailedError, MienError
from mien.parquet import open_parquet, pieces, read_table


def write(file: Path, table: pa.Table, **options: object) -> Path:
    """The file, written."""
    pq.write_table(table, file, compression="zstd", **options)
    return file


def test_a_text_that_all_rows_share_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    text = "x" * 30_000_000
    file = write(tmp_path / "a.parquet", pa.table({"id": pa.array([text]).take(pa.array([0] * 60))}))
    assert file.stat().st_size < 10_000
    before = pa.default_memory_pool()
    with pytest.raises(MienError) as error:
        read_table(file, ["id"])
    assert str(error.value) == f"{file}: id: row 0 has a text of 30,000,000 bytes; expected at most 1,000"
    assert before.max_memory() < 2 * 2**30


def test_pieces_have_few_rows_where_values_may_be_large(tmp_path: Path) -> None:
    small = pa.table({"image": pa.array([b"x"] * 5000), "label": range(5000)})
    file = write(tmp_path / "small.parquet", small, row_group_size=1000)
    with open_parquet(file) as opened:
        assert [len(piece) for piece in pieces(opened, file, most=1000)] == [1000] * 5
    large = pa.table({"image": pa.array([bytes(40_000_000)]).take(pa.array([0] * 9)), "label": range(9)})
    file = write(tmp_path / "large.parquet", large)
    with open_parquet(file) as opened:
        read = list(pieces(opened, file))
    assert [len(piece) for piece in read] == [1] * 9
    assert pa.Table.from_batches(read)["label"].to_pylist() == list(range(9))


def test_a_table_comes_back_with_the_columns_in_the_order_asked_for(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    file = write(tmp_path / "a.parquet", table)
    assert read_table(file).equals(table)
    assert read_table(file, ["b", "a"]).column_names == ["b", "a"]
    assert read_table(write(tmp_path / "none.parquet", table.slice(0, 0))).equals(table.slice(0, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "ArrowInvalid: Parquet file size is 0 bytes"),
        (lambda data: data[:-9], "ArrowInvalid: Parquet"),
        (lambda data: data[:40] + bytes(200) + data[240:], ""),
    ],
)
def test_a_broken_file_is_said(tmp_path: Path, change: object, message: str) -> None:
    file = write(tmp_path / "a.parquet", pa.table({"a": [str(i) for i in range(500)]}))
    file.write_bytes(change(file.read_bytes()))  # type: ignore[operator]
    with pytest.raises(FailedError) as error:
        read_table(file, what="the audit")
    assert str(error.value).startswith(f"{file}: the audit can't be read ({message}")


def test_columns_that_are_missing_or_there_twice(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", pa.table({"a": [1]}))
    with pytest.raises(FailedError, match="there is no column 'b'"):
        read_table(file, ["b"])
    file = write(tmp_path / "b.parquet", pa.table([[1], [2]], names=["a", "a"]))
    with pytest.raises(FailedError, match="two columns are called 'a'"):
        read_table(file)
