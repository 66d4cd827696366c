//! The Kinesis and the DynamoDB that all processes use.

use anyhow::Context as _;
use aws_types::SdkConfig;
use examples::setup;
use kinesis_local::{LocalAws, ServeOptions, Server};

/// Configuration of this process, and the variables by which others have the same.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) aws: SdkConfig,
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Serves until it is dropped.
    _server: Option<Server>,
}

impl Surroundings {
    /// Those of the environment.
    pub(crate) async fn given() -> anyhow::Result<Self> {
        Ok(Self { aws: setup::ambient_aws(None).await?, variables: Vec::new(), _server: None })
    }

    /// Embedded in this process, and served to others.
    pub(crate) async fn embedded() -> anyhow::Result<Self> {
        let local = LocalAws::start().await;
        let server = local.serve(ServeOptions::default()).await.context("the embedded AWS cannot be served")?;
        let variables = vec![
            ("AWS_ENDPOINT_URL_KINESIS", format!("http://{}", server.kinesis_address())),
            ("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{}", server.dynamodb_address())),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ];
        Ok(Self { aws: local.sdk_config(), variables, _server: Some(server) })
    }
}
