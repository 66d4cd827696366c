// Uses the served Kinesis with the AWS SDK for JavaScript as applications do: create, put, read, split, read the
// children, subscribe. The environment says where it is, as `kinesis-local` prints it.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Kinesis,
  ResourceNotFoundException,
  waitUntilStreamExists,
} from '@aws-sdk/client-kinesis';

const STREAM = 'node-check';
const HALF = (2n ** 127n).toString();
const shards = [0, 1, 2].map((n) => `shardId-${String(n).padStart(12, '0')}`);

const kinesis = new Kinesis({});
const text = (record) => Buffer.from(record.Data).toString();

function expect(what, got, want) {
  assert.deepEqual(got, want, what);
  console.log(`ok ${what}`);
}

async function waitFor(what, condition, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within ${seconds} seconds: ${what}`);
    await sleep(20);
  }
}

/** The records of a shard, and its children if it has ended. */
async function read(shardId) {
  const position = { StreamName: STREAM, ShardId: shardId, ShardIteratorType: 'TRIM_HORIZON' };
  let iterator = (await kinesis.getShardIterator(position)).ShardIterator;
  const data = [];
  for (;;) {
    const answer = await kinesis.getRecords({ ShardIterator: iterator });
    data.push(...answer.Records.map(text));
    iterator = answer.NextShardIterator;
    if (!iterator) return [data, answer.ChildShards.map((child) => child.ShardId)];
    if (answer.Records.length === 0) return [data, null];
  }
}

/** The records that a subscription tells, until they are enough or the shard ends. */
async function subscribe(arn, shardId, enough) {
  const registered = await kinesis.registerStreamConsumer({ StreamARN: arn, ConsumerName: `of-${shardId}` });
  const { ConsumerARN } = registered.Consumer;
  await waitFor('the consumer is ACTIVE', async () => {
    const described = await kinesis.describeStreamConsumer({ ConsumerARN });
    return described.ConsumerDescription.ConsumerStatus === 'ACTIVE';
  });
  const position = { Type: 'TRIM_HORIZON' };
  const answer = await kinesis.subscribeToShard({ ConsumerARN, ShardId: shardId, StartingPosition: position });
  const data = [];
  for await (const { SubscribeToShardEvent: event } of answer.EventStream) {
    data.push(...event.Records.map(text));
    if (event.ChildShards?.length) return [data, event.ChildShards.map((child) => child.ShardId)];
    if (enough && data.length >= enough) return [data, null];
  }
  throw new Error('the subscription ended early');
}

await kinesis.createStream({ StreamName: STREAM, ShardCount: 1 });
await waitUntilStreamExists({ client: kinesis, maxWaitTime: 20 }, { StreamName: STREAM });
const { StreamDescriptionSummary: summary } = await kinesis.describeStreamSummary({ StreamName: STREAM });
expect('status', summary.StreamStatus, 'ACTIVE');
const arn = summary.StreamARN;

const put = await kinesis.putRecord({ StreamName: STREAM, PartitionKey: 'a', Data: Buffer.from('one') });
expect('shard of a record', put.ShardId, shards[0]);
const entries = ['two', 'three'].map((data) => ({ PartitionKey: data, Data: Buffer.from(data) }));
expect('failed records', (await kinesis.putRecords({ StreamARN: arn, Records: entries })).FailedRecordCount, 0);
const before = ['one', 'two', 'three'];
expect('records', await read(shards[0]), [before, null]);

await kinesis.splitShard({ StreamName: STREAM, ShardToSplit: shards[0], NewStartingHashKey: HALF });
await waitFor('the shard is split', async () => {
  const open = await kinesis.listShards({ StreamName: STREAM, ShardFilter: { Type: 'AT_LATEST' } });
  return open.Shards.length === 2;
});
expect('records and children of the parent', await read(shards[0]), [before, shards.slice(1)]);
const high = { StreamName: STREAM, PartitionKey: 'd', ExplicitHashKey: HALF, Data: Buffer.from('four') };
await kinesis.putRecord(high);
expect('records of the upper child', await read(shards[2]), [['four'], null]);

expect('subscription to the parent', await subscribe(arn, shards[0], null), [before, shards.slice(1)]);
expect('subscription to the upper child', await subscribe(arn, shards[2], 1), [['four'], null]);

await assert.rejects(kinesis.describeStream({ StreamName: 'missing' }), ResourceNotFoundException);
console.log('ok a missing stream is not found');
await kinesis.deleteStream({ StreamName: STREAM, EnforceConsumerDeletion: true });
kinesis.destroy();
