//! Repetition of failed calls to Kinesis, with pauses.

use std::future::Future;

use tokio::time::sleep;

use crate::{error::KinesisError, logic::backoff::Backoff};

pub(crate) async fn retried<T, F>(backoff: Backoff, retries: u32, call: impl Fn() -> F) -> Result<T, KinesisError>
where
    F: Future<Output = Result<T, KinesisError>>,
{
    let mut failures = 0;
    loop {
        match call().await {
            Err(error) if error.may_pass() && failures < retries => failures += 1,
            outcome => return outcome,
        }
        sleep(backoff.pause(failures, fastrand::f64())).await;
    }
}
