//! Leases of an application of KCL 1.x or 2.x: read as they are, claimed, completed.

use super::{
    DynamoDbLeaseTable,
    conditional::{added, set_and_remove},
    item, n, s,
};
use crate::{
    error::TableError,
    model::{Addition, Conditional, Lease, LeaseKey, OldLease, OldTable, WorkerId},
    table::item::{Entity, Item},
};

impl DynamoDbLeaseTable {
    /// Reads the table. Strongly consistent.
    pub(crate) async fn old_table(&self) -> Result<OldTable, TableError> {
        let mut table = OldTable::default();
        for found in self.scan_all(&self.table, self.client.scan().consistent_read(true)).await? {
            match item::classify(&found) {
                Entity::Lease(lease) => table.leases.push(old_lease(*lease, &found)),
                Entity::Malformed(key) => table.malformed.push(key),
                Entity::Worker(worker) => table.foreign.push(worker.id.to_string()),
                Entity::Lock(_) | Entity::Other => table.foreign.extend(item::lease_key(&found).map(str::to_owned)),
            }
        }
        Ok(table)
    }

    /// Reads one lease. Strongly consistent.
    pub(crate) async fn get_old_lease(&self, key: &LeaseKey) -> Result<Option<OldLease>, TableError> {
        let found = self.get_from(&self.place(), key.as_str()).await?;
        Ok(found.and_then(|found| item::read_lease(&found).map(|lease| old_lease(lease, &found))))
    }

    /// Takes the owner away and raises the counter, if both are those of `lease`. False: they are not.
    pub(crate) async fn claim_old_lease(&self, lease: &Lease, me: &WorkerId) -> Result<bool, TableError> {
        let update = self.update(&lease.key).update_expression(format!(
            "SET {} = :me REMOVE {}, {} ADD {} :one",
            item::ADOPTED_BY,
            item::LEASE_OWNER,
            item::CHECKPOINT_OWNER,
            item::LEASE_COUNTER
        ));
        let update = update.expression_attribute_values(":me", s(me.as_str()));
        let mut update = update.expression_attribute_values(":one", n(1));
        let owner = match &lease.owner {
            Some(owner) => {
                update = update.expression_attribute_values(":o", s(owner.as_str()));
                format!("{} = :o", item::LEASE_OWNER)
            }
            None => format!("attribute_not_exists({})", item::LEASE_OWNER),
        };
        let update = update
            .condition_expression(format!("{} = :c AND {owner}", item::LEASE_COUNTER))
            .expression_attribute_values(":c", n(lease.counter));
        Ok(matches!(self.conditional_update(update).await?, Conditional::Applied))
    }

    /// Completes a lease if it is unowned and its counter is that of `lease`. False: it is not so. May be repeated.
    pub(crate) async fn complete_old_lease(&self, lease: &Lease, lack: Option<&Addition>) -> Result<bool, TableError> {
        let set = [(item::ENTITY_TYPE, ":type", s("LEASE"))].into_iter().chain(lack.into_iter().flat_map(added));
        let update = set_and_remove(self.update(&lease.key), set.collect(), &[item::ADOPTED_BY])
            .condition_expression(format!(
                "{} = :c AND attribute_not_exists({})",
                item::LEASE_COUNTER,
                item::LEASE_OWNER
            ))
            .expression_attribute_values(":c", n(lease.counter));
        Ok(matches!(self.conditional_update(update).await?, Conditional::Applied))
    }
}

fn old_lease(lease: Lease, item: &Item) -> OldLease {
    OldLease { lease, claimed_by: item::adopted_by(item) }
}
