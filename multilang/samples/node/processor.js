#!/usr/bin/env node
// A record processor that appends what it is given to a file, a line of JSON for each record.
//
// Run by `kcl-multilang node.properties`, once for each shard. RECORDS_FILE names the file; without it lines go to stderr,
// which is the daemon's log. Standard output belongs to the protocol.
'use strict';

const fs = require('node:fs');
const kcl = require('aws-kcl');

const out = process.env.RECORDS_FILE ? fs.openSync(process.env.RECORDS_FILE, 'a') : 2;
let shardId;

// The client ignores an error that is passed to its callback; an exit has the batch delivered again.
const fail = (error) => {
  console.error(`failed: ${error}`);
  process.exit(1);
};

// Before the completion callback: later it would cover the batch before alone.
const checkpoint = (checkpointer, completed) => checkpointer.checkpoint((error) => {
  if (error) {
    // The records come again, here or on another worker.
    console.error(`not checkpointed: ${error}`);
  }
  completed();
});

kcl({
  initialize(input, completed) {
    shardId = input.shardId;
    completed();
  },

  processRecords(input, completed) {
    const lines = input.records.map((record) => JSON.stringify({
      shardId,
      sequenceNumber: record.sequenceNumber,
      subSequenceNumber: record.subSequenceNumber,
      partitionKey: record.partitionKey,
      data: Buffer.from(record.data, 'base64').toString('utf8'),
    }) + '\n');
    try {
      fs.writeFileSync(out, lines.join(''));
    } catch (error) {
      fail(error);
    }
    checkpoint(input.checkpointer, completed);
  },

  leaseLost(input, completed) {
    completed();
  },

  shardEnded(input, completed) {
    checkpoint(input.checkpointer, completed);
  },

  shutdownRequested(input, completed) {
    checkpoint(input.checkpointer, completed);
  },
}).run();
