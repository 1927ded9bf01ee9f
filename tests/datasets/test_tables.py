"""Tables of encoded images.

- The columns of images and labels are found by type, name and metadata; where two would do, the
  message names them and the option; the caller's choice wins and is checked.
- Class names come from the metadata; damaged metadata is refused.
- Labels are checked before any image is decoded; missing images and labels are refused by row.
"""

import numpy as np
import pyarrow as pa
import pytest

from dualview.datasets.tables import Columns, RawTable, image_column, label_column, read_tables
from dualview.errors import DataError

from .files import pixels, table_of, with_features

IMAGES = pixels(4)
LABELS = [0, 1, 1, 0]


def as_table(table, where="t", **options):
    def chunks(column):
        return iter(table.column(column).chunks)

    return RawTable(where, table.schema, table.num_rows, chunks, **options)


def read(*tables, image=None, label=None, **options):
    group = [as_table(table, f"t{i}", **options) for i, table in enumerate(tables)]
    return read_tables({"train": group}, Columns(image, label), "test")


def add(table, name, values):
    return table.append_column(name, pa.array(values))


@pytest.mark.parametrize("image", ["image", "img", "picture"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label"])
def test_columns_by_type_and_name(image, label):
    table = add(table_of(IMAGES, LABELS, image=image, label=label), "width", [5] * 4)
    source = read(table)
    np.testing.assert_array_equal(source.splits["train"].images, IMAGES)
    assert source.splits["train"].labels.tolist() == LABELS
    assert source.class_names == ("0", "1")


def test_shards_follow_each_other():
    table = table_of(IMAGES, LABELS)
    source = read(table.slice(0, 1), pa.concat_tables([table.slice(1, 2), table.slice(3)]))
    np.testing.assert_array_equal(source.splits["train"].images, IMAGES)
    assert source.splits["train"].labels.tolist() == LABELS


def test_class_label_of_another_name():
    table = table_of(IMAGES, LABELS, label="kind", names=("cat", "dog"))
    assert read(add(table, "other", LABELS)).class_names == ("cat", "dog")


def test_image_by_name_among_several():
    table = table_of(IMAGES, LABELS)
    table = table.append_column("mask", table.column("image"))
    assert image_column(as_table(table), None) == "image"
    assert image_column(as_table(table), "mask") == "mask"


def test_ambiguous_images():
    table = table_of(IMAGES, LABELS, image="left")
    table = table.append_column("right", table.column("left"))
    with pytest.raises(DataError, match=r"left, right could all be .* with image_column"):
        read(table)
    assert len(read(table, image="right").splits["train"].images) == 4


@pytest.mark.parametrize("second", ["labels", "fine_label"])
def test_ambiguous_labels(second):
    table = add(table_of(IMAGES, LABELS), second, LABELS)
    with pytest.raises(DataError, match=rf"label, {second} could all be .* with label_column"):
        read(table)


def test_ambiguous_class_labels():
    table = add(table_of(IMAGES, LABELS, label="kind"), "sort", LABELS)
    table = with_features(table, {"kind": "ab", "sort": "ab"})
    with pytest.raises(DataError, match=r"kind, sort could all be .* with label_column"):
        read(table)
    assert label_column(as_table(table), "sort") == "sort"


def test_fine_label_wins_over_coarse_label():
    table = add(table_of(IMAGES, LABELS, label="fine_label"), "coarse_label", [0] * 4)
    table = with_features(table, {"fine_label": "ab", "coarse_label": "c"})
    assert read(table).class_names == ("a", "b")
    assert read(table, label="coarse_label").class_names == ("c",)


REFUSED_COLUMNS = {
    "no images": (pa.table({"x": [1], "label": [0]}), {}, r"no column holds encoded images .* x, "),
    "no labels": (
        table_of(IMAGES, LABELS, label="y"),
        {},
        "no column holds labels; it has image, y",
    ),
    "image not there": (
        table_of(IMAGES, LABELS),
        {"image": "photo"},
        r"image_column='photo' .* expected one of image \(columns: image, label\)",
    ),
    "no image": (table_of(IMAGES, LABELS), {"image": "label"}, "image_column='label' is not"),
    "label not there": (table_of(IMAGES, LABELS), {"label": "y"}, "label_column='y' is not among"),
    "float labels": (table_of(IMAGES, [0.0, 1.0, 1.0, 0.0]), {}, "got double"),
    "text labels": (table_of(IMAGES, list("abba")), {}, "got string"),
    "image as label": (table_of(IMAGES, LABELS), {"label": "image"}, "got struct"),
}


@pytest.mark.parametrize("case", REFUSED_COLUMNS)
def test_refused_columns(case):
    table, options, message = REFUSED_COLUMNS[case]
    with pytest.raises(DataError, match=f"^t0: .*{message}"):
        read(table, **options)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 2, 1, 0], "ab", r"t0, column 'label', row 1: label 2 is outside"),
        ([0, 1, 1, -1], "ab", r"t0, column 'label', row 3: label -1 is outside"),
        ([0, None, 1, 0], "ab", r"t0, column 'label', row 1: the label is missing"),
        ([0, 2, 2, 0], None, "no example has label 1"),
    ],
)
def test_refused_labels_before_any_decoding(labels, names, message):
    damaged = with_bytes(table_of(IMAGES, labels, names=names), 0, b"no image")
    with pytest.raises(DataError, match=message):
        read(damaged)


