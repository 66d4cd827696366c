//! [`Place`]: the account and region that a run works in, and who told them.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_types::SdkConfig;
use tokio::time::timeout;

use super::clients::Clients;
use super::prefix::Prefix;

/// Maximum time for the question to STS, with its retries.
const PATIENCE: Duration = Duration::from_secs(30);

/// Words before the account in the refusal of a stream that does not exist.
const BEFORE_THE_ACCOUNT: &str = " under account ";

/// An account and a region, `ACCOUNT/REGION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    account: String,
    region: String,
}

impl Place {
    /// A place.
    pub fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned() }
    }

    /// Account, twelve digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Region, such as `eu-west-1`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// True if the text is exactly this place.
    pub fn is(&self, text: &str) -> bool {
        text == self.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

/// Asks STS for the account, and Kinesis by describing a stream that does not exist. Nothing is made.
///
/// # Errors
/// Kinesis refuses, neither tells an account, or both tell others: then STS and Kinesis are not of one AWS.
pub async fn find(config: &SdkConfig, clients: &Clients, prefix: &Prefix) -> anyhow::Result<Place> {
    let region = config.region().context("no AWS region is configured")?.to_string();
    let by_kinesis = account_of_kinesis(clients, prefix).await?;
    let by_sts = account_of_sts(config).await;
    Ok(Place { account: account(by_sts, by_kinesis)?, region })
}

async fn account_of_sts(config: &SdkConfig) -> anyhow::Result<String> {
    let sts = aws_sdk_sts::Client::new(config);
    let answer = timeout(PATIENCE, sts.get_caller_identity().send()).await.context("no answer in time")?;
    let identity = answer.context("STS cannot be asked for the account")?;
    identity.account.context("no account in the answer")
}

async fn account_of_kinesis(clients: &Clients, prefix: &Prefix) -> anyhow::Result<Option<String>> {
    let describe = clients.kinesis.describe_stream_summary().stream_name(prefix.name("missing"));
    match describe.send().await {
        Ok(_) => bail!("Kinesis describes a stream {} that was never made", prefix.name("missing")),
        Err(error) if error.code() == Some("ResourceNotFoundException") => {
            Ok(told_account(error.message().unwrap_or_default()).map(str::to_owned))
        }
        Err(error) => Err(error).context("Kinesis cannot be used"),
    }
}

/// The account in "Stream x under account 123456789012 not found."
fn told_account(refusal: &str) -> Option<&str> {
    let (_, rest) = refusal.split_once(BEFORE_THE_ACCOUNT)?;
    let account = rest.get(..12)?;
    account.bytes().all(|byte| byte.is_ascii_digit()).then_some(account)
}

fn account(by_sts: anyhow::Result<String>, by_kinesis: Option<String>) -> anyhow::Result<String> {
    match (by_sts, by_kinesis) {
        (Ok(sts), Some(kinesis)) if sts != kinesis => {
            bail!("STS answers for account {sts}, Kinesis for {kinesis}: they are not of one AWS")
        }
        (Ok(account), _) | (Err(_), Some(account)) => Ok(account),
        (Err(error), None) => Err(error.context("neither STS nor Kinesis tells the account")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_of_a_missing_stream_tells_the_account() {
        let told = told_account("Stream s under account 123456789012 not found.");
        assert_eq!(told, Some("123456789012"));
        for refusal in ["Stream s not found.", "Stream s under account 1234 not found.", "s under account é23456789012"]
        {
            assert_eq!(told_account(refusal), None, "{refusal}");
        }
    }

    #[test]
    fn two_accounts_are_none() {
        let told = |account: &str| account.to_owned();
        let silent = || Err(anyhow::anyhow!("no STS"));

        assert_eq!(account(Ok(told("1")), Some(told("1"))).unwrap(), "1");
        assert_eq!(account(Ok(told("1")), None).unwrap(), "1");
        assert_eq!(account(silent(), Some(told("2"))).unwrap(), "2");
        assert!(account(Ok(told("1")), Some(told("2"))).is_err());
        assert!(account(silent(), None).is_err());
    }
}
