// Reads compressed records from stdin and opens them with the reader of docs/compressed-records.md.
//
// A line is described in kpl/examples/aggregation_cases.rs.
'use strict';

const assert = require('assert');
const fs = require('fs');
const { openRecord, zstd } = require('compressed_record');

async function main() {
  await zstd.init();
  const kinds = new Set();
  let opened = 0;
  let refused = 0;
  for (const line of fs.readFileSync(0, 'utf8').trimEnd().split('\n')) {
    const [frame, content, text] = line.split('\t');
    const [data, dictionary] = [Buffer.from(frame, 'hex'), Buffer.from(text, 'hex')];
    const dictionaries = text ? { [dictionary.readUInt32LE(4)]: dictionary } : {};
    if (content === 'damaged') {
      assert.throws(() => openRecord(data, dictionaries), /damaged/, `line ${opened + refused + 1}`);
      refused += 1;
    } else {
      assert.strictEqual(openRecord(data, dictionaries).toString('hex'), content, `line ${opened + refused + 1}`);
      kinds.add(`${data[5]} ${text !== ''}`);
      opened += 1;
    }
  }
  assert.strictEqual(openRecord(Buffer.from('plain')).toString(), 'plain');
  assert.deepStrictEqual([...kinds].sort(), ['1 false', '2 false', '3 false', '3 true']);
  assert.strictEqual(opened, refused);
  console.error(`the reader in Node opens ${opened} frames and refuses as many damaged ones`);
}

main();
