//! The services, with counts of the requests to them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use integration_tests::TableRequests;
use kinesis_local::{Fault, LocalAws, ServeOptions};

use crate::server::Counts;

/// Arguments of the server.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// File to write the certificate to.
    #[arg(long)]
    certificate: PathBuf,
}

pub(super) async fn run(Serve { certificate }: Serve) -> anyhow::Result<()> {
    let aws = LocalAws::start().await;
    // A rule counts the calls that it applies to; a delay of nothing changes nothing.
    let rule = |action: &str| aws.faults().on(action).delay(Duration::ZERO);
    let kinesis = ["kinesis:PutRecords", "kinesis:GetRecords"].map(rule);
    let dynamodb = TableRequests::of(&aws);
    let server = aws.serve(ServeOptions::default().tls(true)).await?;
    std::fs::write(certificate, server.certificate_pem().context("it serves over TLS")?)?;
    println!("{} {}", server.kinesis_url(), server.dynamodb_url());
    tokio::task::spawn_blocking(move || answer(&aws, &kinesis, &dynamodb)).await?
}

/// Answers each line of the input by counts, until it ends.
fn answer(aws: &LocalAws, kinesis: &[Fault], dynamodb: &TableRequests) -> anyhow::Result<()> {
    for question in std::io::stdin().lines() {
        question?;
        let consumed = aws.consumed_capacity();
        let kinesis = kinesis.iter().map(Fault::count).sum();
        let requests = dynamodb.counts().into_iter().map(|(operation, count)| (operation.to_owned(), count)).collect();
        let (read_units, write_units) = (consumed.read_units, consumed.write_units);
        let counts = Counts { kinesis, requests, read_units, write_units };
        println!("{}", serde_json::to_string(&counts)?);
    }
    Ok(())
}
