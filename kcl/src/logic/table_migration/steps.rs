//! The migration of a fleet from the tables of KCL 3.0 to 3.4 to the lease table: what a leader does next. Pure.
//!
//! Source: KCL's leader transitions of `TableMigration3.5`, with their conditions and bake times.
//! (A) INIT is written once all owners of leases understand the migration, and taken back when one does not. (B) DEPLOYED
//! follows an hour later. (C) PENDING follows once every owner reports to the lease table and nobody to the old one, if the
//! application asks for it. (D) COMPLETE follows a day later, and is final. Until then PENDING goes back to DEPLOYED when
//! (C) does not hold any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ACTIVE_WINDOW, WorkerId};

/// Seconds from INIT to DEPLOYED. Source: KCL's bake time of that step.
const DEPLOY_SECONDS: u64 = 3_600;
/// Seconds from PENDING to COMPLETE. Source: KCL `tableMigrationCompleteBakeTimeSeconds`.
const COMPLETE_SECONDS: u64 = 86_400;
/// Age in seconds at which a worker's word that it understands the migration no longer counts.
const SUPPORT_SECONDS: u64 = 90;

/// Status of the migration, as an item of the old table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Init,
    Deployed,
    Pending,
    Complete,
}

impl Status {
    pub(crate) fn from_wire(text: &str) -> Option<Self> {
        [Self::Init, Self::Deployed, Self::Pending, Self::Complete].into_iter().find(|status| status.as_wire() == text)
    }

    pub(crate) fn as_wire(self) -> &'static str {
        match self {
            Self::Init => "TABLE_MIGRATION_STATUS_INIT",
            Self::Deployed => "TABLE_MIGRATION_STATUS_DEPLOYED",
            Self::Pending => "TABLE_MIGRATION_STATUS_PENDING",
            Self::Complete => "TABLE_MIGRATION_STATUS_COMPLETE",
        }
    }
}

/// Report of a worker in one of the tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) seconds: u64,
    /// Time of its word about the migration, and whether it understands it.
    pub(crate) word: Option<(u64, bool)>,
}

/// Content of a fleet's tables, as far as the migration depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Status, and its time in milliseconds since 1970. None: nobody has begun.
    pub(crate) status: Option<(Status, u64)>,
    /// Owners of leases, dead ones included.
    pub(crate) owners: BTreeSet<WorkerId>,
    pub(crate) old_reports: BTreeMap<WorkerId, Report>,
    pub(crate) new_reports: BTreeMap<WorkerId, Report>,
    /// Keys of the old table's items but for the leader's lock and the migration's own.
    pub(crate) left: Vec<String>,
    /// Keys of those of no known kind, which cannot be moved.
    pub(crate) unknown: Vec<String>,
}

/// Next write of a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Creates the item.
    Create(Status),
    /// Deletes it.
    Withdraw,
    /// Changes the status, and nothing else.
    Change { from: Status, to: Status },
    /// Moves what is left in the old table, then changes DEPLOYED to PENDING.
    Move,
    /// Writes COMPLETE to both tables.
    Complete,
}

/// Obstacles between a fleet and its next step: sentences, and the seconds since 1970 until which a bake time lasts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reasons: Vec<String>,
    pub(crate) until_seconds: Option<u64>,
}

