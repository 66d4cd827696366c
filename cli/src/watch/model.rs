//! Contents of the page: the fleet, its history, its events, and what the user chose. Pure.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    time::SystemTime,
};

use ratatui::crossterm::event::KeyCode;

use crate::{
    failure::Failure,
    fleet::{
        lag::Lag,
        view::{FleetView, LeaseView},
    },
    text,
};

/// Looks that the history of a lag has.
const HISTORY: usize = 120;
/// Events that are kept.
const EVENTS: usize = 200;

/// Order of the leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    #[default]
    Lag,
    Shard,
    Owner,
}

/// The page.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) view: Option<FleetView>,
    pub(super) looked_at: String,
    pub(super) failure: Option<String>,
    pub(super) sort: Sort,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) selected: usize,
    /// Key of the lease whose shard is opened.
    pub(super) open: Option<String>,
    pub(super) events: VecDeque<String>,
    lags: HashMap<String, VecDeque<u64>>,
}

impl Model {
    /// Takes in a look.
    pub(super) fn take(&mut self, view: FleetView, at: SystemTime) {
        self.looked_at = text::time(at);
        self.failure = None;
        if let Some(before) = &self.view {
            for event in changes(before, &view) {
                self.events.push_front(format!("{} {event}", self.looked_at));
            }
            self.events.truncate(EVENTS);
        }
        self.lags.retain(|key, _| view.leases.iter().any(|lease| lease.key == *key));
        for lease in &view.leases {
            if let Some(Lag::Millis(millis)) = lease.lag {
                let lags = self.lags.entry(lease.key.clone()).or_default();
                lags.push_back(millis);
                if lags.len() > HISTORY {
                    lags.pop_front();
                }
            }
        }
        self.view = Some(view);
        self.selected = self.selected.min(self.leases().len().saturating_sub(1));
    }

    /// Takes in that a look failed; what was seen last stays.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.failure = Some(failure.to_string());
    }

    /// Lags of a lease in milliseconds, the latest at the end.
    pub(super) fn lags(&self, key: &str) -> Vec<u64> {
        self.lags.get(key).map(|lags| lags.iter().copied().collect()).unwrap_or_default()
    }

    /// The leases that are shown, in their order.
    pub(super) fn leases(&self) -> Vec<&LeaseView> {
        let all = self.view.iter().flat_map(|view| &view.leases);
        let is_wanted = |lease: &&LeaseView| {
            let owner = lease.owner.as_deref().unwrap_or_default();
            !lease.is_ended() && (lease.key.contains(&self.filter) || owner.contains(&self.filter))
        };
        let mut leases: Vec<&LeaseView> = all.filter(is_wanted).collect();
        match self.sort {
            Sort::Lag => leases.sort_by_key(|lease| (Reverse(millis(lease)), lease.key.clone())),
            Sort::Shard => leases.sort_by_key(|lease| lease.key.clone()),
            Sort::Owner => leases.sort_by_key(|lease| (lease.owner.clone(), lease.key.clone())),
        }
        leases
    }

    /// The lease whose shard is opened.
    pub(super) fn opened(&self) -> Option<&LeaseView> {
        let open = self.open.as_ref()?;
        self.view.as_ref()?.leases.iter().find(|lease| lease.key == *open)
    }

    /// Handles a key. True: the page is to be left.
    pub(super) fn press(&mut self, key: KeyCode) -> bool {
        match key {
            KeyCode::Null => return true,
            KeyCode::Enter | KeyCode::Esc if self.is_typing => {
                self.is_typing = false;
                if key == KeyCode::Esc {
                    self.filter.clear();
                }
            }
            KeyCode::Backspace if self.is_typing => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.is_typing => self.filter.push(c),
            KeyCode::Char('q') => return true,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => {
                self.sort = match self.sort {
                    Sort::Lag => Sort::Shard,
                    Sort::Shard => Sort::Owner,
                    Sort::Owner => Sort::Lag,
                };
            }
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Enter => self.open = self.leases().get(self.selected).map(|lease| lease.key.clone()),
            KeyCode::Esc => self.open = None,
            _ => {}
        }
        self.selected = self.selected.min(self.leases().len().saturating_sub(1));
        false
    }
}

/// The lag; an unknown one is greater than none.
pub(super) fn millis(lease: &LeaseView) -> Option<u64> {
    match lease.lag {
        Some(Lag::Millis(millis)) => Some(millis),
        _ => None,
    }
}

