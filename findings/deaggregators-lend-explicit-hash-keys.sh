#!/usr/bin/env bash
# PyPI aws_kinesis_agg 1.2.3 and npm aws-kinesis-agg 4.2.8 give user records without an explicit hash key the hash key of
# another record of the same aggregate.
#
# The format leaves the index of the explicit hash key out for a record that has none. Both deaggregators read the missing
# index as 0, the default of its type, and so return the first entry of the table. Whoever puts such records into another
# stream with what was returned sends them to the shard of a foreign record. In the first record of the aggregate below,
# index 0 of partition keys and no hash key are set; in the second, index 1 and hash key 0.
#
# Seen (Python 3.11, node 20.20): the lines that this script prints. Fails if a package behaves otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aws_kinesis_agg==1.2.3 six
npm install --silent --no-audit --no-fund --prefix "$work" aws-kinesis-agg@4.2.8

cat >"$work/lend.py" <<'PY'
import base64
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import deaggregate_records

aggregator = RecordAggregator()
aggregator.add_user_record("a", b"1")
aggregator.add_user_record("b", b"2", "7")
data = base64.b64encode(aggregator.clear_and_get().get_contents()[2]).decode()
envelope = {"kinesisSchemaVersion": "1.0", "sequenceNumber": "1", "approximateArrivalTimestamp": 0, "partitionKey": "a"}
records = deaggregate_records([{"kinesis": {**envelope, "data": data}}])
print("Python:", ", ".join(f"{r['kinesis']['partitionKey']} {r['kinesis']['explicitHashKey']}" for r in records))
with open("aggregate", "w") as file:
    file.write(data)
PY
cat >"$work/lend.js" <<'JS'
const { deaggregateSync } = require('aws-kinesis-agg');

const data = require('fs').readFileSync('aggregate', 'utf8');
deaggregateSync({ partitionKey: 'a', sequenceNumber: '1', data }, true, (error, records) => {
  if (error) throw error;
  console.log('Node:', records.map((record) => `${record.partitionKey} ${record.explicitPartitionKey}`).join(', '));
});
JS
found=$(cd "$work" && venv/bin/python lend.py && node lend.js)
echo "$found"
[ "$found" = 'Python: a 7, b 7
Node: a 7, b 7' ]
