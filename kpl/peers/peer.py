"""Reads cases from stdin, decodes and compares each with aws_kinesis_agg, and writes the case as that encodes it.

The format of a case is described in kpl/examples/aggregation_cases.rs.
"""

import base64
import sys

from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import deaggregate_records


def parse(text):
    for record in text.split(","):
        key, hash_key, data = record.split(":")
        yield bytes.fromhex(key).decode(), hash_key or None, bytes.fromhex(data)


def decode(aggregate):
    record = {
        "kinesisSchemaVersion": "1.0",
        "sequenceNumber": "1",
        "approximateArrivalTimestamp": 0,
        "partitionKey": "a",
        "data": base64.b64encode(aggregate),
    }
    for found in deaggregate_records([{"kinesis": record}]):
        found = found["kinesis"]
        assert found.get("aggregated"), "taken for a plain record"
        yield found["partitionKey"], found["explicitHashKey"], base64.b64decode(found["data"])


def encode(records):
    aggregator = RecordAggregator()
    for key, hash_key, data in records:
        assert aggregator.add_user_record(key, data, hash_key) is None, "too large"
    return aggregator.clear_and_get().get_contents()[2]


def main():
    cases = 0
    for line in sys.stdin:
        aggregate, text = line.rstrip("\n").split("\t")
        expected = list(parse(text))
        found = list(decode(bytes.fromhex(aggregate)))
        # It reports the table's first entry for a record that has no hash key beside some that have.
        mixed = len({hash_key is None for _, hash_key, _ in expected}) > 1
        assert len(found) == len(expected), f"case {cases + 1}: {len(found)} records of {len(expected)}"
        for position, (there, put) in enumerate(zip(found, expected)):
            if mixed and put[1] is None:
                there = (there[0], None, there[2])
            assert there == put, f"case {cases + 1}, record {position}: {there} is decoded, {put} was put"
        print(encode(expected).hex(), text, sep="\t")
        cases += 1
    print(f"aws_kinesis_agg for Python decodes {cases} cases alike", file=sys.stderr)


main()
