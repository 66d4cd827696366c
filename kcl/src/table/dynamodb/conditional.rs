//! Conditional writes: their conditions, and what comes of them.

use aws_sdk_dynamodb::{
    error::SdkError, operation::update_item::builders::UpdateItemFluentBuilder, types::AttributeValue,
};

use super::{DynamoDbLeaseStore, item, n, s};
use crate::{
    error::StoreError,
    model::{
        checkpoint_write::CheckpointWrite,
        lease::{Conditional, Lease, WorkerId},
        table_scan::Addition,
    },
    table::item::string_set,
};

impl DynamoDbLeaseStore {
    pub(super) async fn conditional_update(&self, update: UpdateItemFluentBuilder) -> Result<Conditional, StoreError> {
        match update.send().await {
            Ok(_) => Ok(Conditional::Applied),
            Err(SdkError::ServiceError(context)) if context.err().is_conditional_check_failed_exception() => {
                let aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(failed) =
                    context.into_err()
                else {
                    return Ok(Conditional::Conflict(None));
                };
                Ok(Conditional::Conflict(failed.item().and_then(item::read_lease).map(Box::new)))
            }
            Err(error) => Err(self.call("dynamodb:UpdateItem").failed(error)),
        }
    }
}

/// Adds `AND` conditions that both owners are still those of `lease`, and the actual one the same run.
pub(super) fn owners_unchanged(update: UpdateItemFluentBuilder, lease: &Lease) -> (UpdateItemFluentBuilder, String) {
    let checkpoint_owner = lease.checkpoint_owner.as_ref().map(WorkerId::as_str);
    let (update, owner) = unchanged(update, item::LEASE_OWNER, "o", lease.owner.as_ref().map(WorkerId::as_str));
    let (update, checkpoint_owner) = unchanged(update, item::CHECKPOINT_OWNER, "co", checkpoint_owner);
    let (update, instance) = unchanged(update, item::OWNER_INSTANCE, "i", lease.instance.as_deref());
    (update, format!("attribute_exists({}) AND {owner} AND {checkpoint_owner} AND {instance}", item::LEASE_KEY))
}

fn unchanged(
    update: UpdateItemFluentBuilder,
    attribute: &str,
    name: &str,
    expected: Option<&str>,
) -> (UpdateItemFluentBuilder, String) {
    let (value, condition) = (format!(":{name}"), format!("attribute_not_exists({attribute})"));
    match expected {
        Some(text) => {
            let condition = format!("{attribute} = {value}");
            (update.expression_attribute_values(value, s(text)), condition)
        }
        None => (update, condition),
    }
}

/// Sets what was learned of a lease's shard.
pub(super) fn added(update: UpdateItemFluentBuilder, addition: &Addition) -> UpdateItemFluentBuilder {
    match addition {
        Addition::HashKeyRange(range) => update
            .update_expression("SET startingHashKey = :start, endingHashKey = :end")
            .expression_attribute_values(":start", s(range.start.to_string()))
            .expression_attribute_values(":end", s(range.end.to_string())),
        Addition::Children(children) => update
            .update_expression("SET childShardIds = :children")
            .expression_attribute_values(":children", string_set(children)),
    }
}

/// Adds what a checkpoint sets and removes.
pub(super) fn written(update: UpdateItemFluentBuilder, write: &CheckpointWrite) -> UpdateItemFluentBuilder {
    let mut set = "SET leaseCounter = :next".to_owned();
    let mut remove = Vec::new();
    let update = match write {
        CheckpointWrite::Commit { checkpoint, children } | CheckpointWrite::Reset { checkpoint, children } => {
            set.push_str(", #cp = :cp, checkpointSubSequenceNumber = :sub, ownerSwitchesSinceCheckpoint = :zero");
            remove.extend([item::PENDING, item::PENDING_SUB, item::PENDING_STATE, item::LATEST_AS_OF]);
            if let CheckpointWrite::Reset { .. } = write {
                remove.extend([item::LEASE_OWNER, item::CHECKPOINT_OWNER]);
            }
            let update = update
                .expression_attribute_names("#cp", item::CHECKPOINT)
                .expression_attribute_values(":cp", s(checkpoint.as_wire()))
                .expression_attribute_values(":sub", n(checkpoint.sub_sequence_number()))
                .expression_attribute_values(":zero", n(0));
            if children.is_empty() {
                update
            } else {
                set.push_str(", childShardIds = :children");
                update.expression_attribute_values(":children", string_set(children))
            }
        }
        CheckpointWrite::Prepare(pending) => {
            set.push_str(", pendingCheckpoint = :pcp, pendingCheckpointSubSequenceNumber = :psub");
            let update = update
                .expression_attribute_values(":pcp", s(pending.checkpoint.as_wire()))
                .expression_attribute_values(":psub", n(pending.checkpoint.sub_sequence_number()));
            match &pending.state {
                Some(state) => {
                    set.push_str(", pendingCheckpointState = :state");
                    update.expression_attribute_values(":state", AttributeValue::B(state.to_vec().into()))
                }
                None => {
                    remove.push(item::PENDING_STATE);
                    update
                }
            }
        }
        CheckpointWrite::ResolveLatest { as_of_millis } => {
            set.push_str(", latestAsOfMillis = :as_of");
            update.expression_attribute_values(":as_of", n(as_of_millis))
        }
    };
    if !remove.is_empty() {
        set = format!("{set} REMOVE {}", remove.join(", "));
    }
    update.update_expression(set)
}
