//! [`config`] and [`Clients`]: AWS as environment and arguments configure it, behind a guard.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kinesis::config::SharedCredentialsProvider;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::SdkConfig;

use super::guard::Guard;

/// Attempts of a call that is throttled, with pauses of half a second to 8 s: control calls have quotas of 5 a second.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The configuration of the SDK: environment, profile and region. Nothing is called, except where credentials or a
/// region come from.
///
/// # Errors
/// No region is configured.
pub async fn config(profile: Option<&str>, region: Option<&str>) -> anyhow::Result<SdkConfig> {
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https.clone());
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let config = loader.load().await;
    config.region().context("no AWS region is configured: pass --region, or set AWS_REGION")?;
    let Some(profile) = profile else { return Ok(config) };
    // A profile that is named counts more than keys in the environment, as in the AWS CLI.
    let settings = ProviderConfig::without_region().with_region(config.region().cloned()).with_http_client(https);
    let credentials = ProfileFileCredentialsProvider::builder().configure(&settings).profile_name(profile).build();
    Ok(config.to_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build())
}

/// Variables of the environment that lead elsewhere than to AWS itself, with their values.
pub fn endpoints() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let texts = std::env::vars_os().filter_map(text);
    let mut found: Vec<_> = texts.filter(|(name, _)| name.starts_with("AWS_ENDPOINT_URL")).collect();
    found.sort_unstable();
    found
}

/// Clients of a run.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Of Kinesis.
    pub kinesis: aws_sdk_kinesis::Client,
    /// Of DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
}

impl Clients {
    /// Clients that try again what is throttled, at most five times.
    pub fn patient(config: &SdkConfig, guard: &Guard) -> Self {
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_PAUSE);
        Self::new(config, guard, &retries.with_max_backoff(LONGEST_PAUSE))
    }

    /// Clients that try once: throttling is an answer, too.
    pub fn direct(config: &SdkConfig, guard: &Guard) -> Self {
        Self::new(config, guard, &RetryConfig::disabled())
    }

    fn new(config: &SdkConfig, guard: &Guard, retries: &RetryConfig) -> Self {
        let kinesis = aws_sdk_kinesis::config::Builder::from(config).retry_config(retries.clone());
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(config).retry_config(retries.clone());
        Self {
            kinesis: aws_sdk_kinesis::Client::from_conf(kinesis.interceptor(guard.clone()).build()),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.interceptor(guard.clone()).build()),
        }
    }
}
