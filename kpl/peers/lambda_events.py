"""Aggregates and compressed records in Lambda's events, read by a function in Python with Powertools: each aggregate is one record
under the key "a", and each compressed record its frame. aws_kinesis_agg opens the aggregates, the reader of
docs/compressed-records.md the frames.

Arguments: a file of cases and one of frames, as kpl/examples/aggregation_cases.rs describes them.
"""

import base64
import struct
import sys

from aws_kinesis_agg.deaggregator import deaggregate_records
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamEvent

from compressed_record import open_record

COUNT = 500


def record(number, data):
    return {
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/local",
        "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/S",
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "a",
            "sequenceNumber": str(number),
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": 1545084650.987,
        },
    }


def lines(file):
    with open(file, encoding="ascii") as found:
        for _, line in zip(range(COUNT), found):
            yield line.rstrip("\n").split("\t")


def user_records(payload):
    """The user records of a Kinesis record, opened by a function."""
    data = open_record(payload.data_as_bytes())
    opened = {**payload.raw_event, "data": base64.b64encode(data).decode()}
    for found in deaggregate_records([{"kinesis": opened}]):
        yield found["kinesis"]["partitionKey"], base64.b64decode(found["kinesis"]["data"])


def aggregates(file):
    cases = [(bytes.fromhex(aggregate), text) for aggregate, text in lines(file)]
    event = {"Records": [record(number, aggregate) for number, (aggregate, _) in enumerate(cases)]}
    seen = [found.kinesis for found in KinesisStreamEvent(event).records]
    assert len(seen) == len(cases)
    count = 0
    for payload, (aggregate, text) in zip(seen, cases):
        assert (payload.partition_key, payload.data_as_bytes()) == ("a", aggregate), "not one record under the key a"
        put = [found.split(":") for found in text.split(",")]
        expected = [(bytes.fromhex(key).decode(), bytes.fromhex(data)) for key, _, data in put]
        assert list(user_records(payload)) == expected
        count += len(expected)
    return event, count


def frames(file):
    count = 0
    for number, (frame, content, dictionary) in enumerate(lines(file)):
        frame, dictionary = bytes.fromhex(frame), bytes.fromhex(dictionary)
        if content == "damaged":
            continue
        payload = next(KinesisStreamEvent({"Records": [record(number, frame)]}).records).kinesis
        assert payload.data_as_bytes() == frame, "Powertools opened a frame"
        known = {struct.unpack("<I", dictionary[4:8])[0]: dictionary} if dictionary else {}
        assert open_record(payload.data_as_bytes(), known).hex() == content
        count += 1
    return count


def failures(event):
    """The Kinesis record of a user record that fails is reported: its whole aggregate is delivered again."""
    done = []

    def handler(record):
        for place, _ in enumerate(user_records(record.kinesis)):
            if record.kinesis.sequence_number == "7":
                raise ValueError("poison")
            done.append((record.kinesis.sequence_number, place))

    processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
    answer = process_partial_response(event=event, record_handler=handler, processor=processor)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "7"}]}, answer
    assert max(int(number) for number, _ in done) == len(event["Records"]) - 1, "records behind the failed one are not processed"


event, count = aggregates(sys.argv[1])
opened = frames(sys.argv[2])
failures(event)
print(
    f"Powertools for Python: {len(event['Records'])} aggregates are one record each, aws_kinesis_agg finds {count} user records in them; "
    f"{opened} frames are opened",
    file=sys.stderr,
)
