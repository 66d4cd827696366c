//! The core as a whole, through the same door as the wire: JSON in, JSON out, time set by hand.

mod behaviour;
mod properties;

use std::cell::{Cell, RefCell};

use serde_json::{Value, json};

use super::operations::{Call, Reply, Step};
use super::{Delays, Error, Kinesis, Limits};
use crate::timestamp::Millis;
use crate::wire::Format;

const START: Millis = Millis(1_763_616_000_000);
const HOUR: u64 = 3_600_000;

/// A Kinesis and its clock.
struct Service {
    kinesis: RefCell<Kinesis>,
    now: Cell<Millis>,
}

impl Step for &Service {
    fn run<A>(self, step: impl FnOnce(&mut Kinesis, Millis) -> A) -> A {
        step(&mut self.kinesis.borrow_mut(), self.now.get())
    }
}

impl Service {
    fn new() -> Self {
        Self::with_delays(Delays::default())
    }

    fn with_delays(delays: Delays) -> Self {
        Self { kinesis: RefCell::new(Kinesis::new(delays, Limits::default())), now: Cell::new(START) }
    }

    /// With a stream named `s`.
    fn with_stream(shards: u32) -> Self {
        let service = Self::new();
        service.ok("CreateStream", json!({ "StreamName": "s", "ShardCount": shards }));
        service
    }

    fn advance(&self, millis: u64) {
        self.now.set(Millis(self.now.get().0 + millis));
    }

    fn raw(&self, operation: &str, body: &[u8]) -> Result<Value, Error> {
        let Reply::Body(answer) =
            (Call { operation, format: Format::Json, body, record_faults: None }).perform(self)?
        else {
            panic!("{operation} answers with events");
        };
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    fn call(&self, operation: &str, request: Value) -> Result<Value, Error> {
        self.raw(operation, request.to_string().as_bytes())
    }

    fn ok(&self, operation: &str, request: Value) -> Value {
        self.call(operation, request).unwrap_or_else(|error| panic!("{operation}: {error}"))
    }

    fn code(&self, operation: &str, request: Value) -> &'static str {
        match self.call(operation, request) {
            Ok(answer) => panic!("{operation} was not refused: {answer}"),
            Err(error) => error.code,
        }
    }

    /// Puts a record under a key and returns the shard and the sequence number.
    fn put(&self, key: &str, data: &str) -> (String, String) {
        let data = base64_simd::STANDARD.encode_to_string(data);
        let put = self.ok("PutRecord", json!({ "StreamName": "s", "PartitionKey": key, "Data": data }));
        (text(&put["ShardId"]), text(&put["SequenceNumber"]))
    }

    fn iterator(&self, shard: &str, iterator_type: &str) -> String {
        let request = json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": iterator_type });
        text(&self.ok("GetShardIterator", request)["ShardIterator"])
    }

    fn get(&self, iterator: &str) -> Value {
        self.ok("GetRecords", json!({ "ShardIterator": iterator }))
    }

    fn shards(&self, filter: Value) -> Vec<String> {
        let answer = self.ok("ListShards", json!({ "StreamName": "s", "ShardFilter": filter }));
        answer["Shards"].as_array().unwrap().iter().map(|shard| text(&shard["ShardId"])).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text")).to_owned()
}

fn shard(n: u32) -> String {
    format!("shardId-{n:012}")
}

/// The data of records, as text.
fn data(answer: &Value) -> Vec<String> {
    let decode = |record: &Value| {
        let bytes = base64_simd::STANDARD.decode_to_vec(text(&record["Data"])).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    answer["Records"].as_array().unwrap().iter().map(decode).collect()
}
