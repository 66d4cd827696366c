"""Reads an archive of Parquet with pyarrow, and compares each row with what was put.

parquet_check.py PLACE PUT: PLACE is a folder or s3://bucket/path, PUT a file with a line {"partitionKey", "data"} for each
record, in the order in which they were put. Fails unless the rows of each partition key are those, in that order, once.
"""

import collections
import json
import os
import sys

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs

OWN = {
    "_sequence_number": pa.string(),
    "_sub_sequence_number": pa.int64(),
    "_partition_key": pa.string(),
    "_arrival": pa.timestamp("ms", tz="UTC"),
    "_rest": pa.string(),
    "_data": pa.binary(),
}


def place(address):
    """File system and path of an address."""
    if not address.startswith("s3://"):
        return pyarrow.fs.LocalFileSystem(), address
    scheme, endpoint = os.environ["AWS_ENDPOINT_URL"].split("://")
    return pyarrow.fs.S3FileSystem(scheme=scheme, endpoint_override=endpoint), address.removeprefix("s3://")


def record(row):
    """The JSON object of a row: its columns, and the fields that have none."""
    assert row["_data"] is None, row
    fields = {name: value for name, value in row.items() if name not in OWN and value is not None}
    rest = json.loads(row["_rest"] or "{}")
    assert not fields.keys() & rest.keys(), row
    return fields | rest


def main(address, put):
    files, path = place(address)
    archive = pyarrow.dataset.dataset(path, filesystem=files, format="parquet")
    for name, kind in OWN.items():
        assert archive.schema.field(name).type == kind, archive.schema
    columns = [field for field in archive.schema if field.name not in OWN]
    assert columns, "no field has a column"
    table = archive.to_table()
    rows = sorted(table.to_pylist(), key=lambda row: (int(row["_sequence_number"]), row["_sub_sequence_number"]))

    expected = collections.defaultdict(list)
    with open(put, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            expected[line["partitionKey"]].append(json.loads(line["data"]))
    archived = collections.defaultdict(list)
    for row in rows:
        assert row["_arrival"] is not None, row
        archived[row["_partition_key"]].append(record(row))
    for key in sorted(expected.keys() | archived.keys()):
        pairs = zip(archived[key], expected[key])
        difference = next((f"{found} is not {wanted}" for found, wanted in pairs if found != wanted), None)
        assert difference is None and len(archived[key]) == len(expected[key]), (
            f"{key}: {len(archived[key])} rows, {len(expected[key])} records; {difference}"
        )
    names = ", ".join(f"{field.name}: {field.type}" for field in columns)
    print(f"ok {len(archive.files)} objects, {len(rows)} rows as they were put; {names}")


main(*sys.argv[1:])
