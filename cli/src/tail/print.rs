//! User records as lines. Pure, but for the output.

use std::time::SystemTime;

use aws_sdk_kinesis::types::Record;
use bytes::Bytes;
use clap::ValueEnum;
use kpl::{
    HashKeyRange, ShardId,
    aggregated::Deaggregator,
    compressed::{FrameReader, MAGIC},
};

use super::filter::Filter;
use crate::{compressed::Unopened, failure::Failure, output::Output, record_line::RecordLine, text};

/// Shape of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Time, shard, partition key and data, with control characters escaped
    Text,
    /// The data alone, byte for byte, and a line break
    Raw,
    /// A line of JSON, which `kds put --format records` puts again
    Json,
}

/// Prints what is wanted of Kinesis records.
#[derive(Debug)]
pub(crate) struct Printer {
    pub(crate) format: OutputFormat,
    pub(crate) filter: Filter,
    /// Aggregates and compressed records are printed as they are.
    pub(crate) keep_aggregates: bool,
    /// Opens compressed records.
    pub(crate) frames: FrameReader,
    pub(crate) unopened: Unopened,
    /// Records that may still be printed.
    pub(crate) left: u64,
    /// User records that a KCL discards, since their aggregate is in a wrong shard.
    pub(crate) discarded: u64,
    pub(crate) printed: u64,
}

impl Printer {
    /// Prints the user records of one Kinesis record. False: no more records are wanted.
    pub(crate) fn print(
        &mut self,
        output: &mut Output,
        shard: &ShardId,
        range: HashKeyRange,
        record: Record,
    ) -> Result<bool, Failure> {
        let arrival = record.approximate_arrival_timestamp.and_then(|time| SystemTime::try_from(time).ok());
        let line = RecordLine {
            shard_id: Some(shard.to_string()),
            sequence_number: Some(record.sequence_number),
            arrival: arrival.map(text::time),
            ..RecordLine::default()
        };
        let (partition_key, data) = (record.partition_key.unwrap_or_default(), Bytes::from(record.data.into_inner()));
        if self.keep_aggregates {
            let line = RecordLine { partition_key: Some(partition_key), ..line };
            return self.print_one(output, line, &data);
        }
        let deaggregator = Deaggregator::new().within(range).opening_with(self.frames.clone());
        let deaggregated = deaggregator.deaggregate(&partition_key, &data);
        let is_as_stored = data.starts_with(&MAGIC) && deaggregated.records.iter().all(|record| record.data == data);
        if is_as_stored && let Some(Err(error)) = self.frames.open(&data) {
            self.unopened.count(error);
        }
        self.discarded += deaggregated.discarded as u64;
        for user_record in deaggregated.records {
            let line = RecordLine {
                sub_sequence_number: user_record.sub_sequence_number,
                partition_key: Some(user_record.partition_key.to_string()),
                explicit_hash_key: user_record.explicit_hash_key.map(|key| key.to_string()),
                ..line.clone()
            };
            if !self.print_one(output, line, &user_record.data)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn print_one(&mut self, output: &mut Output, line: RecordLine, data: &Bytes) -> Result<bool, Failure> {
        if self.left == 0 {
            return Ok(false);
        }
        let partition_key = line.partition_key.as_deref().unwrap_or_default();
        let Some(data) = self.filter.data(partition_key, data) else { return Ok(true) };
        match self.format {
            OutputFormat::Raw => {
                output.raw(&data)?;
                output.raw(b"\n")?;
            }
            OutputFormat::Json => output.json(&line.with_data(&data))?,
            OutputFormat::Text => {
                let (arrival, shard) =
                    (line.arrival.as_deref().unwrap_or("-"), line.shard_id.as_deref().unwrap_or("-"));
                output.raw(format!("{arrival} {shard} {} ", text::printable(partition_key.as_bytes())).as_bytes())?;
                output.printable(&data)?;
                output.raw(b"\n")?;
            }
        }
        self.printed += 1;
        self.left -= 1;
        Ok(self.left > 0)
    }
}
