//! [`Checksums`]: the checksum of an answer beside that of its body, as the client saw both.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;

use super::expect::{Failure, Outcome, equal, present};

/// The header with the CRC-32 of the body, as a decimal number.
const HEADER: &str = "x-amz-crc32";

/// Reads the last answer of a call.
#[derive(Clone, Debug, Default)]
pub(super) struct Checksums {
    // Protects what was seen, between the SDK's call of the interceptor and the check.
    seen: Arc<Mutex<Option<Seen>>>,
}

#[derive(Debug)]
struct Seen {
    header: Option<String>,
    checksum_of_body: u32,
}

impl Checksums {
    /// Passes when the answer had the checksum of its body.
    #[track_caller]
    pub(super) fn require_right(&self) -> Outcome {
        let seen = self.seen.lock().map_err(|_| Failure::new("the call panicked"))?.take();
        let seen = present(seen, "answer with a body in memory")?;
        equal(HEADER, present(seen.header, HEADER)?, seen.checksum_of_body.to_string())
    }
}

impl Intercept for Checksums {
    fn name(&self) -> &'static str {
        "Checksums"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (headers, body) = (context.response().headers(), context.response().body().bytes());
        let header = headers.get(HEADER).map(str::to_owned);
        let mut seen = self.seen.lock().map_err(|_| "the call panicked")?;
        *seen = body.map(|body| Seen { header, checksum_of_body: crc32fast::hash(body) });
        Ok(())
    }
}
