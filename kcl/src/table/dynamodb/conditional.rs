//! Expressions of conditional writes.

use aws_sdk_dynamodb::{operation::update_item::builders::UpdateItemFluentBuilder, types::AttributeValue};

use super::{item, n, s};
use crate::{
    model::{Addition, CheckpointWrite, Lease, PendingCheckpoint, WorkerId},
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

/// An attribute, the placeholder of its value, and the value.
pub(super) type Assignment = (&'static str, &'static str, AttributeValue);

/// Adds an expression that sets attributes, at least one, and removes others.
pub(super) fn set_and_remove(
    mut update: UpdateItemFluentBuilder,
    set: Vec<Assignment>,
    remove: &[&str],
) -> UpdateItemFluentBuilder {
    let assignments: Vec<String> = set.iter().map(|(name, value, _)| format!("{name} = {value}")).collect();
    let mut expression = format!("SET {}", assignments.join(", "));
    if !remove.is_empty() {
        expression += &format!(" REMOVE {}", remove.join(", "));
    }
    for (_, placeholder, value) in set {
        update = update.expression_attribute_values(placeholder, value);
    }
    update.update_expression(expression)
}

pub(super) fn added(addition: &Addition) -> Vec<Assignment> {
    match addition {
        Addition::HashKeyRange(range) => vec![
            (item::STARTING_HASH_KEY, ":start", s(range.start.to_string())),
            (item::ENDING_HASH_KEY, ":end", s(range.end.to_string())),
        ],
        Addition::Children(children) => vec![(item::CHILDREN, ":children", string_set(children))],
    }
}

/// Adds what a checkpoint sets and removes to an update that sets this too.
pub(super) fn written(
    mut update: UpdateItemFluentBuilder,
    mut set: Vec<Assignment>,
    write: &CheckpointWrite,
) -> UpdateItemFluentBuilder {
    let mut remove = Vec::new();
    match write {
        CheckpointWrite::Commit { checkpoint, children, .. } | CheckpointWrite::Reset { checkpoint, children, .. } => {
            update = update.expression_attribute_names("#cp", item::CHECKPOINT);
            set.extend([
                ("#cp", ":cp", s(checkpoint.as_wire())),
                (item::CHECKPOINT_SUB, ":sub", n(checkpoint.sub_sequence_number())),
                (item::OWNER_SWITCHES, ":zero", n(0)),
            ]);
            remove.extend([item::PENDING, item::PENDING_SUB, item::PENDING_STATE, item::LATEST_AS_OF]);
            if let CheckpointWrite::Reset { epoch, .. } = write {
                set.push((item::RESET_EPOCH, ":epoch", n(epoch)));
                remove.extend([item::LEASE_OWNER, item::CHECKPOINT_OWNER, item::DELIVERED_NUMBERS]);
            }
            if let CheckpointWrite::Commit { numbers: Some(numbers), .. } = write {
                set.push((item::DELIVERED_NUMBERS, ":numbers", AttributeValue::B(numbers.to_vec().into())));
            }
            if !children.is_empty() {
                set.push((item::CHILDREN, ":children", string_set(children)));
            }
        }
        CheckpointWrite::Prepare(PendingCheckpoint { checkpoint, state }) => {
            set.push((item::PENDING, ":pcp", s(checkpoint.as_wire())));
            set.push((item::PENDING_SUB, ":psub", n(checkpoint.sub_sequence_number())));
            match state {
                Some(state) => set.push((item::PENDING_STATE, ":state", AttributeValue::B(state.to_vec().into()))),
                None => remove.push(item::PENDING_STATE),
            }
        }
        CheckpointWrite::ResolveLatest { as_of_millis } => set.push((item::LATEST_AS_OF, ":as_of", n(as_of_millis))),
    }
    set_and_remove(update, set, &remove)
}
