//! The services, with counts of what they are asked for.

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
    let rule = |action: &str| aws.faults().on(action).delay(Duration::ZERO);
    let rules = Rules {
        kinesis: ["kinesis:PutRecords", "kinesis:GetRecords"].map(rule),
        dynamodb: OPERATIONS.map(|operation| (operation, rule(&format!("dynamodb:{operation}")))).into(),
    };
    let server = aws.serve(ServeOptions::default().tls(true)).await?;
    std::fs::write(certificate, server.certificate_pem().context("it serves over TLS")?)?;
    println!("{} {}", server.kinesis_url(), server.dynamodb_url());
    tokio::task::spawn_blocking(move || answer(&aws, &rules)).await?
}

/// Rules that count calls.
struct Rules {
    kinesis: [Fault; 2],
    dynamodb: Vec<(&'static str, Fault)>,
}

/// Answers each line of the input by counts, until it ends.
fn answer(aws: &LocalAws, rules: &Rules) -> anyhow::Result<()> {
    for question in std::io::stdin().lines() {
        question?;
        let consumed = aws.consumed_capacity();
        let kinesis = rules.kinesis.iter().map(Fault::count).sum();
        let requests = rules.dynamodb.iter().map(|(operation, rule)| ((*operation).to_owned(), rule.count())).collect();
        let (read_units, write_units) = (consumed.read_units, consumed.write_units);
        let counts = Counts { kinesis, requests, read_units, write_units };
        println!("{}", serde_json::to_string(&counts)?);
    }
    Ok(())
}