def with_bytes(table, row, content, path="a/b.png"):
    rows = table.column("image").to_pylist()
    rows[row] = {"bytes": content, "path": path}
    images = pa.array(rows, table.schema.field("image").type)
    return table.set_column(0, "image", images).replace_schema_metadata(table.schema.metadata)


def test_damaged_image_is_named_by_file_and_row():
    table = table_of(IMAGES, LABELS)
    with pytest.raises(DataError, match=r"^t1, row 2: damaged"):
        read(table, with_bytes(table, 2, b"no image"))


def test_image_without_bytes(tmp_path):
    table = table_of(IMAGES, LABELS)
    with pytest.raises(DataError, match="t0, row 1: the image is missing; only its path"):
        read(with_bytes(table, 1, None))
    with pytest.raises(DataError, match=r"t0, row 1: the image is missing$"):
        read(with_bytes(table, 1, None, None))
    elsewhere = tmp_path / "image.png"
    elsewhere.write_bytes(table.column("image")[1].as_py()["bytes"])
    source = read(with_bytes(table, 1, None, str(elsewhere)), may_point_to_files=True)
    np.testing.assert_array_equal(source.splits["train"].images, IMAGES)


def test_missing_struct():
    table = table_of(IMAGES, LABELS)
    rows = [*table.column("image").to_pylist()[:3], None]
    table = table.set_column(0, "image", pa.array(rows, table.schema.field("image").type))
    with pytest.raises(DataError, match="t0, row 3: the image is missing"):
        read(table)


def test_empty_split():
    table = table_of(IMAGES, LABELS)
    splits = {"train": [as_table(table)], "test": [as_table(table.slice(0, 0), "none")]}
    with pytest.raises(DataError, match="none: the test split has no rows"):
        read_tables(splits, Columns(), "test")


@pytest.mark.parametrize(
    "other",
    [
        table_of(IMAGES, LABELS, image="img"),
        table_of(IMAGES, LABELS, label="labels", names="ab"),
        table_of(IMAGES, LABELS, names="ba"),
        table_of(IMAGES, LABELS),
    ],
)
def test_files_of_different_data_sets(other):
    with pytest.raises(DataError, match="t1: its image and label columns, or its class names"):
        read(table_of(IMAGES, LABELS, names="ab"), other)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        "\udcff",
        '{"info": {"features": 3}}',
        '{"info": {"features": {"label": {"_type": "ClassLabel"}}}}',
        '{"info": {"features": {"label": {"_type": "ClassLabel", "names": []}}}}',
        '{"info": {"features": {"label": {"_type": "ClassLabel", "names": [1, 2]}}}}',
    ],
)
def test_damaged_metadata(text):
    metadata = {"huggingface": text.encode(errors="surrogateescape")}
    with pytest.raises(DataError, match=r"t0: (damaged 'huggingface'|expected names of classes)"):
        read(table_of(IMAGES, LABELS).replace_schema_metadata(metadata))


def test_metadata_of_another_tool_is_no_matter():
    table = table_of(IMAGES, LABELS).replace_schema_metadata({"pandas": "{"})
    assert read(table).class_names == ("0", "1")
