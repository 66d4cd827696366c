// Aggregates in Lambda's events, read by a function in Node.js with Powertools for TypeScript: each is one record under the key
// "a". The batch processor gives the record as Lambda sent it, and aws-kinesis-agg opens that. The parser makes text of the data,
// from which the aggregate cannot be restored.
//
// Argument: a file of cases, described in kpl/examples/aggregation_cases.rs.
import assert from 'node:assert';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// NODE_PATH serves require only.
const require = createRequire(import.meta.url);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { BatchProcessor, EventType, processPartialResponse } = await load('@aws-lambda-powertools/batch');
const { KinesisDataStreamSchema } = await load('@aws-lambda-powertools/parser/schemas/kinesis');
const { deaggregateSync } = require('aws-kinesis-agg');

const record = (number, data) => ({
  eventSource: 'aws:kinesis',
  eventVersion: '1.0',
  eventID: `shardId-000000000000:${number}`,
  eventName: 'aws:kinesis:record',
  invokeIdentityArn: 'arn:aws:iam::000000000000:role/local',
  awsRegion: 'us-east-1',
  eventSourceARN: 'arn:aws:kinesis:us-east-1:000000000000:stream/S',
  kinesis: {
    kinesisSchemaVersion: '1.0',
    partitionKey: 'a',
    sequenceNumber: String(number),
    data: data.toString('base64'),
    approximateArrivalTimestamp: 1545084650.987,
  },
});

function userRecords(payload) {
  let found;
  deaggregateSync(payload, true, (error, records) => {
    assert.ifError(error);
    found = records;
  });
  return found.map(({ partitionKey, data }) => [partitionKey, Buffer.from(data, 'base64').toString('hex')]);
}

const cases = fs.readFileSync(process.argv[2], 'utf8').trimEnd().split('\n').slice(0, 500).map((line) => line.split('\t'));
const event = { Records: cases.map(([aggregate], number) => record(number, Buffer.from(aggregate, 'hex'))) };

let count = 0;
const handler = async ({ kinesis }) => {
  const number = Number(kinesis.sequenceNumber);
  const [aggregate, text] = cases[number];
  assert.strictEqual(kinesis.partitionKey, 'a');
  assert.strictEqual(Buffer.from(kinesis.data, 'base64').toString('hex'), aggregate, 'not the aggregate');
  const put = text.split(',').map((found) => found.split(':'));
  const expected = put.map(([key, , data]) => [Buffer.from(key, 'hex').toString(), data]);
  assert.deepStrictEqual(userRecords(kinesis), expected);
  count += expected.length;
  if (number === 7) throw new Error('poison');
};
const processor = new BatchProcessor(EventType.KinesisDataStreams);
const answer = await processPartialResponse(event, handler, processor, { context: {} });
assert.deepStrictEqual(answer, { batchItemFailures: [{ itemIdentifier: '7' }] });

const parsed = KinesisDataStreamSchema.parse(event).Records;
const lost = parsed.filter(({ kinesis }, number) => {
  assert.strictEqual(typeof kinesis.data, 'string');
  return Buffer.from(kinesis.data).toString('hex') !== cases[number][0];
});
assert.strictEqual(lost.length, cases.length, 'the parser keeps the bytes of some aggregates');
console.error(
  `Powertools for TypeScript: ${cases.length} aggregates are one record each, aws-kinesis-agg finds ${count} user records in ` +
    'them; the parser damages all',
);
