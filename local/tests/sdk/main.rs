//! The embedded services as clients see them: through the real SDK, in process, under paused time.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod access;
mod capacity;
mod clock;
mod consumers;
mod dynamodb;
mod fan_out;
mod faults;
mod lag;
mod limits;
mod link;
mod metrics;
mod records;
mod resharding;
mod settings;
mod shards;
mod streams;
mod time;
mod transactions;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::operation::put_record::PutRecordOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use kinesis_local::LocalAws;

/// A Kinesis with one stream, `s`.
async fn kinesis(shards: i32) -> Client {
    let kinesis = Client::new(&LocalAws::start().await.sdk_config());
    kinesis.create_stream().stream_name("s").shard_count(shards).send().await.unwrap();
    kinesis
}

fn shard(n: u32) -> String {
    format!("shardId-{n:012}")
}

/// The error code that the service answered with.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> String {
    match result {
        Ok(answer) => panic!("not refused: {answer:?}"),
        Err(error) => error.code().unwrap_or("none").to_owned(),
    }
}

/// The message that the service answered with.
fn message<T: std::fmt::Debug, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> String {
    match result {
        Ok(answer) => panic!("not refused: {answer:?}"),
        Err(error) => error.message().unwrap_or_default().to_owned(),
    }
}

async fn put(kinesis: &Client, key: &str, data: &str) -> PutRecordOutput {
    kinesis.put_record().stream_name("s").partition_key(key).data(Blob::new(data)).send().await.unwrap()
}

async fn iterator(kinesis: &Client, shard: &str, iterator_type: ShardIteratorType) -> String {
    let request = kinesis.get_shard_iterator().stream_name("s").shard_id(shard).shard_iterator_type(iterator_type);
    request.send().await.unwrap().shard_iterator.unwrap()
}

async fn get(kinesis: &Client, iterator: &str) -> GetRecordsOutput {
    kinesis.get_records().shard_iterator(iterator).send().await.unwrap()
}

/// The data of records, as text.
fn data(answer: &GetRecordsOutput) -> Vec<&str> {
    answer.records().iter().map(|record| std::str::from_utf8(record.data().as_ref()).unwrap()).collect()
}
