//! [`Kinesis`] through the AWS SDK. The SDK's own retries are off: the producer retries, and counts what it does.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use aws_sdk_kinesis::{
    Client,
    config::retry::RetryConfig,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        describe_stream_summary::DescribeStreamSummaryOutput,
        list_shards::ListShardsOutput,
        put_records::{PutRecordsOutput, builders::PutRecordsFluentBuilder},
    },
    primitives::Blob,
    types::{PutRecordsRequestEntry, PutRecordsResultEntry, RecordDistributionStrategy, ShardFilter, ShardFilterType},
};

use super::{
    BoxFuture, Entry, EntryResult, Kinesis, KinesisError, KinesisErrorKind, PutRecordsRequest, Shard, Stored, Stream,
    StreamSummary,
    body::{self, GivesBody, OtherProtocol},
};
use crate::hash_key::HashKeyRange;

/// Maximum shards of one page. Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html>
const LIST_SHARDS_MAX_RESULTS: i32 = 1000;

/// Kinesis through a client of the AWS SDK.
#[derive(Debug, Clone)]
pub struct SdkKinesis {
    client: Client,
    /// The client has written a request in a protocol that is not ours: the SDK writes the bodies.
    is_foreign: Arc<AtomicBool>,
}

impl SdkKinesis {
    /// Calls through `client`, with its credentials, region and endpoint, but without its retries.
    ///
    /// Interceptors of the client see an input of PutRecords without records, and the request with them.
    pub fn new(client: Client) -> Self {
        // Once, rather than for each call: that costs more than the rest of a small call.
        let config = client.config().to_builder().retry_config(RetryConfig::disabled()).interceptor(GivesBody);
        Self { client: Client::from_conf(config.build()), is_foreign: Arc::default() }
    }

    async fn put(&self, request: PutRecordsRequest) -> Result<Vec<EntryResult>, KinesisError> {
        if !self.is_foreign.load(Relaxed) {
            let call = self.put_call(&request.stream, Vec::new());
            let called = body::with_body(body::encode(&request), call.send()).await;
            if !called.as_ref().is_err_and(is_other_protocol) {
                return called.map(entry_results).map_err(error);
            }
            self.is_foreign.store(true, Relaxed);
        }
        let call = self.put_call(&request.stream, request.entries.into_iter().map(to_sdk).collect());
        call.send().await.map(entry_results).map_err(error)
    }

    fn put_call(&self, stream: &Stream, records: Vec<PutRecordsRequestEntry>) -> PutRecordsFluentBuilder {
        let (name, arn) = name_and_arn(stream);
        self.client.put_records().set_stream_name(name).set_stream_arn(arn).set_records(Some(records))
    }

    /// The page of `token`, which stands for the stream and the filter: naming them again is an error.
    async fn list_page(&self, stream: &Stream, token: Option<String>) -> Result<ListShardsOutput, KinesisError> {
        let mut call = self.client.list_shards().max_results(LIST_SHARDS_MAX_RESULTS);
        if token.is_none() {
            let (name, arn) = name_and_arn(stream);
            let filter = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build();
            let filter = filter.map_err(|error| invalid_response(&error))?;
            call = call.set_stream_name(name).set_stream_arn(arn).shard_filter(filter);
        }
        call.set_next_token(token).send().await.map_err(error)
    }
}

impl Kinesis for SdkKinesis {
    fn put_records(&self, request: PutRecordsRequest) -> BoxFuture<'_, Result<Vec<EntryResult>, KinesisError>> {
        Box::pin(self.put(request))
    }

    fn list_shards(&self, stream: Stream) -> BoxFuture<'_, Result<Vec<Shard>, KinesisError>> {
        Box::pin(async move {
            let (mut shards, mut token) = (Vec::new(), None);
            loop {
                let page = self.list_page(&stream, token).await?;
                // Emulators that do not know the filter return closed shards, too.
                let open = page.shards().iter().filter(|shard| is_open(shard));
                shards.extend(open.map(from_sdk).collect::<Result<Vec<_>, _>>()?);
                token = page.next_token;
                if token.is_none() {
                    return Ok(shards);
                }
            }
        })
    }

    fn describe_stream(&self, stream: Stream) -> BoxFuture<'_, Result<StreamSummary, KinesisError>> {
        let (name, arn) = name_and_arn(&stream);
        let call = self.client.describe_stream_summary().set_stream_name(name).set_stream_arn(arn);
        Box::pin(async move { call.send().await.map(summary).map_err(error) })
    }
}

