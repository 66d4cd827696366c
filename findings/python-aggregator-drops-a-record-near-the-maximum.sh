#!/usr/bin/env bash
# PyPI aws_kinesis_agg 1.2.3 drops a user record whose encoded size is at most 20 bytes below the maximum of an aggregate.
#
# `add_user_record` refuses what is larger than the maximum by itself, but does not count the 20 bytes of magic number and
# checksum there. A record between the two sizes is not refused, fits no aggregate, not even an empty one, and the second
# failure to add it is ignored: no error, an "aggregate" of no records is returned, and the record is nowhere. The same
# happens with a maximum of the caller's choice.
#
# Seen (Python 3.11): the lines that this script prints. Fails if the package behaves otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aws_kinesis_agg==1.2.3 six

cat >"$work/drop.py" <<'PY'
from aws_kinesis_agg import MAX_BYTES_PER_RECORD
from aws_kinesis_agg.aggregator import RecordAggregator

for below in (33, 32, 13, 12):
    aggregator = RecordAggregator()
    try:
        full = aggregator.add_user_record("k", b"x" * (MAX_BYTES_PER_RECORD - below))
    except ValueError:
        print(f"{below} bytes below: refused")
        continue
    returned = "nothing" if full is None else f"an aggregate of {full.get_num_user_records()} records"
    print(f"{below} bytes below: returns {returned}, holds {aggregator.get_num_user_records()} records")
PY
found=$("$work/venv/bin/python" "$work/drop.py")
echo "$found"
[ "$found" = '33 bytes below: returns nothing, holds 1 records
32 bytes below: returns an aggregate of 0 records, holds 0 records
13 bytes below: returns an aggregate of 0 records, holds 0 records
12 bytes below: refused' ]
