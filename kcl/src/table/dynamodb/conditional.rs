//! Expressions of conditional writes.

use aws_sdk_dynamodb::{operation::update_item::builders::UpdateItemFluentBuilder, types::AttributeValue};

use super::{item, n, s};
use crate::{
    model::{Addition, CheckpointWrite, Lease, WorkerId},
    table::item::string_set,
};

/// Adds the condition that both owners are still those of `lease`, and the actual one the same run.
pub(super) fn owners_unchanged(mut update: UpdateItemFluentBuilder, lease: &Lease) -> UpdateItemFluentBuilder {
    let mut condition = format!("attribute_exists({})", item::LEASE_KEY);
    let owners = [
        (item::LEASE_OWNER, ":o", lease.owner.as_ref().map(WorkerId::as_str)),
        (item::CHECKPOINT_OWNER, ":co", lease.checkpoint_owner.as_ref().map(WorkerId::as_str)),
        (item::OWNER_INSTANCE, ":i", lease.instance.as_deref()),
    ];
    for (attribute, value, expected) in owners {
        condition += &match expected {
            Some(_) => format!(" AND {attribute} = {value}"),
            None => format!(" AND attribute_not_exists({attribute})"),
        };
        if let Some(text) = expected {
            update = update.expression_attribute_values(value, s(text));
        }
    }
    update.condition_expression(condition)
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
