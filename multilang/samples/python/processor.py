#!/usr/bin/env python3
"""A record processor that appends what it is given to a file, a line of JSON for each record.

Run by `kcl-multilang python.properties`, once for each shard. RECORDS_FILE names the file; without it lines go to stderr,
which is the daemon's log. Standard output belongs to the protocol.
"""

import json
import os
import sys

from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor


class Appender(processor.RecordProcessorBase):
    def initialize(self, initialize_input):
        self.shard_id = initialize_input.shard_id
        path = os.environ.get("RECORDS_FILE")
        self.out = open(path, "a", encoding="utf-8") if path else sys.stderr

    def process_records(self, process_records_input):
        try:
            self.append(process_records_input.records)
            process_records_input.checkpointer.checkpoint()
        except kcl.CheckpointError as error:
            # The records come again, here or on another worker.
            print(f"not checkpointed: {error.value}", file=sys.stderr)
        except Exception as error:
            # Left to the client, an exception confirms the batch. An exit has it delivered again.
            print(f"failed: {error!r}", file=sys.stderr)
            sys.exit(1)

    def append(self, records):
        for record in records:
            line = {
                "shardId": self.shard_id,
                "sequenceNumber": record.sequence_number,
                "subSequenceNumber": record.sub_sequence_number,
                "partitionKey": record.partition_key,
                "data": record.binary_data.decode("utf-8"),
            }
            self.out.write(json.dumps(line) + "\n")
        # On the disk before the checkpoint: a killed process loses nothing.
        self.out.flush()

    def lease_lost(self, lease_lost_input):
        pass

    def shard_ended(self, shard_ended_input):
        shard_ended_input.checkpointer.checkpoint()

    def shutdown_requested(self, shutdown_requested_input):
        shutdown_requested_input.checkpointer.checkpoint()


if __name__ == "__main__":
    kcl.KCLProcess(Appender()).run()
