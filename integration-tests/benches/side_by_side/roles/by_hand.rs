//! A loop over PutRecords, as it is written by hand: full requests one after the other, a record an entry, and what the
//! service did not take once more.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_kinesis::{Client, primitives::Blob, types::PutRecordsRequestEntry};

use super::{Produce, dismissed};
use crate::work::{KEYS, STREAM, keys, record};

/// Entries of a request. docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
const MAX_ENTRIES: usize = 500;
/// Pause before entries are sent again.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(produce: &Produce) -> anyhow::Result<()> {
    let (config, _) = produce.services.configs()?;
    let (client, work, keys) = (Client::new(&config), produce.work(), keys());
    let mut entries = Vec::with_capacity(MAX_ENTRIES);
    for number in 0..work.records {
        let data = Blob::new(record(number, work.bytes));
        let entry = PutRecordsRequestEntry::builder().partition_key(&keys[number % KEYS]).data(data).build()?;
        entries.push(entry);
        if entries.len() == MAX_ENTRIES {
            send(&client, std::mem::take(&mut entries)).await?;
            if number < MAX_ENTRIES {
                println!("first");
            }
        }
    }
    send(&client, entries).await?;
    println!("done {}", work.records);
    dismissed().await
}

async fn send(client: &Client, mut entries: Vec<PutRecordsRequestEntry>) -> anyhow::Result<()> {
    while !entries.is_empty() {
        let call = client.put_records().stream_name(STREAM).set_records(Some(entries.clone()));
        let answer = call.send().await?;
        if answer.failed_record_count().context("the answer has it")? == 0 {
            return Ok(());
        }
        let mut results = answer.records().iter();
        entries.retain(|_| results.next().is_some_and(|result| result.error_code().is_some()));
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