/// The step that is due at this time, or what is waited for. `migrate`: the application asks for the migration.
pub(crate) fn next(sight: &Sight, migrate: bool, now_seconds: u64) -> Result<Step, Waiting> {
    let baked = |since_millis: u64, seconds: u64, step: Step| {
        let until = since_millis / 1_000 + seconds;
        if now_seconds >= until { Ok(step) } else { Err(Waiting { until_seconds: Some(until), ..Waiting::default() }) }
    };
    let unless = |reasons: Vec<String>| if reasons.is_empty() { Ok(()) } else { Err(reasons) };
    let waits = |reasons| Waiting { reasons, until_seconds: None };
    match sight.status {
        // Somebody deleted it: this leader would not run before DEPLOYED.
        None if migrate => Ok(Step::Create(Status::Deployed)),
        None => unless(sight.not_understanding(now_seconds)).map(|()| Step::Create(Status::Init)).map_err(waits),
        Some((Status::Init, since)) => match unless(sight.not_understanding(now_seconds)) {
            Err(_) => Ok(Step::Withdraw),
            Ok(()) => baked(since, DEPLOY_SECONDS, Step::Change { from: Status::Init, to: Status::Deployed }),
        },
        Some((Status::Deployed, _)) if !migrate => {
            Err(waits(vec!["no leader asks for the migration by migrate_to_one_table".to_owned()]))
        }
        Some((Status::Deployed, _)) => {
            let unknown = sight.unknown.iter().map(|key| format!("item {key} of the old table is of no known kind"));
            let reasons = sight.in_old_tables(now_seconds).into_iter().chain(unknown).collect();
            unless(reasons).map(|()| Step::Move).map_err(waits)
        }
        Some((Status::Pending, since)) => {
            let is_back = !migrate || !sight.left.is_empty() || !sight.in_old_tables(now_seconds).is_empty();
            match is_back {
                true => Ok(Step::Change { from: Status::Pending, to: Status::Deployed }),
                false => baked(since, COMPLETE_SECONDS, Step::Complete),
            }
        }
        Some((Status::Complete, _)) => Err(Waiting::default()),
    }
}

impl Sight {
    /// Owners of leases that do not understand the migration.
    fn not_understanding(&self, now_seconds: u64) -> Vec<String> {
        if self.owners.is_empty() {
            return vec!["no worker owns a lease".to_owned()];
        }
        let newest = |owner: &WorkerId| {
            let reports = [&self.old_reports, &self.new_reports].into_iter().filter_map(|reports| reports.get(owner));
            reports.filter_map(|report| report.word).max()
        };
        let is_recent = |at: u64| now_seconds.saturating_sub(at) <= SUPPORT_SECONDS;
        let understands =
            |owner: &&WorkerId| newest(owner).is_some_and(|(at, understands)| understands && is_recent(at));
        let others = self.owners.iter().filter(|owner| !understands(owner));
        others
            .map(|owner| format!("worker {owner} owns leases and does not say that it understands the migration"))
            .collect()
    }