fn summary(output: DescribeStreamSummaryOutput) -> StreamSummary {
    let Some(summary) = output.stream_description_summary() else { return StreamSummary::default() };
    let max_record_bytes = summary.max_record_size_in_kib().and_then(|kib| usize::try_from(kib).ok());
    StreamSummary {
        max_record_bytes: max_record_bytes.map(|kib| kib * 1024),
        ignores_partition_keys: summary.record_distribution_strategy() == Some(&RecordDistributionStrategy::Auto),
    }
}

fn name_and_arn(stream: &Stream) -> (Option<String>, Option<String>) {
    match stream {
        Stream::Name(name) => (Some(name.to_string()), None),
        Stream::Arn(arn) => (None, Some(arn.to_string())),
    }
}

/// Returns whether the call ended before it was sent, by [`OtherProtocol`].
fn is_other_protocol<E: Error + 'static>(error: &SdkError<E>) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.is::<OtherProtocol>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn to_sdk(entry: Entry) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder()
        .partition_key(entry.partition_key)
        .set_explicit_hash_key((!entry.is_implied).then(|| entry.explicit_hash_key.to_string()))
        .data(Blob::new(Vec::from(entry.data)))
        .build()
        .expect("an entry has data")
}

fn entry_results(output: PutRecordsOutput) -> Vec<EntryResult> {
    // One Arc for each shard rather than for each entry.
    let mut last: Option<Arc<str>> = None;
    let mut shared = |id: &str| match &last {
        Some(known) if **known == *id => known.clone(),
        _ => last.insert(id.into()).clone(),
    };
    output.records.into_iter().map(|entry| entry_result(entry, &mut shared)).collect()
}

fn entry_result(entry: PutRecordsResultEntry, shared: &mut impl FnMut(&str) -> Arc<str>) -> EntryResult {
    match (entry.sequence_number, entry.shard_id) {
        (Some(number), Some(shard_id)) => {
            let sequence_number = number.parse().map_err(|error| invalid_response(&error))?;
            Ok(Stored { shard_id: crate::id::ShardId::new(shared(&shard_id)), sequence_number })
        }
        _ => {
            let code = entry.error_code.unwrap_or_default();
            Err(KinesisError::from_code(code, entry.error_message.unwrap_or_default(), None))
        }
    }
}

fn is_open(shard: &aws_sdk_kinesis::types::Shard) -> bool {
    shard.sequence_number_range().is_none_or(|range| range.ending_sequence_number().is_none())
}

fn from_sdk(shard: &aws_sdk_kinesis::types::Shard) -> Result<Shard, KinesisError> {
    let Some(range) = shard.hash_key_range() else {
        return Err(invalid_response(&format_args!("shard {} has no hash key range", shard.shard_id())));
    };
    let hash_key = |text: &str| text.parse().map_err(|error| invalid_response(&error));
    let hash_key_range =
        HashKeyRange { start: hash_key(range.starting_hash_key())?, end: hash_key(range.ending_hash_key())? };
    Ok(Shard { shard_id: shard.shard_id().into(), hash_key_range })
}

fn invalid_response(error: &dyn fmt::Display) -> KinesisError {
    KinesisError::new(KinesisErrorKind::Transient, "InvalidResponse", error.to_string())
}

fn error<E: ProvideErrorMetadata + Error + 'static>(error: SdkError<E>) -> KinesisError {
    use KinesisErrorKind::{Doubtful, Permanent, Transient};
    if let Some(answer) = error.raw_response().filter(|answer| !answer.status().is_success()) {
        let status = answer.status().as_u16();
        return match error.code() {
            Some(code) => KinesisError::from_code(code, error.message().unwrap_or_default(), Some(status)),
            None => KinesisError::from_code(format!("Http{status}"), with_sources(&error), Some(status)),
        };
    }
    let text = with_sources(&error);
    // The SDK has no public types for a lack of a region or of credentials.
    let says = |words: &str| text.contains(words);
    let (kind, code) = match &error {
        // Nothing was sent, and the next attempt would be made from the same parts.
        SdkError::ConstructionFailure(_) => (Permanent, "ConstructionFailure"),
        SdkError::DispatchFailure(_) if says("Missing Region") || says("no identity resolver") => {
            (Permanent, "ConstructionFailure")
        }
        // A provider of credentials that cannot be reached yet says the same as one that is not there.
        SdkError::DispatchFailure(_) if says("the credential provider was not enabled") => {
            (Doubtful, "DispatchFailure")
        }
        SdkError::TimeoutError(_) => (Transient, "Timeout"),
        SdkError::DispatchFailure(_) => (Transient, "DispatchFailure"),
        _ => (Transient, "ResponseError"),
    };
    KinesisError::new(kind, code, text)
}

