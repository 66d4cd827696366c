//! Configurations of the clients: regions, addresses and credentials from the settings, the rest from the environment.

use aws_config::{
    BehaviorVersion, Region, default_provider::credentials::DefaultCredentialsChain, ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider, imds::credentials::ImdsCredentialsProvider,
    meta::credentials::CredentialsProviderChain, profile::ProfileFileCredentialsProvider, sts::AssumeRoleProvider,
    web_identity_token::WebIdentityTokenCredentialsProvider,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::SdkConfig;

use crate::settings::{Aws, Credentials, Settings};

/// Configurations of the clients of the three services.
#[derive(Debug, Clone)]
pub struct Configurations {
    pub(crate) kinesis: SdkConfig,
    pub(crate) dynamodb: SdkConfig,
    pub(crate) cloudwatch: SdkConfig,
}

/// No region is configured.
#[derive(Debug, thiserror::Error)]
#[error("no region is configured: set regionName, or AWS_REGION")]
pub struct NoRegion;

impl From<SdkConfig> for Configurations {
    /// One for all services.
    fn from(aws: SdkConfig) -> Self {
        Self { kinesis: aws.clone(), dynamodb: aws.clone(), cloudwatch: aws }
    }
}

impl Configurations {
    /// Those of the settings; what they leave open is from the environment.
    ///
    /// # Errors
    /// No region is configured.
    pub async fn load(settings: &Settings) -> Result<Self, NoRegion> {
        let https =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let Aws { region, kinesis, dynamodb, cloudwatch } = &settings.aws;
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https);
        if let Some(region) = region {
            loader = loader.region(Region::new(region.clone()));
        }
        let base = loader.load().await;
        let mut configurations = Vec::new();
        for service in [kinesis, dynamodb, cloudwatch] {
            let mut builder = base.to_builder();
            if let Some(region) = &service.region {
                builder.set_region(Region::new(region.clone()));
            }
            builder.set_endpoint_url(service.endpoint.clone().or_else(|| base.endpoint_url().map(str::to_owned)));
            if service.credentials != [Credentials::Default] {
                builder.set_credentials_provider(Some(chain(&service.credentials, &base).await));
            }
            configurations.push(builder.build());
        }
        let [kinesis, dynamodb, cloudwatch] = configurations.try_into().map_err(|_| NoRegion)?;
        if kinesis.region().is_none() || dynamodb.region().is_none() {
            return Err(NoRegion);
        }
        Ok(Self { kinesis, dynamodb, cloudwatch })
    }
}

/// The sources, asked one after the other.
async fn chain(sources: &[Credentials], base: &SdkConfig) -> SharedCredentialsProvider {
    let mut chain: Option<CredentialsProviderChain> = None;
    for source in sources {
        let provider = provider(source, base).await;
        chain = Some(match chain {
            None => CredentialsProviderChain::first_try("first", provider),
            Some(chain) => chain.or_else("next", provider),
        });
    }
    match chain {
        Some(chain) => SharedCredentialsProvider::new(chain),
        None => provider(&Credentials::Default, base).await,
    }
}

async fn provider(source: &Credentials, base: &SdkConfig) -> SharedCredentialsProvider {
    match source {
        Credentials::Default => match base.credentials_provider() {
            Some(provider) => provider,
            None => SharedCredentialsProvider::new(DefaultCredentialsChain::builder().build().await),
        },
        Credentials::Environment => SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()),
        Credentials::Profile(name) => {
            let builder = ProfileFileCredentialsProvider::builder();
            let builder = match name {
                Some(name) => builder.profile_name(name),
                None => builder,
            };
            SharedCredentialsProvider::new(builder.build())
        }
        Credentials::WebIdentity => {
            SharedCredentialsProvider::new(WebIdentityTokenCredentialsProvider::builder().build())
        }
        Credentials::Container => SharedCredentialsProvider::new(EcsCredentialsProvider::builder().build()),
        Credentials::Instance => SharedCredentialsProvider::new(ImdsCredentialsProvider::builder().build()),
        Credentials::AssumeRole { arn, session, region, external_id } => {
            let mut builder = AssumeRoleProvider::builder(arn).session_name(session).configure(base);
            if let Some(region) = region {
                builder = builder.region(Region::new(region.clone()));
            }
            if let Some(external_id) = external_id {
                builder = builder.external_id(external_id);
            }
            SharedCredentialsProvider::new(builder.build().await)
        }
    }
}
