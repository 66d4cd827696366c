//! Checkpoints of a shard that are requested and not written yet. Pure.
//!
//! (A) They are written in the order in which they were requested. (B) A write covers the furthest of its request and
//! those behind it, up to the next that prepares a checkpoint: what is prepared comes after what was requested before.
//! (C) A request counts until its caller has an answer or stops waiting.

use std::collections::BTreeMap;

use crate::model::Position;

/// Place of a request in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[derive(Debug, Default)]
pub(crate) struct Requests {
    next: u64,
    /// None: a checkpoint is prepared.
    waiting: BTreeMap<Ticket, Option<Position>>,
}

impl Requests {
    /// Adds a checkpoint at `position`, or one that is prepared.
    pub(crate) fn add(&mut self, position: Option<Position>) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, position);
        ticket
    }

    pub(crate) fn remove(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Position to write for a request whose turn it is; None if it prepares a checkpoint.
    pub(crate) fn furthest(&self, ticket: Ticket) -> Option<&Position> {
        self.waiting.range(ticket..).map_while(|(_, position)| position.as_ref()).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u32) -> Position {
        Position { sequence_number: number.to_string().parse().unwrap(), sub_sequence_number: 0 }
    }

    #[test]
    fn covers_what_is_requested_behind_it_up_to_what_is_prepared() {
        let mut requests = Requests::default();
        let tickets = [Some(at(3)), Some(at(7)), Some(at(5)), None, Some(at(9))].map(|request| requests.add(request));

        assert_eq!(requests.furthest(tickets[0]), Some(&at(7)));
        assert_eq!(requests.furthest(tickets[2]), Some(&at(5)));
        assert_eq!(requests.furthest(tickets[3]), None);
        assert_eq!(requests.furthest(tickets[4]), Some(&at(9)));

        requests.remove(tickets[1]);
        assert_eq!(requests.furthest(tickets[0]), Some(&at(5)), "its caller stopped waiting");
        tickets.into_iter().for_each(|ticket| requests.remove(ticket));
        assert!(requests.is_empty());
    }
}
