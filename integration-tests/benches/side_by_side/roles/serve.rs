//! The services, with counts of what DynamoDB is asked for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kinesis_local::{Fault, LocalAws, ServeOptions};

use crate::server::Counts;

/// Operations that read or write items or tables.
const OPERATIONS: [&str; 15] = [
    "BatchExecuteStatement",
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DescribeTable",
    "ExecuteStatement",
    "GetItem",
    "PutItem",
    "Query",
    "Scan",
    "TransactGetItems",
    "TransactWriteItems",
    "UpdateItem",
    "UpdateTable",
];

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
    let rule = |operation| aws.faults().on(&format!("dynamodb:{operation}")).delay(Duration::ZERO);
    let rules: Vec<(&str, Fault)> = OPERATIONS.map(|operation| (operation, rule(operation))).into();
    let server = aws.serve(ServeOptions::default().tls(true)).await?;
    std::fs::write(certificate, server.certificate_pem().context("it serves over TLS")?)?;
    println!("{} {}", server.kinesis_url(), server.dynamodb_url());
    tokio::task::spawn_blocking(move || answer(&aws, &rules)).await?
}

/// Answers each line of the input by counts, until it ends.
fn answer(aws: &LocalAws, rules: &[(&str, Fault)]) -> anyhow::Result<()> {
    for question in std::io::stdin().lines() {
        question?;
        let consumed = aws.consumed_capacity();
        let requests = rules.iter().map(|(operation, rule)| ((*operation).to_owned(), rule.count())).collect();
        let counts = Counts { requests, read_units: consumed.read_units, write_units: consumed.write_units };
        println!("{}", serde_json::to_string(&counts)?);
    }
    Ok(())
}
