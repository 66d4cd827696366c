//! SHELL: tries the permissions of a consumer by calls that change nothing, and reads what else a doctor wants to know.
//!
//! Writes are tried under a condition that no item meets; a refusal by the condition shows that the write is allowed.

use std::{collections::HashSet, time::Duration};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    types::AttributeValue,
};

use super::findings::{StreamFacts, TableFacts};
use crate::{
    aws::{Aws, stream_name::StreamName},
    reading::{
        position::Position,
        shards::{self},
    },
};

/// Key of an item that no table has.
const PROBE: &str = "kds-doctor-probe";
const KEY: &str = "leaseKey";
const NEVER: &str = "attribute_exists(leaseKey)";
const INDEX: &str = "LeaseOwnerToLeaseKeyIndex";

/// Denied actions, with the resources.
pub(super) type Denied = Vec<(&'static str, String)>;

fn is_denied<T, E: ProvideErrorMetadata>(answer: &Result<T, SdkError<E>>) -> bool {
    let code = answer.as_ref().err().and_then(SdkError::as_service_error).and_then(ProvideErrorMetadata::code);
    code.is_some_and(|code| code.starts_with("AccessDenied"))
}

/// Tries the actions on the lease table.
pub(super) async fn table(aws: &Aws, table: &str, denied: &mut Denied) -> Option<TableFacts> {
    let (client, probe) = (aws.dynamodb(), AttributeValue::S(PROBE.to_owned()));
    let resource = || format!("table {table}");
    let described = client.describe_table().table_name(table).send().await;
    let get = client.get_item().table_name(table).key(KEY, probe.clone()).send().await;
    let put = client.put_item().table_name(table).item(KEY, probe.clone()).condition_expression(NEVER).send().await;
    let update = client.update_item().table_name(table).key(KEY, probe.clone()).condition_expression(NEVER);
    let update = update.update_expression("REMOVE probe").send().await;
    let delete =
        client.delete_item().table_name(table).key(KEY, probe.clone()).condition_expression(NEVER).send().await;
    // A statement changes no item that is not there.
    let statement = format!("UPDATE \"{table}\" SET probe = ? WHERE {KEY} = ? AND probe = ?");
    let parameters = Some(vec![probe.clone(); 3]);
    let renewal = client.execute_statement().statement(statement).set_parameters(parameters).send().await;
    let query = client.query().table_name(table).index_name(INDEX).key_condition_expression("leaseOwner = :o");
    let query = query.expression_attribute_values(":o", probe).limit(1).send().await;
    let tried = [
        ("dynamodb:DescribeTable", is_denied(&described)),
        ("dynamodb:GetItem", is_denied(&get)),
        ("dynamodb:PutItem", is_denied(&put)),
        ("dynamodb:UpdateItem", is_denied(&update)),
        ("dynamodb:DeleteItem", is_denied(&delete)),
        ("dynamodb:Query", is_denied(&query)),
        ("dynamodb:PartiQLUpdate", is_denied(&renewal)),
    ];
    denied.extend(tried.into_iter().filter(|(_, is_denied)| *is_denied).map(|(action, _)| (action, resource())));
    let table = described.ok()?.table?;
    let is_on_demand = table.billing_mode_summary.as_ref().and_then(|it| it.billing_mode.as_ref());
    let is_on_demand = is_on_demand.is_some_and(|mode| mode.as_str() == "PAY_PER_REQUEST");
    let units = table.provisioned_throughput.as_ref().and_then(|it| it.write_capacity_units);
    Some(TableFacts {
        has_index: table.global_secondary_indexes().iter().any(|index| index.index_name() == Some(INDEX)),
        write_units: units.and_then(|units| u64::try_from(units).ok()).filter(|_| !is_on_demand),
        is_protected: table.deletion_protection_enabled == Some(true),
    })
}

/// Tries the actions on the stream.
pub(super) async fn stream(aws: &Aws, stream: &StreamName, denied: &mut Denied) -> Option<StreamFacts> {
    let client = aws.kinesis();
    let (name, arn) = (stream.name(), stream.arn());
    let described =
        client.describe_stream_summary().set_stream_name(name.clone()).set_stream_arn(arn.clone()).send().await;
    let listed = client.list_shards().set_stream_name(name).set_stream_arn(arn).max_results(1).send().await;
    let mut tried =
        vec![("kinesis:DescribeStreamSummary", is_denied(&described)), ("kinesis:ListShards", is_denied(&listed))];
    if let Some(shard) = listed.as_ref().ok().and_then(|it| it.shards().first()) {
        let (kind, _, _) = Position::Latest.request();
        let iterator = client.get_shard_iterator().shard_id(&shard.shard_id).shard_iterator_type(kind);
        let iterator = iterator.set_stream_name(stream.name()).set_stream_arn(stream.arn()).send().await;
        tried.push(("kinesis:GetShardIterator", is_denied(&iterator)));
        if let Some(iterator) = iterator.ok().and_then(|it| it.shard_iterator) {
            let read = client.get_records().shard_iterator(iterator).limit(1).send().await;
            tried.push(("kinesis:GetRecords", is_denied(&read)));
        }
    }
    denied.extend(
        tried.into_iter().filter(|(_, is_denied)| *is_denied).map(|(action, _)| (action, format!("stream {stream}"))),
    );
    let summary = described.ok()?.stream_description_summary?;
    let consumers = client.list_stream_consumers().stream_arn(&summary.stream_arn).send().await.ok();
    let consumers = consumers.and_then(|it| it.consumers).unwrap_or_default();
    let all = shards::all_shards(aws, stream).await.ok()?;
    let is_open = |shard: &&aws_sdk_kinesis::types::Shard| {
        shard.sequence_number_range.as_ref().is_some_and(|range| range.ending_sequence_number.is_none())
    };
    Some(StreamFacts {
        retention: Duration::from_secs(3_600 * u64::from(summary.retention_period_hours.unsigned_abs())),
        consumers: consumers.into_iter().map(|consumer| consumer.consumer_name).collect(),
        open: all.iter().filter(is_open).map(|shard| shard.shard_id.clone()).collect::<HashSet<_>>(),
        shards: all.iter().filter_map(shards::shard).collect(),
    })
}
