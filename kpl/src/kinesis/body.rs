//! Bodies of PutRecords requests. The SDK would copy the data of every entry three times: into an entry of its own, into
//! base64, and from there into the body. Here they are encoded into the body in one step.
//!
//! The SDK signs and sends; an interceptor replaces the body that it wrote, of a request without records. Both are equal to
//! the byte: `the_body_of_a_request_is_the_sdks_own` compares them.

use aws_sdk_kinesis::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
};
use base64_simd::STANDARD;
use bytes::Bytes;

use super::{Entry, PutRecordsRequest};
use crate::stream::Stream;

tokio::task_local! {
    /// Body of the call that the task makes.
    static BODY: Bytes;
}

/// Content type of the protocol that [`encode`] writes.
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// Awaits a call whose request has this `body`.
pub(super) async fn with_body<T>(body: Bytes, call: impl Future<Output = T>) -> T {
    BODY.scope(body, call).await
}

/// Gives calls [with a body](with_body) that body, before they are signed.
#[derive(Debug)]
pub(super) struct GivesBody;

/// Error of a call whose client writes requests in another protocol.
#[derive(Debug, thiserror::Error)]
#[error("the client does not write its requests as {CONTENT_TYPE}")]
pub(super) struct OtherProtocol;

impl Intercept for GivesBody {
    fn name(&self) -> &'static str {
        "GivesBody"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Ok(body) = BODY.try_with(Bytes::clone) else { return Ok(()) };
        let request = context.request_mut();
        if request.headers().get("content-type") != Some(CONTENT_TYPE) {
            return Err(OtherProtocol.into());
        }
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = body.into();
        Ok(())
    }
}

/// Maximum bytes of an entry besides its data and its key: names of members, and a hash key of 39 digits.
const ENTRY_BYTES: usize = 128;

/// The body of a request.
pub(super) fn encode(request: &PutRecordsRequest) -> Bytes {
    let len = |entry: &Entry| STANDARD.encoded_length(entry.data.len()) + entry.partition_key.len() + ENTRY_BYTES;
    let mut body = Vec::with_capacity(request.entries.iter().map(len).sum::<usize>() + ENTRY_BYTES);
    body.extend_from_slice(br#"{"Records":["#);
    for (n, entry) in request.entries.iter().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        put_entry(&mut body, entry);
    }
    let (member, stream) = match &request.stream {
        Stream::Name(name) => (&br#"],"StreamName":"#[..], name),
        Stream::Arn(arn) => (&br#"],"StreamARN":"#[..], arn),
    };
    body.extend_from_slice(member);
    put_text(&mut body, stream);
    body.push(b'}');
    body.into()
}

fn put_entry(body: &mut Vec<u8>, entry: &Entry) {
    body.extend_from_slice(br#"{"Data":""#);
    STANDARD.encode_append(&entry.data, body);
    body.push(b'"');
    if !entry.is_implied {
        body.extend_from_slice(br#","ExplicitHashKey":""#);
        body.extend_from_slice(entry.explicit_hash_key.to_string().as_bytes());
        body.push(b'"');
    }
    body.extend_from_slice(br#","PartitionKey":"#);
    put_text(body, &entry.partition_key);
    body.push(b'}');
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(body, text).expect("a text can be written into memory");
}
