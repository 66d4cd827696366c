#!/usr/bin/env bash
# npm aws-kinesis-agg 4.2.8 gives user records the partition keys of others when partition keys are whole numbers.
#
# Its aggregator numbers partition keys in the order they are added, but writes the table of keys in the order of a
# JavaScript object's properties, which begins with whole numbers in ascending order. Three records of the keys 10, 9
# and x therefore come out of any deaggregator as 9, 10 and x: the data of one customer number under that of another.
# No error is raised, and the checksum is right. Keys that are no whole numbers below 2^32 - 1 are not affected.
#
# Seen (node 20.20): the last line that this script prints. Fails if the package behaves otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --silent --no-audit --no-fund --prefix "$work" aws-kinesis-agg@4.2.8

cat >"$work/swap.js" <<'JS'
const { RecordAggregator, deaggregateSync } = require('aws-kinesis-agg');

const aggregator = new RecordAggregator();
for (const partitionKey of ['10', '9', 'x']) {
  aggregator.addUserRecord({ partitionKey, data: Buffer.from(`put under ${partitionKey}`) });
}
const data = aggregator.build().data.toString('base64');
deaggregateSync({ partitionKey: '10', sequenceNumber: '1', data }, true, (error, records) => {
  if (error) throw error;
  console.log(records.map((record) => `${record.partitionKey}: ${Buffer.from(record.data, 'base64')}`).join(', '));
});
JS
found=$(node "$work/swap.js")
echo "$found"
[ "$found" = '9: put under 10, 10: put under 9, x: put under x' ]
