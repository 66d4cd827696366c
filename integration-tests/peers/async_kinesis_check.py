#!/usr/bin/env python3
"""async-kinesis, whose aggregates have the partition key "a" in every user record, writes 20,000 records to a stream that is split.

async_kinesis_check.py WORKER FOLDER: kcl drops the aggregates in shards that "a" does not belong to, as every KCL does. With
Deaggregation::KeepForeign it delivers every record once.
"""

import asyncio
import os
import sys

from aws_kinesis_agg.deaggregator import iter_deaggregate_records
from kinesis import Producer
from kinesis.processors import KPLStringProcessor

from stream_scene import RECORDS, STREAM, KclReader, create_stream, hash_key, kinesis, split, stored, text, user_records

worker, folder = sys.argv[1:]
KEY = "a"


async def put():
    # Aggregates of 10 kB, for more than a few of them.
    processor = KPLStringProcessor(max_size=10_000)
    endpoint = os.environ["AWS_ENDPOINT_URL_KINESIS"]
    async with Producer(STREAM, endpoint_url=endpoint, region_name="us-east-1", processor=processor) as producer:
        for number in range(RECORDS):
            await producer.put(text(number))
            if number == RECORDS // 2:
                await asyncio.to_thread(split)
        await producer.flush()


def in_shards_of_the_key():
    """Numbers of the records in the shards that the key belongs to, by what is stored."""
    records, found = stored(), []
    for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]:
        first, last = (int(shard["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
        if first <= hash_key(KEY) <= last:
            found += user_records(records[shard["ShardId"]])
    return found


create_stream(2)
asyncio.run(put())
kinesis_records = [record for records in stored().values() for record in records]
opened = iter_deaggregate_records(kinesis_records, data_format="Boto3")
assert {record["kinesis"]["partitionKey"] for record in opened} == {KEY}, "async-kinesis writes other keys now"
assert sorted(user_records(kinesis_records)) == list(range(RECORDS)), "async-kinesis has not stored each record once"

of_the_key = sorted(in_shards_of_the_key())
assert len(of_the_key) < RECORDS, "all records are in shards of the key"
readers = {
    "kcl by default": (KclReader([worker], "dropping", folder), of_the_key),
    "kcl with KeepForeign": (KclReader([worker], "keeping", folder, **{"keep-foreign": "true"}), list(range(RECORDS))),
}
for name, (reader, wanted) in readers.items():
    reader.until("all of its records", lambda: len(reader.numbers(KEY)) >= len(wanted) and reader.is_through())
    found = sorted(reader.numbers(KEY))
    print(f"{name}: {len(found)} of {RECORDS} records that async-kinesis put, {RECORDS - len(set(found))} lost")
    assert found == wanted, f"{name} delivers other records than expected"
for reader, _ in readers.values():
    reader.stop()
