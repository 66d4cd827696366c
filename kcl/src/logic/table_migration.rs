//! The tables of a fleet: of its leader's lock, its workers' items and its migration state. Pure.
//!
//! KCL 3.0 to 3.4 keep them in two tables of their own, from 3.5 on they are in the lease table. Between the two lies a
//! migration whose state is an item of the old table; the leader takes its [`steps`].

pub(crate) mod steps;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status<'a> {
    NoTable,
    /// The table has no word of a migration.
    Unstarted,
    Item(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    OneTable,
    /// The lock is in the old table, and what we write goes into the old tables too.
    Legacy,
    /// The lock is in the old table, and what else we write goes into the lease table.
    Migrating,
}

/// Chooses the tables of this worker. `migrate`: the application asks for the migration.
/// Source: KCL's start states of `TableMigration3.5`, by `migrateAllEntitiesToLeaseTable`.
pub(crate) fn layout(status: Status<'_>, migrate: bool) -> Result<Layout, String> {
    match status {
        Status::NoTable | Status::Item("TABLE_MIGRATION_STATUS_COMPLETE") => Ok(Layout::OneTable),
        Status::Unstarted | Status::Item("TABLE_MIGRATION_STATUS_INIT") if migrate => Err(
            "its fleet is not ready to migrate to one table: all workers must run KCL 3.5 or this library for an hour \
                 first, without asking for the migration"
                .to_owned(),
        ),
        Status::Item("TABLE_MIGRATION_STATUS_DEPLOYED" | "TABLE_MIGRATION_STATUS_PENDING") if migrate => {
            Ok(Layout::Migrating)
        }
        Status::Unstarted
        | Status::Item(
            "TABLE_MIGRATION_STATUS_INIT" | "TABLE_MIGRATION_STATUS_DEPLOYED" | "TABLE_MIGRATION_STATUS_PENDING",
        ) => Ok(Layout::Legacy),
        Status::Item(other) => Err(format!("its migration to one table is in the unknown state {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_starts_as_the_migration_stands_and_as_it_is_asked_to() {
        let item = |name: &'static str| match name {
            "INIT" => Status::Item("TABLE_MIGRATION_STATUS_INIT"),
            "DEPLOYED" => Status::Item("TABLE_MIGRATION_STATUS_DEPLOYED"),
            "PENDING" => Status::Item("TABLE_MIGRATION_STATUS_PENDING"),
            _ => Status::Item("TABLE_MIGRATION_STATUS_COMPLETE"),
        };
        let cases = [
            (Status::NoTable, Some(Layout::OneTable), Some(Layout::OneTable)),
            (Status::Unstarted, Some(Layout::Legacy), None),
            (item("INIT"), Some(Layout::Legacy), None),
            (item("DEPLOYED"), Some(Layout::Legacy), Some(Layout::Migrating)),
            (item("PENDING"), Some(Layout::Legacy), Some(Layout::Migrating)),
            (item("COMPLETE"), Some(Layout::OneTable), Some(Layout::OneTable)),
            (Status::Item("TABLE_MIGRATION_STATUS_NEW"), None, None),
        ];
        for (status, unasked, asked) in cases {
            assert_eq!((layout(status, false).ok(), layout(status, true).ok()), (unasked, asked), "{status:?}");
        }
    }
}
