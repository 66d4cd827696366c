#!/usr/bin/env python3
"""Readers in Go, of a stream that is split while kpl puts 20,000 records.

go_check.py KDS READER FOLDER: by default harlow/kinesis-consumer gives each aggregate as one record. With its deaggregation it
gives user records that are stored twice because of the split twice, and loses the rest of an aggregate in which it is stopped.
UserRecords of docs/who-reads-what.md delivers each once where the shard is known.
"""

import collections
import sys

from stream_scene import STREAM, Reader, counted, create_stream, put_by_kpl, stored, user_records

kds, program, folder = sys.argv[1:]
create_stream(2)
put_by_kpl(kds)
kinesis_records = [record for records in stored().values() for record in records]
again = collections.Counter(user_records(kinesis_records))
copies = sum(again.values()) - len(again)
assert copies > 0, "the split has met no aggregate"

readers = {mode: Reader([program, STREAM, mode], f"{folder}/go-{mode}.log") for mode in
           ("default", "aggregated", "stopped", "opened", "unfiltered")}
wanted = {"default": len(kinesis_records), "aggregated": sum(again.values()), "opened": len(again), "unfiltered": sum(again.values())}
for mode, count in wanted.items():
    readers[mode].until("all records", lambda: len(readers[mode].lines) >= count)
for reader in readers.values():
    reader.until_quiet(2.0 if reader is readers["stopped"] else 0.2)
for reader in readers.values():
    reader.stop()

blobs = collections.Counter(readers["default"].records())
assert blobs == collections.Counter((record["PartitionKey"], record["Data"]) for record in kinesis_records)
print(f"harlow: {sum(blobs.values())} records for {len(again)} that were put")
assert counted("harlow with its deaggregation", readers["aggregated"].records()) == again
assert counted("UserRecords without hash keys", readers["unfiltered"].records()) == again
opened = counted("UserRecords", readers["opened"].records())
assert opened == collections.Counter(range(len(again))), "UserRecords does not deliver each record once"
stopped = counted("harlow with its deaggregation, stopped within aggregates", readers["stopped"].records())
assert len(stopped) < len(again), "harlow goes on within an aggregate now: the page says otherwise"
