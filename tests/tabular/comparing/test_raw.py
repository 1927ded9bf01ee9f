"""Properties proved here.

1. CSV (comma, semicolon, tab; quoted cells over two lines; a byte order mark), Parquet (also
   dictionaries, decimals, booleans) and pandas give the same columns: numbers with NaN, text with
   None.
2. What is no table is refused, and the message names the line and the column: rows of another
   length, text among numbers, no rows, names twice, no UTF-8, no such file, a folder, a pipe.
3. Cells that are too long, and files that do not fit into memory, are refused before they are read.
4. Columns of dates and lists are named as unusable.
"""

import os

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet as parquet
import pytest

from dualview.errors import DataError, TableError
from dualview.tabular.comparing import raw
from dualview.tabular.comparing.raw import read_columns
from tests.tabular.comparing.small_tables import shop, written


def _same(found, wanted):
    assert list(found.cells) == list(wanted.cells)
    for name, cells in wanted.cells.items():
        assert found.cells[name].dtype == cells.dtype, name
        if cells.dtype == np.float64:
            np.testing.assert_array_equal(found.cells[name], cells)
        else:
            assert [str(v).lower() for v in found.cells[name]] == [str(v).lower() for v in cells]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_and_pandas_say_the_same(tmp_path, separator):
    frame = shop()
    frame.loc[3, "town"] = f"a{separator} town\nof two lines"
    frame.to_csv(tmp_path / "a.csv", sep=separator, index=False, encoding="utf-8-sig")
    found = read_columns(tmp_path / "a.csv")
    _same(found, read_columns(frame))
    assert found.cells["town"][5] is None
    assert np.isnan(found.cells["income"][9])
    assert found.place(2) == f"{tmp_path / 'a.csv'}, line 4"
    assert found.place(4).endswith("line 7")  # a row before it has two lines


def test_parquet_says_the_same(tmp_path):
    frame = shop()
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    at = table.schema.get_field_index("town")
    table = table.set_column(at, "town", table["town"].dictionary_encode())
    at = table.schema.get_field_index("spent")
    table = table.set_column(at, "spent", table["spent"].cast(pyarrow.decimal128(10, 1)))
    parquet.write_table(table, tmp_path / "a.parquet")
    found = read_columns(str(tmp_path / "a.parquet"))
    _same(found, read_columns(frame))
    assert found.place(2) == f"{tmp_path / 'a.parquet'}, row 2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a line of names and rows under it"),
        ("a,b\n", "expected a line of names and rows under it"),
        ("a,b\n1,2\n\n3\n", "line 4: expected 2 cells"),
        ("a,a\n1,2\n", "'a' twice"),
        ("a,b\n1,2\n" + "3,4\n" * 20 + "x,5\n", "line 23, column 'a': expected a number"),
        ("a,b\n1,2\n" + "3,4\n" * 20 + "1_000,5\n", "got '1_000'"),
        ('a,b\n1,"2\n', "expected CSV"),
        ("a,b\n1,x\n2,%s\n" % ("y" * 10_001), "line 3, column 'b': expected at most"),
    ],
)
def test_bad_csv(tmp_path, text, said):
    with pytest.raises(TableError, match=said):
        read_columns(written(tmp_path, text))


def test_what_is_no_file(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "latin.csv").write_bytes(b"a,b\n\xe4,1\n")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    for name, said in {
        "pipe.csv": "named pipe",
        "latin.csv": "UTF-8, got byte 0xe4 at 4",
        "folder.csv": "folder",
        "none.csv": "No such file",
        "a.xlsx": "expected a file .csv",
    }.items():
        with pytest.raises(TableError, match=said):
            read_columns(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_columns(tmp_path / "torn.parquet")


def test_what_is_too_large(tmp_path, monkeypatch):
    shop().to_csv(tmp_path / "a.csv")
    shop().to_parquet(tmp_path / "a.parquet")
    long = pyarrow.table({"a": ["x" * 10_001]})
    parquet.write_table(long, tmp_path / "long.parquet")
    with pytest.raises(TableError, match="letters in a cell, got 10001"):
        read_columns(tmp_path / "long.parquet")
    monkeypatch.setattr(raw, "room", lambda: 10_000)
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(TableError, match="fits into memory"):
            read_columns(tmp_path / name)


def test_unusable_columns(tmp_path):
    frame = shop().assign(when=pandas.Timestamp("2020-01-01"), many=[[1, 2]] * 60)
    frame.to_parquet(tmp_path / "a.parquet")
    found = read_columns(tmp_path / "a.parquet")
    assert set(found.refused) == {"when", "many"}
    assert "timestamp" in found.refused["when"]
    assert set(read_columns(frame.drop(columns="many")).refused) == {"when"}


def test_names_that_are_empty_are_numbers(tmp_path):
    found = read_columns(written(tmp_path, ",b\n1,2\n"))
    assert list(found.cells) == ["column 1", "b"]
