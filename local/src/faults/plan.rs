//! The rules, and the decision about one call. Pure but for its counters and its seeded generator.

use std::time::Duration;

use super::refusals;
use crate::refusal::Refusal;
use crate::services::Service;

/// The calls that a rule applies to. `None` does not restrict.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) service: Option<Service>,
    pub(super) operation: Option<String>,
    pub(super) larger_than: Option<usize>,
    pub(super) call: Option<u64>,
    pub(super) every: Option<u64>,
    pub(super) times: Option<u64>,
    pub(super) probability: Option<f64>,
    pub(super) after_effect: bool,
}

/// The fault of a call.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Delay(Duration),
    Throttle,
    Fail,
    Unavailable,
    ExpireCredentials,
    Conflict,
    Refuse { status: u16, code: String, message: String },
    AnswerBare { status: u16, body: String },
    Drop,
    Truncate,
    FailRecords { every: usize },
    CutEvents { after: usize },
}

/// Records of PutRecords, or entries of a batch of DynamoDB, that are to fail, whether they are stored or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordFaults {
    pub(crate) failing: Failing,
    pub(crate) are_stored: bool,
}

/// A selection of entries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failing {
    /// Every n-th.
    Every(usize),
    /// The first, which is in conflict with a transaction.
    First,
}

impl RecordFaults {
    /// True if the n-th fails, counted from 1.
    pub(crate) fn strikes(self, n: usize) -> bool {
        match self.failing {
            Failing::Every(every) => n.is_multiple_of(every),
            Failing::First => n == 1,
        }
    }
}

/// Operations that can fail in part.
const IN_PARTS: [&str; 4] = ["BatchExecuteStatement", "BatchGetItem", "BatchWriteItem", "PutRecords"];

/// The operations that can be in conflict with a transaction; the batches only in parts.
const CONFLICTING: [&str; 9] = [
    "BatchExecuteStatement",
    "BatchWriteItem",
    "DeleteItem",
    "ExecuteStatement",
    "ExecuteTransaction",
    "PutItem",
    "TransactGetItems",
    "TransactWriteItems",
    "UpdateItem",
];

impl Kind {
    /// True if it can happen to the operation at all.
    pub(super) fn is_about(&self, operation: &str) -> bool {
        match self {
            Kind::FailRecords { .. } => IN_PARTS.contains(&operation),
            Kind::CutEvents { .. } => operation == "SubscribeToShard",
            Kind::Conflict => CONFLICTING.contains(&operation),
            _ => true,
        }
    }
}

/// The decision about one call.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) delay_before: Duration,
    pub(crate) delay_after: Duration,
    /// Ends the call before it takes effect.
    pub(crate) before: Option<End>,
    /// Replaces the answer after it took effect.
    pub(crate) after: Option<End>,
    pub(crate) records: Option<RecordFaults>,
    pub(crate) cut_events_after: Option<usize>,
}

/// The end of a call instead of its answer.
#[derive(Debug)]
pub(crate) enum End {
    Refusal(RefusalKind),
    Drop,
    Truncate,
}

/// A refusal that is still to be said in the words of the service.
#[derive(Debug)]
pub(crate) struct RefusalKind(Kind);

impl RefusalKind {
    /// The refusal in the words of the service; the body has the number of items of a transaction.
    pub(crate) fn refusal(&self, service: Service, operation: &str, body: &[u8]) -> Refusal {
        refusals::refusal(&self.0, service, operation, body)
    }
}

#[derive(Debug)]
struct Rule {
    id: u64,
    selection: Selection,
    kind: Kind,
    seen: u64,
    struck: u64,
}

/// All rules in the order in which they were set.
#[derive(Debug)]
pub(crate) struct Plan {
    rules: Vec<Rule>,
    last_id: u64,
    random: fastrand::Rng,
}

impl Default for Plan {
    fn default() -> Self {
        Self { rules: Vec::new(), last_id: 0, random: fastrand::Rng::with_seed(0) }
    }
}

impl Plan {
    /// Adds a rule.
    ///
    /// # Panics
    /// The rule would never apply.
    pub(super) fn add(&mut self, selection: Selection, kind: Kind) -> u64 {
        selection.require_possible(&kind);
        self.last_id += 1;
        self.rules.push(Rule { id: self.last_id, selection, kind, seen: 0, struck: 0 });
        self.last_id
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.rules.retain(|rule| rule.id != id);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn seed(&mut self, seed: u64) {
        self.random = fastrand::Rng::with_seed(seed);
    }

    pub(super) fn count(&self, id: u64) -> u64 {
        self.rules.iter().find(|rule| rule.id == id).map_or(0, |rule| rule.struck)
    }

    /// Counts the call in all rules that are about it, and collects what they do to it.
    pub(super) fn decide(&mut self, service: Service, operation: &str, body_bytes: usize) -> Verdict {
        let mut verdict = Verdict::default();
        for rule in self.rules.iter_mut().filter(|rule| rule.selection.is_about(service, operation, body_bytes)) {
            rule.seen += 1;
            if rule.selects(&mut self.random) && verdict.take(rule, operation) {
                rule.struck += 1;
            }
        }
        verdict
    }
}

impl Selection {
    fn require_possible(&self, kind: &Kind) {
        if let (Some(call), Some(every)) = (self.call, self.every) {
            assert!(call.is_multiple_of(every), "call {call} is not one of every {every}");
        }
        let services = Service::ALL.into_iter().filter(|service| self.service.is_none_or(|wanted| wanted == *service));
        let mut operations = services.flat_map(Service::operations);
        let is_possible = |operation: &&'static str| {
            self.operation.as_deref().is_none_or(|wanted| wanted == *operation) && kind.is_about(operation)
        };
        assert!(operations.any(is_possible), "{kind:?} never happens to {:?} of {:?}", self.operation, self.service);
    }