    /// Workers that report to the old table, and owners that do not report to the lease table.
    fn in_old_tables(&self, now_seconds: u64) -> Vec<String> {
        let is_active = |report: &Report| now_seconds.saturating_sub(report.seconds) <= ACTIVE_WINDOW.as_secs();
        let old = self.old_reports.iter().filter(|(_, report)| is_active(report));
        let silent = self.owners.iter().filter(|owner| !self.new_reports.get(*owner).is_some_and(is_active));
        let old = old.map(|(id, _)| format!("worker {id} reports to the old table"));
        old.chain(silent.map(|id| format!("worker {id} owns leases and does not report to the lease table"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn reports(of: &[(&str, u64, Option<u64>)]) -> BTreeMap<WorkerId, Report> {
        let report = |&(id, age, understood): &(&str, u64, Option<u64>)| {
            (id.into(), Report { seconds: NOW - age, word: understood.map(|age| (NOW - age, true)) })
        };
        of.iter().map(report).collect()
    }

    /// Two workers own the leases, and both report to the old table that they understand.
    fn sight(status: Option<(Status, u64)>) -> Sight {
        Sight {
            status: status.map(|(status, age)| (status, (NOW - age) * 1_000)),
            owners: ["w1".into(), "w2".into()].into(),
            old_reports: reports(&[("w1", 5, Some(5)), ("w2", 60, Some(90))]),
            ..Sight::default()
        }
    }

    /// Both report to the lease table.
    fn migrating(status: Status, age: u64) -> Sight {
        let new_reports = reports(&[("w1", 5, Some(5)), ("w2", 60, Some(90))]);
        Sight { old_reports: reports(&[("w1", 61, None)]), new_reports, ..sight(Some((status, age))) }
    }

    fn waits(sight: &Sight, migrate: bool) -> Waiting {
        next(sight, migrate, NOW).unwrap_err()
    }

    #[test]
    fn begins_once_all_owners_understand_and_takes_it_back_when_one_does_not() {
        let with =
            |status, understood| Sight { old_reports: reports(&[("w1", 5, Some(5)), understood]), ..sight(status) };
        assert_eq!(next(&sight(None), false, NOW), Ok(Step::Create(Status::Init)));
        for lacking in [("w2", 5, None), ("w2", 5, Some(91)), ("w3", 5, Some(5))] {
            assert_eq!(waits(&with(None, lacking), false).reasons.len(), 1, "{lacking:?}");
            assert_eq!(next(&with(Some((Status::Init, 10)), lacking), false, NOW), Ok(Step::Withdraw), "{lacking:?}");
        }
        let elsewhere = Sight { new_reports: reports(&[("w2", 1, Some(1))]), ..with(None, ("w2", 500, Some(500))) };
        let begin = Ok(Step::Create(Status::Init));
        assert_eq!(next(&elsewhere, false, NOW), begin, "the newest word of the two tables counts");
        let refusal = Report { seconds: NOW, word: Some((NOW, false)) };
        let refused = Sight { new_reports: [("w1".into(), refusal)].into(), ..sight(None) };
        assert_eq!(waits(&refused, false).reasons.len(), 1);
        assert_eq!(waits(&Sight { owners: BTreeSet::new(), ..sight(None) }, false).reasons, ["no worker owns a lease"]);
    }

    #[test]
    fn init_lasts_an_hour() {
        let deploy = Step::Change { from: Status::Init, to: Status::Deployed };
        assert_eq!(waits(&sight(Some((Status::Init, 3_599))), false).until_seconds, Some(NOW + 1));
        assert_eq!(next(&sight(Some((Status::Init, 3_600))), false, NOW), Ok(deploy));
    }

    #[test]
    fn moves_once_all_report_to_the_lease_table_and_only_if_asked_to() {
        let ready = migrating(Status::Deployed, 1);
        assert_eq!(next(&ready, true, NOW), Ok(Step::Move));
        assert_eq!(waits(&ready, false).reasons.len(), 1);
        let old = Sight { old_reports: reports(&[("java", 60, None)]), ..ready.clone() };
        assert_eq!(waits(&old, true).reasons, ["worker java reports to the old table"]);
        let unknown = Sight { unknown: vec!["new".to_owned()], ..ready.clone() };
        assert_eq!(waits(&unknown, true).reasons, ["item new of the old table is of no known kind"]);
        let deleted = Sight { status: None, ..ready.clone() };
        assert_eq!(next(&deleted, true, NOW), Ok(Step::Create(Status::Deployed)));
        let silent = Sight { new_reports: reports(&[("w1", 5, None), ("w2", 61, None)]), ..ready };
        assert_eq!(waits(&silent, true).reasons, ["worker w2 owns leases and does not report to the lease table"]);
    }

    #[test]
    fn pending_lasts_a_day_and_goes_back_when_somebody_does() {
        let back = Ok(Step::Change { from: Status::Pending, to: Status::Deployed });
        assert_eq!(waits(&migrating(Status::Pending, 86_399), true).until_seconds, Some(NOW + 1));
        let ready = migrating(Status::Pending, 86_400);
        assert_eq!(next(&ready, true, NOW), Ok(Step::Complete));
        assert_eq!(next(&ready, false, NOW), back);
        let old = Sight { old_reports: reports(&[("java", 60, None)]), ..ready.clone() };
        assert_eq!(next(&old, true, NOW), back);
        assert_eq!(next(&Sight { left: vec!["Migration3.0".into()], ..ready }, true, NOW), back);
    }

    #[test]
    fn every_status_is_read_as_it_is_written() {
        for status in [Status::Init, Status::Deployed, Status::Pending, Status::Complete] {
            assert_eq!(Status::from_wire(status.as_wire()), Some(status));
        }
        assert_eq!(Status::from_wire("TABLE_MIGRATION_STATUS_NEW"), None);
    }
}
