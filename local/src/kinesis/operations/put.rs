//! PutRecord and PutRecords.

use bytes::Bytes;

use crate::faults::RecordFaults;
use crate::kinesis::check::{self, Check};
use crate::kinesis::hash_key::HashKey;
use crate::kinesis::request::Text;
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::shard::NewRecord;
use crate::kinesis::stream::{Distribution, Stream};
use crate::kinesis::{Error, Kinesis, request, response};
use crate::timestamp::Millis;

/// Maximum number of records of a request. docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
const MAX_RECORDS: usize = 500;

/// Maximum size of a request in bytes, data and partition keys together. Same source.
const MAX_REQUEST_BYTES: usize = 10 << 20;

/// A record that passed the checks which need no stream.
struct Entry<'r> {
    partition_key: &'r str,
    hash_key: HashKey,
    data: Bytes,
}

impl<'r> Entry<'r> {
    fn new(key: Option<&'r Text<'_>>, explicit: Option<&Text<'_>>, data: Bytes) -> Result<Self, Error> {
        let partition_key = key.map(|key| &**key).unwrap_or_default();
        let hash_key = match explicit {
            Some(key) => check::hash_key(key, "ExplicitHashKey")?,
            None => HashKey::of_partition_key(partition_key),
        };
        Ok(Self { partition_key, hash_key, data })
    }

    fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }

    /// Passes when the stream takes records of this size.
    fn require_fit(&self, stream: &Stream) -> Result<(), Error> {
        let (size, limit) = (self.size_bytes(), stream.max_record_kib as usize * 1024);
        if size <= limit {
            return Ok(());
        }
        Err(Error::invalid_argument(format!(
            "Record size, {size} bytes including the partition key, exceeds the maximum record size of stream {}, \
             {limit} bytes.",
            stream.name
        )))
    }

    fn store(self, stream: &mut Stream, room: Room, now: Millis) -> Result<response::PutRecord, Error> {
        let size = self.size_bytes();
        let is_encrypted = stream.key_id.is_some();
        let shard = stream.shard_for(self.hash_key, now);
        if room.is_full || (room.is_limited && !shard.meters.admit_write(size, now)) {
            let shard = shard.id;
            return Err(Error::rate_exceeded(shard, &stream.name));
        }
        let record = NewRecord { partition_key: self.partition_key, data: self.data, is_encrypted };
        let sequence_number = shard.append(record, now);
        let encryption_type = is_encrypted.then_some(response::KMS);
        Ok(response::PutRecord { shard_id: shard.id, sequence_number, encryption_type })
    }

    /// As one of many: its refusal is a result as well.
    fn store_or_fail(
        self,
        stream: &mut Stream,
        room: Room,
        fault: Option<RecordFaults>,
        now: Millis,
    ) -> response::PutResult {
        let is_stored = fault.is_none_or(|fault| fault.are_stored);
        let stored = is_stored.then(|| self.store(stream, room, now));
        match (fault, stored) {
            (None, Some(stored)) => stored.map_or_else(response::PutResult::from, response::PutResult::Stored),
            _ => response::PutResult::Failed {
                error_code: "InternalFailure",
                error_message: "Internal service failure.".into(),
            },
        }
    }
}

/// Limits of a put: whether there is space for records, and whether each shard has limits.
#[derive(Clone, Copy, Debug)]
struct Room {
    is_full: bool,
    is_limited: bool,
}

impl Kinesis {
    fn room(&mut self, now: Millis) -> Room {
        Room { is_full: self.is_full(now), is_limited: self.limits.are_enforced }
    }

    /// True if the stream needs no partition keys, because it distributes records by itself.
    fn has_optional_keys(&self, name: &Option<Text<'_>>, arn: &Option<Text<'_>>) -> bool {
        let name = check::stream(name.as_ref(), arn.as_ref());
        let stream = name.ok().and_then(|name| self.streams.get(name));
        stream.is_some_and(|stream| stream.distribution != Distribution::UserPartitionKey)
    }

