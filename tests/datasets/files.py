"""Small real files for the tests, and where the shared real data lie."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

SHARED = Path(__file__).parents[3] / "shared" / "data"


def needs(name):
    """Skip where the shared data set is absent."""
    return pytest.mark.skipif(
        not (SHARED / name).is_dir(), reason=f"shared data set {name} is not beside the checkout"
    )


def pixels(n, shape=(3, 6, 5), seed=0):
    """(n, c, h, w) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def encode(array, kind="PNG", **options):
    """Encoded bytes of (c, h, w) uint8."""
    image = Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))
    return encode_image(image, kind, **options)


def encode_image(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def table_of(images, labels, *, image="image", label="label", names=None, kind="PNG"):
    """A table in the hub's layout."""
    rows = [{"bytes": encode(a, kind), "path": f"{i}.png"} for i, a in enumerate(images)]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({image: pa.array(rows, struct), label: pa.array(labels)})
    return with_features(table, {label: names} if names else {})


def with_features(table, class_labels):
    """Add the hub's metadata that names the classes of some columns."""
    features = {c: {"names": list(n), "_type": "ClassLabel"} for c, n in class_labels.items()}
    text = json.dumps({"info": {"features": {"image": {"_type": "Image"}, **features}}})
    return table.replace_schema_metadata({"huggingface": text})


def write_parquet(path, images, labels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table_of(images, labels, **options), path)
    return path


def write_images(folder, images, kind="PNG"):
    """`folder/000.png`, ... in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, array in enumerate(images):
        (folder / f"{i:03}.{kind.lower()}").write_bytes(encode(array, kind))
    return folder
