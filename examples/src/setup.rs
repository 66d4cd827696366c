//! AWS configuration, logs, signals and exit codes, as every sample needs them.

use std::{fs, future::Future, io::IsTerminal as _, path::Path};

use anyhow::{Context as _, bail};
use aws_config::{BehaviorVersion, Region};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::SdkConfig;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

/// The ambient AWS configuration: environment, profile, container or instance role, and `AWS_ENDPOINT_URL_*`.
///
/// # Errors
/// No region is configured.
pub async fn ambient_aws(region: Option<String>) -> anyhow::Result<SdkConfig> {
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https);
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    let aws = loader.load().await;
    if aws.region().is_none() {
        bail!("no AWS region is configured: set AWS_REGION");
    }
    Ok(aws)
}

/// Settings of a library from a file of JSON; those that are not set if there is no file.
///
/// # Errors
/// The file cannot be read, has an unknown setting, or a value that cannot be taken.
pub fn settings_of<S: DeserializeOwned + Default>(file: Option<&Path>) -> anyhow::Result<S> {
    let Some(file) = file else { return Ok(S::default()) };
    let read = || anyhow::Ok(serde_json::from_slice(&fs::read(file)?)?);
    read().with_context(|| format!("settings in {}", file.display()))
}

/// Logs to `writer` by the filter in `RUST_LOG`, or else by `default`.
pub fn log_to(writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static, default: &str) {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse().ok());
    let filter: Targets = wanted.unwrap_or_else(|| default.parse().unwrap_or_default());
    let colors = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_ansi(colors).with_writer(writer);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

/// Resolves at Ctrl-C or, on Unix, SIGTERM.
///
/// # Errors
/// Signals cannot be listened to.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let stop = CancellationToken::new();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let mut signals = signal(kind).context("cannot listen to signals")?;
            let stop = stop.clone();
            tokio::spawn(async move {
                signals.recv().await;
                stop.cancel();
            });
        }
    }
    #[cfg(not(unix))]
    {
        let stop = stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.context("cannot listen to Ctrl-C").is_ok() {
                stop.cancel();
            }
        });
    }
    Ok(stop.cancelled_owned())
}

/// The exit code of an outcome; prints an error with its causes.
pub fn exit_code(outcome: anyhow::Result<bool>) -> std::process::ExitCode {
    match outcome {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            std::process::ExitCode::FAILURE
        }
    }
}

/// An error and its causes, without repetition.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
