//! Clients of the served services.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use aws_sdk_kinesis::config::SharedHttpClient;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_types::SdkConfig;
use clap::Args;
use integration_tests::conformance::config;

/// Addresses of the services.
#[derive(Debug, Clone, Args)]
pub(crate) struct Services {
    /// URL of Kinesis.
    #[arg(long)]
    pub(crate) kinesis: String,

    /// URL of DynamoDB.
    #[arg(long)]
    pub(crate) dynamodb: String,

    /// Certificate to trust, in PEM.
    #[arg(long)]
    pub(crate) certificate: PathBuf,
}

impl Services {
    /// For clients of Kinesis and of DynamoDB.
    pub(crate) fn configs(&self) -> anyhow::Result<(SdkConfig, SdkConfig)> {
        let https = https(&self.certificate)?;
        Ok((config(&self.kinesis, https.clone()), config(&self.dynamodb, https)))
    }

    /// As arguments of a role.
    pub(crate) fn arguments(&self) -> [String; 6] {
        let certificate = self.certificate.display().to_string();
        let named = [("--kinesis", &self.kinesis), ("--dynamodb", &self.dynamodb), ("--certificate", &certificate)];
        let mut arguments = named.into_iter().flat_map(|(name, value)| [name.to_owned(), value.clone()]);
        std::array::from_fn(|_| arguments.next().unwrap_or_default())
    }

    /// Host and port of Kinesis.
    pub(crate) fn kinesis_address(&self) -> anyhow::Result<(&str, &str)> {
        let address = self.kinesis.split_once("://").and_then(|(_, address)| address.rsplit_once(':'));
        address.with_context(|| format!("{} has no host and port", self.kinesis))
    }
}

fn https(certificate: &Path) -> anyhow::Result<SharedHttpClient> {
    let pem = std::fs::read(certificate).with_context(|| format!("cannot read {}", certificate.display()))?;
    let context = TlsContext::builder().with_trust_store(TrustStore::empty().with_pem_certificate(pem)).build()?;
    let builder = aws_smithy_http_client::Builder::new();
    Ok(builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https())
}
