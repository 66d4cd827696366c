//! [`trial`]: a test on AWS itself, between consent and clean-up.

use std::panic::AssertUnwindSafe;

use anyhow::{anyhow, ensure};
use aws_types::SdkConfig;
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::clean_up::{CLEAN_UP_TIME, clean_up};
use super::clients::Clients;
use super::consent::require_consent;
use super::guard::Guard;
use super::place::find;
use super::prefix::Prefix;

/// Runs a test that names all it makes by the prefix, if `confirm` is the `ACCOUNT/REGION` of the configuration. What the
/// test made is deleted afterwards, also if it failed, panicked or was stopped.
///
/// # Errors
/// AWS cannot be used, the run is not confirmed, the test fails, or something is left.
pub async fn trial(
    config: &SdkConfig,
    confirm: &str,
    stop: &CancellationToken,
    test: impl AsyncFnOnce(&Prefix) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let prefix = Prefix::random();
    let clients = Clients::patient(config, &Guard::new(prefix.clone(), 0));
    let place = Box::pin(find(config, &clients, &prefix)).await?;
    require_consent(&place, Some(confirm))?;
    let tested = tokio::select! {
        biased;
        () = stop.cancelled() => Err(anyhow!("the test was stopped")),
        tested = AssertUnwindSafe(Box::pin(test(&prefix))).catch_unwind() => {
            tested.unwrap_or_else(|_| Err(anyhow!("the test panicked")))
        }
    };
    let cleaned = clean_up(&clients, &prefix, CLEAN_UP_TIME).await;
    tested?;
    ensure!(cleaned.is_complete(), "{cleaned}; conformance --clean-up {prefix} deletes the rest");
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::Client;
    use kinesis_local::LocalAws;

    use super::*;

    const CONFIRM: &str = "000000000000/us-east-1";

    async fn passes(config: &SdkConfig, prefix: &Prefix) -> anyhow::Result<()> {
        let create = Client::new(config).create_stream().stream_name(prefix.name("stream")).shard_count(1);
        create.send().await?;
        Ok(())
    }

    async fn fails(config: &SdkConfig, prefix: &Prefix) -> anyhow::Result<()> {
        passes(config, prefix).await?;
        Err(anyhow!("on purpose"))
    }

    async fn panics(config: &SdkConfig, prefix: &Prefix) -> anyhow::Result<()> {
        passes(config, prefix).await?;
        panic!("on purpose")
    }

    async fn stops(config: &SdkConfig, prefix: &Prefix, stop: &CancellationToken) -> anyhow::Result<()> {
        passes(config, prefix).await?;
        stop.cancel();
        std::future::pending().await
    }

    async fn streams(config: &SdkConfig) -> Vec<String> {
        Client::new(config).list_streams().send().await.unwrap().stream_names().to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_however_a_test_ends() {
        let aws = LocalAws::start().await;
        aws.create_stream("orders", 1).unwrap();
        let config = aws.sdk_config();

        let stop = CancellationToken::new();
        trial(&config, CONFIRM, &stop, async |prefix| passes(&config, prefix).await).await.unwrap();
        let fails = trial(&config, CONFIRM, &stop, async |prefix| fails(&config, prefix).await).await;
        let panics = trial(&config, CONFIRM, &stop, async |prefix| panics(&config, prefix).await).await;
        let stopped = trial(&config, CONFIRM, &stop, async |prefix| stops(&config, prefix, &stop).await).await;

        let ends = [fails, panics, stopped].map(|end| end.unwrap_err().to_string());
        assert_eq!(ends, ["on purpose", "the test panicked", "the test was stopped"]);
        assert_eq!(streams(&config).await, ["orders"]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_test_runs_in_another_account() {
        let config = LocalAws::start().await.sdk_config();

        let (elsewhere, stop) = ("123456789012/us-east-1", CancellationToken::new());
        let refused = trial(&config, elsewhere, &stop, async |prefix| passes(&config, prefix).await).await;

        assert!(refused.unwrap_err().to_string().contains("but this is 000000000000/us-east-1"));
        assert_eq!(streams(&config).await, [""; 0]);
    }
}