    fn is_about(&self, service: Service, operation: &str, body_bytes: usize) -> bool {
        self.service.is_none_or(|wanted| wanted == service)
            && self.operation.as_deref().is_none_or(|wanted| wanted == operation)
            && self.larger_than.is_none_or(|bytes| body_bytes > bytes)
    }
}

impl Rule {
    fn selects(&self, random: &mut fastrand::Rng) -> bool {
        let selection = &self.selection;
        selection.call.is_none_or(|n| n == self.seen)
            && selection.every.is_none_or(|n| self.seen.is_multiple_of(n))
            && selection.times.is_none_or(|times| self.struck < times)
            && selection.probability.is_none_or(|probability| random.f64() < probability)
    }
}

impl Verdict {
    /// Adds what the rule does. Returns whether it does anything: only one can end the call.
    fn take(&mut self, rule: &Rule, operation: &str) -> bool {
        let after_effect = rule.selection.after_effect;
        if !rule.kind.is_about(operation) {
            return false;
        }
        match &rule.kind {
            Kind::Delay(delay) => {
                let total = if after_effect { &mut self.delay_after } else { &mut self.delay_before };
                *total = total.saturating_add(*delay);
            }
            Kind::FailRecords { every } => {
                if self.records.is_some() {
                    return false;
                }
                self.records = Some(RecordFaults { failing: Failing::Every(*every), are_stored: after_effect });
            }
            Kind::Conflict if IN_PARTS.contains(&operation) => {
                if self.records.is_some() {
                    return false;
                }
                self.records = Some(RecordFaults { failing: Failing::First, are_stored: after_effect });
            }
            Kind::CutEvents { after } => {
                if self.cut_events_after.is_some() {
                    return false;
                }
                self.cut_events_after = Some(*after);
            }
            kind => {
                if self.before.is_some() || self.after.is_some() {
                    return false;
                }
                let end = match kind {
                    Kind::Drop => End::Drop,
                    Kind::Truncate => End::Truncate,
                    refusal => End::Refusal(RefusalKind(refusal.clone())),
                };
                let is_after = after_effect || matches!(end, End::Truncate);
                *(if is_after { &mut self.after } else { &mut self.before }) = Some(end);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: &str = "PutRecords";

    fn on_put() -> Selection {
        Selection { service: Some(Service::Kinesis), operation: Some(PUT.to_owned()), ..Selection::default() }
    }

    /// The calls among the next ones that a rule applies to, counted from 1.
    fn struck(plan: &mut Plan, calls: u64) -> Vec<u64> {
        (1..=calls).filter(|_| plan.decide(Service::Kinesis, PUT, 1).before.is_some()).collect()
    }

    #[test]
    fn a_rule_strikes_the_calls_that_it_selects() {
        let mut plan = Plan::default();
        let id = plan.add(Selection { call: Some(3), ..on_put() }, Kind::Throttle);
        assert!(plan.decide(Service::Kinesis, "PutRecord", 1).before.is_none());
        assert!(plan.decide(Service::DynamoDb, PUT, 1).before.is_none());
        assert_eq!(struck(&mut plan, 10), [3]);
        assert_eq!(plan.count(id), 1);

        plan.clear();
        plan.add(Selection { every: Some(3), times: Some(2), ..on_put() }, Kind::Drop);
        assert_eq!(struck(&mut plan, 10), [3, 6]);

        plan.clear();
        assert!(struck(&mut plan, 10).is_empty());
    }

    #[test]
    fn a_rule_about_large_bodies_neither_strikes_nor_counts_others() {
        let mut plan = Plan::default();
        plan.add(Selection { larger_than: Some(100), call: Some(2), ..on_put() }, Kind::Fail);

        let is_struck = [101, 100, 5, 101, 101].map(|bytes| plan.decide(Service::Kinesis, PUT, bytes).before.is_some());

        assert_eq!(is_struck, [false, false, false, true, false]);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let chance = |seed| {
            let mut plan = Plan::default();
            plan.seed(seed);
            plan.add(Selection { probability: Some(0.2), ..Selection::default() }, Kind::Fail);
            struck(&mut plan, 1000)
        };

        let first = chance(1);

        assert_eq!(first, chance(1));
        assert_ne!(first, chance(2));
        assert!((150..250).contains(&first.len()), "{} of 1000", first.len());
    }

    #[test]
    fn delays_add_up_and_the_first_rule_ends_the_call() {
        let mut plan = Plan::default();
        let second = Duration::from_secs(1);
        plan.add(on_put(), Kind::Delay(second));
        plan.add(on_put(), Kind::Delay(second));
        let first = plan.add(Selection { after_effect: true, ..on_put() }, Kind::Drop);
        let other = plan.add(on_put(), Kind::Fail);

        let verdict = plan.decide(Service::Kinesis, PUT, 1);

        assert_eq!((verdict.delay_before, verdict.delay_after), (2 * second, Duration::ZERO));
        assert!(verdict.before.is_none() && matches!(verdict.after, Some(End::Drop)));
        assert_eq!((plan.count(first), plan.count(other)), (1, 0));
    }

    #[test]
    fn faults_of_records_and_events_leave_other_operations_alone() {
        let mut plan = Plan::default();
        let id = plan.add(Selection::default(), Kind::FailRecords { every: 2 });
        plan.add(Selection::default(), Kind::CutEvents { after: 1 });

        let verdict = plan.decide(Service::Kinesis, "ListShards", 1);

        assert!(verdict.records.is_none() && verdict.cut_events_after.is_none());
        assert_eq!(plan.count(id), 0);
    }
}
