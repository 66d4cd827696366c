//! AWS as the command line and the environment configure it.

pub(crate) mod refusal;
pub(crate) mod stream_name;

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_kinesis::config::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::SdkConfig;
use clap::Args;
use kcl::ServiceClock;

use crate::{clock, failure::Failure};

/// Time to connect; the SDK's own is as long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for one attempt of a call.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 4;
/// Addresses in the environment, at which the SDK panics if they are empty.
const ADDRESSES: [&str; 3] = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_DYNAMODB"];

/// AWS as the user names it. Each is accepted before and after the command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "AWS")]
pub(crate) struct AwsArguments {
    /// Profile of the AWS configuration, which counts more than keys in the environment [default: AWS_PROFILE, else "default"]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Region [default: AWS_REGION, else the profile's]
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Endpoint of all services, as of an emulator [default: AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_KINESIS, ...]
    #[arg(long, visible_alias = "aws-endpoint", global = true, value_name = "URL")]
    pub(crate) endpoint_url: Option<String>,
}

/// The configuration for all clients of a command.
#[derive(Debug, Clone)]
pub(crate) struct Aws {
    pub(crate) config: SdkConfig,
    pub(crate) clock: ServiceClock,
    region: String,
    /// The profile that was named, whose credentials alone are used.
    profile: Option<String>,
}

impl AwsArguments {
    /// Loads the configuration. Nothing is called, except where credentials or a region come from.
    pub(crate) async fn load(&self) -> Result<Aws, Failure> {
        if let Some(url) = &self.endpoint_url
            && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        {
            let what = format!("{url} is no endpoint");
            return Err(Failure::usage(what, "give --endpoint-url as http://HOST:PORT or https://HOST"));
        }
        let mut addresses = ADDRESSES.into_iter();
        if let Some(name) = addresses.find(|name| std::env::var_os(name).is_some_and(|address| address.is_empty())) {
            return Err(Failure::new(format!("{name} is empty"), "unset it, or set it to an address"));
        }
        let https =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(https.clone())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts.build());
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let mut config = loader.load().await;
        if let Some(profile) = &self.profile {
            config = with_credentials_of(&config, profile, https);
        }
        let Some(region) = config.region().map(ToString::to_string) else {
            return Err(Failure::new("no AWS region is configured", "pass --region, or set AWS_REGION"));
        };
        Ok(Aws { clock: ServiceClock::new(&config), config, region, profile: self.profile.clone() })
    }
}

/// The configuration with the credentials of a profile that is named, without a look at the environment, as in the AWS CLI.
fn with_credentials_of(config: &SdkConfig, profile: &str, http: SharedHttpClient) -> SdkConfig {
    let settings = ProviderConfig::without_region().with_region(config.region().cloned()).with_http_client(http);
    let credentials = ProfileFileCredentialsProvider::builder().configure(&settings).profile_name(profile).build();
    config.to_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build()
}

impl Aws {
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Milliseconds that the services' clock is ahead of the machine's, to two seconds; None before the first answer.
    pub(crate) fn clock_ahead_millis(&self) -> Option<i64> {
        let (services, machine) = (self.clock.services_now()?, clock::now());
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Some(match services.duration_since(machine) {
            Ok(ahead) => millis(ahead),
            Err(behind) => -millis(behind.duration()),
        })
    }

    pub(crate) fn kinesis(&self) -> aws_sdk_kinesis::Client {
        let config = aws_sdk_kinesis::config::Builder::from(&self.config).interceptor(self.clock.clone());
        aws_sdk_kinesis::Client::from_conf(config.build())
    }

    /// For calls that are paced by their refusals.
    pub(crate) fn kinesis_without_retries(&self) -> aws_sdk_kinesis::Client {
        let config = aws_sdk_kinesis::config::Builder::from(&self.config).interceptor(self.clock.clone());
        aws_sdk_kinesis::Client::from_conf(config.retry_config(RetryConfig::disabled()).build())
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.config).interceptor(self.clock.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }
}