    pub(super) fn put_record(
        &mut self,
        request: request::PutRecord<'_>,
        now: Millis,
    ) -> Result<response::PutRecord, Error> {
        let mut check = Check::default();
        check.required(&request.data, "data");
        if request.partition_key.is_some() || !self.has_optional_keys(&request.stream_name, &request.stream_arn) {
            check.partition_key(request.partition_key.as_ref(), "partitionKey");
        }
        check.hash_key(request.explicit_hash_key.as_ref(), "explicitHashKey");
        check.sequence_number(request.sequence_number_for_ordering.as_ref(), "sequenceNumberForOrdering");
        check.finish()?;

        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let data = request.data.map(|data| data.0).unwrap_or_default();
        let entry = Entry::new(request.partition_key.as_ref(), request.explicit_hash_key.as_ref(), data)?;
        // Numbers only grow, so any earlier number of the stream is in order already.
        if let Some(number) = &request.sequence_number_for_ordering
            && SequenceNumber::parse(number).is_none()
        {
            return Err(Error::invalid_argument(format!(
                "ExclusiveMinimumSequenceNumber {} used in PutRecord on stream {name} under account {} is invalid.",
                &**number,
                crate::ACCOUNT_ID
            )));
        }
        let room = self.room(now);
        let stream = self.stream(name, now)?;
        stream.require_data()?;
        entry.require_fit(stream)?;
        if request.dry_run == Some(true) {
            return Err(Error::dry_run());
        }
        entry.store(stream, room, now)
    }

    pub(super) fn put_records(
        &mut self,
        request: request::PutRecords<'_>,
        faults: Option<RecordFaults>,
        now: Millis,
    ) -> Result<response::PutRecords, Error> {
        check_records(&request, self.has_optional_keys(&request.stream_name, &request.stream_arn))?;
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let records = request.records.as_deref().unwrap_or_default();
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            let data = record.data.as_ref().map(|data| data.0.clone()).unwrap_or_default();
            entries.push(Entry::new(record.partition_key.as_ref(), record.explicit_hash_key.as_ref(), data)?);
        }
        if entries.iter().map(Entry::size_bytes).sum::<usize>() > MAX_REQUEST_BYTES {
            return Err(Error::invalid_argument("Records size exceeds 10 MB limit"));
        }
        let room = self.room(now);
        let stream = self.stream(name, now)?;
        stream.require_data()?;
        // One record that is too large fails the request, and nothing of it is stored.
        entries.iter().try_for_each(|entry| entry.require_fit(stream))?;
        if request.dry_run == Some(true) {
            return Err(Error::dry_run());
        }
        let fault = |n: usize| faults.filter(|faults| faults.strikes(n));
        let records = (1..).zip(entries).map(|(n, entry)| entry.store_or_fail(stream, room, fault(n), now)).collect();
        Ok(response::PutRecords::new(records, stream.key_id.is_some().then_some(response::KMS)))
    }
}

fn check_records(request: &request::PutRecords<'_>, keys_are_optional: bool) -> Result<(), Error> {
    let mut check = Check::default();
    check.required(&request.records, "records");
    let records = request.records.as_deref().unwrap_or_default();
    if request.records.is_some() && records.is_empty() {
        check.fail("'[]'", "records", "have length greater than or equal to 1");
    }
    if records.len() > MAX_RECORDS {
        // Without the value: it would be as long as the request.
        check.fail("", "records", format_args!("have length less than or equal to {MAX_RECORDS}").to_string());
        return check.finish();
    }
    for (n, record) in (1..).zip(records) {
        check.required(&record.data, format_args!("records.{n}.member.data"));
        if record.partition_key.is_some() || !keys_are_optional {
            check.partition_key(record.partition_key.as_ref(), format_args!("records.{n}.member.partitionKey"));
        }
        check.hash_key(record.explicit_hash_key.as_ref(), format_args!("records.{n}.member.explicitHashKey"));
    }
    check.finish()
}