/// Differences between two looks.
fn changes(before: &FleetView, now: &FleetView) -> Vec<String> {
    let mut changes = Vec::new();
    let name = |worker: &Option<String>| worker.clone().unwrap_or_else(|| "nobody".to_owned());
    if before.leader != now.leader {
        changes.push(format!("{} leads, after {}", name(&now.leader), name(&before.leader)));
    }
    for worker in &now.workers {
        match before.worker(&worker.id) {
            None => changes.push(format!("worker {} has come", worker.id)),
            Some(former) if worker.is_stale && !former.is_stale => {
                changes.push(format!("worker {} is silent", worker.id))
            }
            Some(_) => {}
        }
    }
    let gone = before.workers.iter().filter(|worker| now.worker(&worker.id).is_none());
    changes.extend(gone.map(|worker| format!("worker {} has gone", worker.id)));
    for lease in &now.leases {
        match before.leases.iter().find(|former| former.key == lease.key) {
            None => changes.push(format!("{} is new", lease.name())),
            Some(former) if lease.is_ended() && !former.is_ended() => {
                changes.push(format!("{} has ended", lease.name()))
            }
            Some(former) if former.owner != lease.owner => {
                changes.push(format!("{} moved from {} to {}", lease.name(), name(&former.owner), name(&lease.owner)));
            }
            Some(_) => {}
        }
    }
    let gone = before.leases.iter().filter(|former| !now.leases.iter().any(|lease| lease.key == former.key));
    changes.extend(gone.map(|lease| format!("the lease of {} is deleted", lease.name())));
    changes
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::fleet::view::{Layout, WorkerView};

    pub(in super::super) fn lease(shard: &str, owner: &str, lag: u64) -> LeaseView {
        LeaseView { lag: Some(Lag::Millis(lag)), ..LeaseView::unprocessed(shard, Some(owner)) }
    }

    pub(in super::super) fn fleet(workers: &[&str], leases: Vec<LeaseView>) -> FleetView {
        let worker = |id: &&str| WorkerView {
            id: (*id).to_owned(),
            age_seconds: Some(3),
            is_stale: false,
            is_leaving: false,
            is_drained: false,
            leases: leases.iter().filter(|lease| lease.owner.as_deref() == Some(*id)).count(),
            cpu_percent: Some(12.0),
            language: Some("rust"),
        };
        FleetView {
            application: "printer".into(),
            layout: Layout::OneTable,
            leader: workers.first().map(|id| (*id).to_owned()),
            version: Some("CLIENT_VERSION_3X".into()),
            stream: None,
            by_heartbeat: false,
            workers: workers.iter().map(worker).collect(),
            leases,
            unreadable: Vec::new(),
            usage: None,
        }
    }

    fn keys(model: &Model) -> Vec<&str> {
        model.leases().iter().map(|lease| lease.key.as_str()).collect()
    }

    #[test]
    fn sorts_filters_selects_and_opens() {
        let mut model = Model::default();
        let leases = vec![lease("s0", "b", 10), lease("s1", "a", 30), lease("s2", "b", 20)];
        model.take(fleet(&["a", "b"], leases), SystemTime::UNIX_EPOCH);
        assert_eq!(keys(&model), ["s1", "s2", "s0"]);

        model.press(KeyCode::Char('s'));
        assert_eq!(keys(&model), ["s0", "s1", "s2"]);
        for key in
            [KeyCode::Char('/'), KeyCode::Char('b'), KeyCode::Enter, KeyCode::Down, KeyCode::Down, KeyCode::Enter]
        {
            assert!(!model.press(key));
        }
        assert_eq!((keys(&model), model.opened().map(|lease| lease.key.as_str())), (vec!["s0", "s2"], Some("s2")));
        model.press(KeyCode::Esc);
        assert!(model.opened().is_none() && model.press(KeyCode::Char('q')));
    }

    #[test]
    fn keeps_lags_and_says_what_changed() {
        let mut model = Model::default();
        model.take(fleet(&["a"], vec![lease("s0", "a", 10)]), SystemTime::UNIX_EPOCH);
        model.take(fleet(&["b", "c"], vec![lease("s0", "b", 20), lease("s1", "c", 0)]), SystemTime::UNIX_EPOCH);

        assert_eq!(model.lags("s0"), [10, 20]);
        let events: Vec<&str> = model.events.iter().rev().map(|event| event.split_once(' ').unwrap().1).collect();
        let expected = [
            "b leads, after a",
            "worker b has come",
            "worker c has come",
            "worker a has gone",
            "s0 moved from a to b",
            "s1 is new",
        ];
        assert_eq!(events, expected);
    }
}