/// The error's text and those of its sources, each once.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::{
        operation::put_records::PutRecordsError,
        types::{HashKeyRange, SequenceNumberRange, Shard as SdkShard, error::ResourceNotFoundException},
    };

    use super::*;
    use crate::{hash_key::HashKey, id::ShardId};

    fn sdk_shard(ending: Option<&str>) -> SdkShard {
        let range = HashKeyRange::builder().starting_hash_key("0").ending_hash_key(u128::MAX.to_string()).build();
        let numbers = SequenceNumberRange::builder()
            .starting_sequence_number("1")
            .set_ending_sequence_number(ending.map(str::to_owned));
        SdkShard::builder()
            .shard_id("shardId-000000000000")
            .hash_key_range(range.expect("complete"))
            .sequence_number_range(numbers.build().expect("complete"))
            .build()
            .expect("complete")
    }

    #[test]
    fn entries_are_stored_or_failed() {
        let stored = |shard: &str, number: &str| {
            PutRecordsResultEntry::builder().shard_id(shard).sequence_number(number).build()
        };
        let failed = PutRecordsResultEntry::builder()
            .error_code("ProvisionedThroughputExceededException")
            .error_message("Rate exceeded")
            .build();
        let output = PutRecordsOutput::builder()
            .records(stored("shardId-000000000000", "7"))
            .records(failed)
            .records(stored("shardId-000000000000", "8"))
            .records(stored("shardId-000000000000", "no number"))
            .build()
            .expect("complete");

        let results = entry_results(output);

        let first = results[0].as_ref().expect("stored");
        assert_eq!((first.shard_id.as_str(), first.sequence_number.as_str()), ("shardId-000000000000", "7"));
        assert_eq!(results[1].as_ref().expect_err("failed").kind(), KinesisErrorKind::Throttled);
        assert!(results[2].is_ok());
        assert_eq!(results[3].as_ref().expect_err("no number").code(), "InvalidResponse");
    }

    #[test]
    fn closed_shards_are_left_out() {
        assert!(is_open(&sdk_shard(None)));
        assert!(!is_open(&sdk_shard(Some("9"))));
        let shard = from_sdk(&sdk_shard(None)).expect("complete");
        assert_eq!(shard.shard_id, ShardId::from("shardId-000000000000"));
        assert_eq!(shard.hash_key_range, crate::hash_key::HashKeyRange::FULL);
    }

    #[test]
    fn entries_carry_a_hash_key_that_is_not_the_partition_keys() {
        let entry = |is_implied| {
            let (partition_key, data) = ("k".into(), bytes::Bytes::from_static(b"v"));
            to_sdk(Entry { partition_key, explicit_hash_key: HashKey::MAX, is_implied, data })
        };

        let (explicit, implied) = (entry(false), entry(true));

        assert_eq!(explicit.explicit_hash_key(), Some("340282366920938463463374607431768211455"));
        assert_eq!(implied.explicit_hash_key(), None);
        assert_eq!((explicit.partition_key(), explicit.data().as_ref()), (Some("k"), &b"v"[..]));
    }

    #[test]
    fn errors_keep_code_and_message_of_the_service() {
        let meta = aws_sdk_kinesis::error::ErrorMetadata::builder()
            .code("ResourceNotFoundException")
            .message("Stream s not found")
            .build();
        let missing = ResourceNotFoundException::builder().message("Stream s not found").meta(meta).build();
        let response = aws_sdk_kinesis::config::http::HttpResponse::new(400.try_into().expect("a status"), "".into());

        let error = error(SdkError::service_error(PutRecordsError::ResourceNotFoundException(missing), response));

        assert_eq!(error.kind(), KinesisErrorKind::Doubtful);
        assert_eq!(error.to_string(), "ResourceNotFoundException: Stream s not found");
    }

    #[test]
    fn errors_on_the_way_name_their_sources() {
        let cause = std::io::Error::other("connection refused");

        let error = error(SdkError::<PutRecordsError>::timeout_error(cause));

        assert_eq!((error.kind(), error.code()), (KinesisErrorKind::Transient, "Timeout"));
        assert_eq!(error.message(), "request has timed out: connection refused");
    }
}
