"""Files that were made to harm, or that something else took the place of.

- A named pipe in place of any file is refused at once.
- What would take more memory than is left is refused by its headers: millions of rows in little
  Parquet, large cells, npz archives that are small and unpack to much, or whose headers lie.
- That holds under a limit on the process's memory, too.
- File names that are no UTF-8 are data like others.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dualview.datasets import cache as cache_module
from dualview.datasets import load
from dualview.errors import DataError


def png(size=(4, 4), value=0):
    stream = io.BytesIO()
    Image.new("L", size, value).save(stream, "PNG")
    return stream.getvalue()


def parquet(path, cells, labels, **options):
    images = pa.array([{"bytes": cell, "path": None} for cell in cells])
    table = pa.table({"image": images, "label": pa.array(labels, pa.int64())})
    pq.write_table(table, path, compression="zstd", **options)
    return path


def many_rows(path, rows, size):
    """Few bytes: one image, repeated by a dictionary."""
    cell = pa.array([png(size)], pa.binary())
    indices = pa.array(np.zeros(rows, np.int32))
    bytes_of_all = pa.DictionaryArray.from_arrays(indices, cell).cast(pa.binary())
    images = pa.StructArray.from_arrays([bytes_of_all], ["bytes"])
    table = pa.table({"image": images, "label": pa.array(np.zeros(rows, np.int64))})
    pq.write_table(table, path, compression="zstd")
    return path


PIPES = {
    "x.npz": "named pipe",
    "x.parquet": "named pipe",
    "folder/train-00000-of-00001.parquet": "named pipe",
    "folder/class/picture.png": "named pipe",
}


@pytest.mark.parametrize("place", PIPES)
def test_pipes_are_refused(place, tmp_path):
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    given = tmp_path / place.split("/")[0]
    with pytest.raises(DataError, match=PIPES[place]) as caught:
        load(given, cache=False)
    assert "cut short" not in str(caught.value)  # nothing is damaged


def test_a_pipe_in_the_cache_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALVIEW_CACHE", str(tmp_path / "cache"))
    path = parquet(tmp_path / "x.parquet", [png(value=k) for k in range(20)], [0, 1] * 10)
    load(path)
    (kept,) = cache_module.cache_folder().iterdir()
    kept.unlink()
    os.mkfifo(kept)
    assert len(load(path).train) == 14
    assert kept.is_file()


@pytest.fixture
def little_room(monkeypatch):
    """100 MiB, for every reader."""
    for module in ("npz", "parquet", "decode"):
        monkeypatch.setattr(f"dualview.datasets.{module}.room", lambda: 100 * 2**20)


def test_many_rows_in_a_small_file(tmp_path, little_room):
    path = many_rows(tmp_path / "x.parquet", 200_000, (64, 64))
    assert path.stat().st_size < 200_000
    with pytest.raises(DataError, match=r"200,000 images like this one take 781 MiB decoded"):
        load(path, cache=False)


def test_large_cells(tmp_path, monkeypatch):
    monkeypatch.setattr("dualview.datasets.parquet.MOST_ENCODED", 2**20)
    monkeypatch.setattr("dualview.datasets.tables.MOST_ENCODED", 2**20)
    one = parquet(tmp_path / "one.parquet", [bytes(2**21)], [0])
    with pytest.raises(DataError, match=r"row group 0, column 'image', 1 row\(s\): expected"):
        load(one, cache=False)
    among = parquet(tmp_path / "among.parquet", [*[png()] * 9, bytes(2**21)], [0] * 10)
    with pytest.raises(DataError, match="row 9: expected an encoded image of at most"):
        load(among, cache=False)


def test_large_row_groups(tmp_path, little_room):
    path = parquet(tmp_path / "x.parquet", [bytes(2**20)] * 60, [0] * 60, use_dictionary=False)
    assert path.stat().st_size < 2**20
    with pytest.raises(DataError, match="60 MiB have to be read at once, and 100 MiB"):
        load(path, cache=False)


def test_batches_stay_small_where_a_dictionary_repeats(tmp_path, monkeypatch):
    from dualview.datasets.parquet import open_table

    monkeypatch.setattr("dualview.datasets.parquet.BATCH_BYTES", 1000)
    path = many_rows(tmp_path / "x.parquet", 100, (64, 64))
    sizes = [len(chunk) for chunk in open_table(path).chunks("image")]
    assert sum(sizes) == 100
    assert max(sizes) < 15


def test_npz_that_unpacks_to_much(tmp_path, little_room):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros((200, 1, 512, 1024), np.uint8), y=np.zeros(200, np.int64))
    assert path.stat().st_size < 2**20
    with pytest.raises(DataError, match="take 100 MiB in memory, and 100 MiB are left"):
        load(path)


def npz_with_header(path, shape, content=b""):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    labels = io.BytesIO()
    np.save(labels, np.zeros(3, np.int64))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + content)
        archive.writestr("y.npy", labels.getvalue())


@pytest.mark.parametrize("shape", [(10**12, 1, 8, 8), (3, 1, 8, 8)])
def test_npz_headers_that_lie(shape, tmp_path):
    npz_with_header(tmp_path / "x.npz", shape)
    with pytest.raises(DataError, match=r"array 'x': expected [\d,]+ bytes for shape"):
        load(tmp_path / "x.npz")


def test_npz_with_foreign_names_is_not_read(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(10), b=np.zeros(10))
    with pytest.raises(DataError, match="expected arrays x and y"):
        load(tmp_path / "x.npz")


LIMITED = """
import resource, sys
from dualview.datasets import load
from dualview.errors import DataError
import numpy, pyarrow.parquet, PIL.Image
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 400 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.argv[1:]:
    try:
        load(path, cache=False)
    except DataError as error:
        print(error)
"""


def test_under_a_limit_of_the_process(tmp_path):
    np.savez_compressed(
        tmp_path / "x.npz", x=np.zeros((500, 1, 1024, 1024), np.uint8), y=np.zeros(500, np.int64)
    )
    many_rows(tmp_path / "x.parquet", 200_000, (64, 64))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "x.npz"), str(tmp_path / "x.parquet")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    of_npz, of_parquet = done.stdout.splitlines()
    assert "x.npz: its arrays take 500 MiB in memory, and" in of_npz
    assert "200,000 images like this one take 781 MiB decoded, and" in of_parquet


def test_names_that_are_no_utf8(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    for label in (b"cl\xe4ss", b"other"):
        own = Path(os.fsdecode(os.fsencode(folder) + b"/" + label))
        own.mkdir(parents=True)
        for k in range(6):
            (own / f"{k}.png").write_bytes(png(value=k))
    data = load(folder, cache=False)
    assert [os.fsencode(name) for name in data.class_names] == [b"cl\xe4ss", b"other"]
    assert os.fsencode(data.description) == b"caf\xe9"
    file = parquet(tmp_path / "x.parquet", [png(value=k) for k in range(20)], [0, 1] * 10)
    with pytest.raises(DataError, match=r"expected a name in UTF-8"):
        load(file.rename(f"{folder}.parquet"), cache=False)
