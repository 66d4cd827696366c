// Reads cases from stdin, decodes and compares each with aws-kinesis-agg, and writes the case as that encodes it.
//
// The format of a case is described in kpl/examples/aggregation_cases.rs.
'use strict';

const assert = require('assert');
const fs = require('fs');
const { RecordAggregator, deaggregateSync } = require('aws-kinesis-agg');

const parse = (text) => text.split(',').map((record) => {
  const [key, hashKey, data] = record.split(':');
  return { key: Buffer.from(key, 'hex').toString(), hashKey: hashKey || undefined, data: Buffer.from(data, 'hex') };
});

function decode(aggregate) {
  const record = { kinesisSchemaVersion: '1.0', sequenceNumber: '1', partitionKey: 'a', data: aggregate.toString('base64') };
  let found;
  deaggregateSync(record, true, (error, records) => {
    assert.ifError(error);
    found = records;
  });
  return found.map(({ partitionKey, explicitPartitionKey, data }) =>
    ({ key: partitionKey, hashKey: explicitPartitionKey, data: Buffer.from(data, 'base64') }));
}

// It keeps its tables in the order of an object's keys, which puts small integers first.
const orderIsKept = (records) =>
  records.every(({ key, hashKey }) => !/^\d+$/.test(key) && !(hashKey !== undefined && hashKey.length <= 10));

function encode(records) {
  const aggregator = new RecordAggregator();
  for (const { key, hashKey, data } of records) {
    aggregator.addUserRecord({ partitionKey: key, explicitHashKey: hashKey, data });
  }
  return aggregator.build().data;
}

let cases = 0;
let encoded = 0;
for (const line of fs.readFileSync(0, 'utf8').trimEnd().split('\n')) {
  const [aggregate, text] = line.split('\t');
  const expected = parse(text);
  const found = decode(Buffer.from(aggregate, 'hex'));
  // It reports the table's first entry for a record that has no hash key beside some that have.
  const mixed = new Set(expected.map(({ hashKey }) => hashKey === undefined)).size > 1;
  if (mixed) {
    found.forEach((record, n) => { if (expected[n].hashKey === undefined) record.hashKey = undefined; });
  }
  assert.deepStrictEqual(found, expected, `case ${cases + 1}`);
  cases += 1;
  if (orderIsKept(expected)) {
    fs.writeSync(1, `${encode(expected).toString('hex')}\t${text}\n`);
    encoded += 1;
  }
}
assert(encoded > cases / 2, `only ${encoded} cases can be encoded`);
console.error(`aws-kinesis-agg for Node decodes ${cases} cases alike and encodes ${encoded}`);
