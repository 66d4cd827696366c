//! SHELL: the data of a letter that was too large to have them: from the record's stream, at its position.

use aws_sdk_kinesis::types::Record;
use bytes::Bytes;
use kcl::DeadLetter;
use kpl::aggregated::Deaggregator;

use crate::{
    aws::{Aws, stream_name::StreamName},
    reading::{position::Position, shards},
};

/// Reads until one returns a record: Kinesis may answer without one.
const READS: usize = 10;

/// Reads the record again; an error says why that cannot be done.
pub(super) async fn fetch(aws: &Aws, letter: &DeadLetter) -> Result<Bytes, String> {
    let stream: StreamName = letter.stream.parse().map_err(|error| format!("{error}"))?;
    let number = letter.sequence_number.parse().map_err(|error| format!("{error}"))?;
    let record = read(aws, &stream, letter, &Position::At(number)).await?;
    let record = record.filter(|record| record.sequence_number == letter.sequence_number);
    let Some(record) = record else {
        return Err(format!("its data are no longer in stream {stream}, whose retention has passed"));
    };
    let (partition_key, data) = (record.partition_key.unwrap_or_default(), Bytes::from(record.data.into_inner()));
    let Some(place) = letter.sub_sequence_number else { return Ok(data) };
    let records = Deaggregator::new().deaggregate(&partition_key, &data).records;
    let found = records.into_iter().find(|record| record.sub_sequence_number == Some(place));
    found.map(|record| record.data).ok_or_else(|| format!("the record in stream {stream} has no user record {place}"))
}

/// The first record at a position. None: there is none.
async fn read(aws: &Aws, stream: &StreamName, letter: &DeadLetter, at: &Position) -> Result<Option<Record>, String> {
    let shard = letter.shard_id.as_str().into();
    let iterator = shards::iterator(aws, stream, &shard, at).await.map_err(|failure| failure.to_string())?;
    let (client, mut iterator) = (aws.kinesis(), Some(iterator));
    for _ in 0..READS {
        let Some(next) = iterator else { break };
        let read = client.get_records().shard_iterator(next).limit(1);
        let read = read.set_stream_arn(stream.arn()).send().await;
        let answer = read.map_err(|error| {
            aws.explain("kinesis:GetRecords", &format!("{shard} of stream {stream}"), error).to_string()
        })?;
        if let Some(record) = answer.records.into_iter().next() {
            return Ok(Some(record));
        }
        iterator = answer.next_shard_iterator;
    }
    Ok(None)
}
