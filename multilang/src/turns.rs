//! The turns of a child: what a line of it means at the moment it comes. Pure.
//!
//! (A) An action is answered once, by a status that names it, after the child has read the whole action.
//! (B) A checkpoint without a number covers what the child was delivered when it asked, never more: one that comes
//! between two actions, or before the child has read the action in hand, is bounded by the batch before.
//! (C) A child that was once late is taken to be late always: it may ask in the middle of a batch for the batch before.

use kcl::Position;

use crate::wire::{
    Action, Refusal,
    request::{Echo, Line, Request, Wanted},
};

/// Meaning of a line of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reaction {
    Nothing,
    /// Text of the application, to log.
    Text(String),
    /// A status that nobody waits for, by the action it names.
    Unasked(String),
    /// The action in hand is done.
    Answered,
    /// A status for something else than the action in hand.
    WrongAnswer(String),
    Checkpoint(Echo, Decision),
}

/// Fate of a wish to checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Refuse(Refusal),
    /// There is nothing to store.
    Accept,
    /// The whole shard; stored once the action is answered.
    ShardEnd,
    /// Exactly this position.
    Store(Position),
    /// This position, unless a later one is stored. `is_late`: bounded by the batch before the one in hand.
    Cover {
        position: Position,
        is_late: bool,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Turns {
    in_hand: Option<Action>,
    /// Last record of the batch in hand.
    delivered: Option<Position>,
    /// Last record of the batches that were answered.
    answered_up_to: Option<Position>,
    answered: Option<Action>,
    is_late: bool,
    is_end_covered: bool,
}

impl Turns {
    /// An action is handed to the child; of a batch with its last record.
    pub(crate) fn begin(&mut self, action: Action, last: Option<Position>) {
        debug_assert!(self.in_hand.is_none(), "one action at a time");
        self.in_hand = Some(action);
        self.delivered = last;
        self.is_end_covered = false;
    }

    pub(crate) fn in_hand(&self) -> Option<Action> {
        self.in_hand
    }

    /// True if the child asked for a checkpoint of the whole shard since the action began.
    pub(crate) fn is_end_covered(&self) -> bool {
        self.is_end_covered
    }

    /// True if nothing more will be asked of the child.
    pub(crate) fn is_over(&self) -> bool {
        let is_last = self.answered == Some(Action::LeaseLost);
        self.in_hand.is_none() && (is_last || self.answered == Some(Action::ShardEnded) && self.is_end_covered)
    }

    /// A line of the child. `is_read`: it has read the action in hand to its end.
    pub(crate) fn hear(&mut self, line: Line, is_read: bool) -> Reaction {
        match line {
            Line::Empty => Reaction::Nothing,
            Line::Text(text) => Reaction::Text(text),
            Line::Status { response_for } => self.status(response_for, is_read),
            Line::Checkpoint(Request { echo, wanted }) => Reaction::Checkpoint(echo, self.decide(wanted, is_read)),
        }
    }

    fn status(&mut self, response_for: Option<String>, is_read: bool) -> Reaction {
        let named = response_for.unwrap_or_else(|| "no action".to_owned());
        let Some(action) = self.in_hand.filter(|_| is_read) else { return Reaction::Unasked(named) };
        if named == action.as_str() {
            self.in_hand = None;
            self.answered = Some(action);
            self.answered_up_to = self.delivered.take().or(self.answered_up_to.take());
            return Reaction::Answered;
        }
        // Given twice: the second one comes when something else is in hand.
        if self.answered.is_some_and(|answered| named == answered.as_str()) {
            return Reaction::Unasked(named);
        }
        Reaction::WrongAnswer(named)
    }

    fn decide(&mut self, wanted: Wanted, is_read: bool) -> Decision {
        if !self.allows_checkpoints() {
            return Decision::Refuse(Refusal::InvalidState);
        }
        match wanted {
            Wanted::Unreadable => Decision::Refuse(Refusal::IllegalArgument),
            Wanted::UpTo(position) => Decision::Store(position),
            Wanted::Everything => self.everything(is_read),
        }
    }

    fn allows_checkpoints(&self) -> bool {
        let latest = self.in_hand.or(self.answered);
        !matches!(latest, None | Some(Action::LeaseLost)) && self.in_hand != Some(Action::Initialize)
    }

    fn everything(&mut self, is_read: bool) -> Decision {
        self.is_late |= self.in_hand.is_none() || !is_read;
        if self.in_hand == Some(Action::ShardEnded) && is_read {
            self.is_end_covered = true;
            return Decision::ShardEnd;
        }
        let delivered = if self.is_late { None } else { self.delivered.clone() };
        match delivered.or_else(|| self.answered_up_to.clone()) {
            Some(position) => Decision::Cover { position, is_late: self.is_late },
            None => Decision::Accept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u32) -> Position {
        Position::new(number.to_string().parse().unwrap(), 0)
    }

    fn status(action: &str) -> Line {
        Line::Status { response_for: Some(action.to_owned()) }
    }

    fn checkpoint(wanted: Wanted) -> Line {
        Line::Checkpoint(Request { echo: Echo::default(), wanted })
    }

    fn decision(turns: &mut Turns, wanted: Wanted, is_read: bool) -> Decision {
        match turns.hear(checkpoint(wanted), is_read) {
            Reaction::Checkpoint(_, decision) => decision,
            other => panic!("{other:?}"),
        }
    }

    /// A child that was given batches and answered them.
    fn after(batches: &[u32]) -> Turns {
        let mut turns = Turns::default();
        turns.begin(Action::Initialize, None);
        assert_eq!(turns.hear(status("initialize"), true), Reaction::Answered);
        for last in batches {
            turns.begin(Action::ProcessRecords, Some(at(*last)));
            assert_eq!(turns.hear(status("processRecords"), true), Reaction::Answered);
        }
        turns
    }

    fn cover(number: u32, is_late: bool) -> Decision {
        Decision::Cover { position: at(number), is_late }
    }

    #[test]
    fn a_checkpoint_within_a_batch_covers_it() {
        let mut turns = after(&[10]);
        turns.begin(Action::ProcessRecords, Some(at(20)));

        assert_eq!(decision(&mut turns, Wanted::Everything, true), cover(20, false));
        assert_eq!(decision(&mut turns, Wanted::UpTo(at(15)), true), Decision::Store(at(15)));
        assert_eq!(turns.hear(status("processRecords"), true), Reaction::Answered);
    }

    #[test]
    fn a_checkpoint_between_two_actions_covers_the_batch_before() {
        let mut turns = after(&[10, 20]);

        assert_eq!(decision(&mut turns, Wanted::Everything, true), cover(20, true));
    }

    #[test]
    fn a_checkpoint_of_a_child_that_has_not_read_its_batch_covers_the_one_before() {
        let mut turns = after(&[10]);
        turns.begin(Action::ProcessRecords, Some(at(20)));

        assert_eq!(decision(&mut turns, Wanted::Everything, false), cover(10, true));
    }

    #[test]
    fn a_child_that_was_late_once_never_covers_the_batch_in_hand() {
        let mut turns = after(&[10]);
        decision(&mut turns, Wanted::Everything, true);
        turns.begin(Action::ProcessRecords, Some(at(20)));
        assert_eq!(decision(&mut turns, Wanted::Everything, true), cover(10, true));
        turns.hear(status("processRecords"), true);

        turns.begin(Action::ShutdownRequested, None);

        assert_eq!(decision(&mut turns, Wanted::Everything, true), cover(20, true));
    }

    #[test]
    fn nothing_delivered_is_nothing_to_store() {
        let mut turns = after(&[]);
        turns.begin(Action::ShutdownRequested, None);

        assert_eq!(decision(&mut turns, Wanted::Everything, true), Decision::Accept);
    }

    #[test]
    fn a_checkpoint_at_the_end_covers_the_shard() {
        let mut turns = after(&[10]);
        turns.begin(Action::ShardEnded, None);
        assert_eq!(decision(&mut turns, Wanted::Everything, false), cover(10, true), "it has not heard of the end");
        assert_eq!(decision(&mut turns, Wanted::UpTo(at(10)), true), Decision::Store(at(10)));
        assert!(!turns.is_end_covered());

        assert_eq!(decision(&mut turns, Wanted::Everything, true), Decision::ShardEnd);

        assert_eq!(turns.hear(status("shardEnded"), true), Reaction::Answered);
        assert!(turns.is_end_covered());
    }

    #[test]
    fn an_end_that_is_asked_for_again_needs_its_checkpoint_again() {
        let mut turns = after(&[10]);
        turns.begin(Action::ShardEnded, None);
        turns.hear(status("shardEnded"), true);
        assert!(!turns.is_end_covered());

        turns.begin(Action::ShardEnded, None);

        assert_eq!(decision(&mut turns, Wanted::Everything, true), Decision::ShardEnd);
    }

    #[test]
    fn before_the_first_records_and_after_the_loss_nothing_is_checkpointed() {
        let invalid = Decision::Refuse(Refusal::InvalidState);
        let mut turns = Turns::default();
        assert_eq!(decision(&mut turns, Wanted::Everything, true), invalid);
        turns.begin(Action::Initialize, None);
        assert_eq!(decision(&mut turns, Wanted::UpTo(at(1)), true), invalid);

        let mut turns = after(&[10]);
        turns.begin(Action::LeaseLost, None);
        assert_eq!(decision(&mut turns, Wanted::Everything, true), invalid);
        turns.hear(status("leaseLost"), true);
        assert_eq!(decision(&mut turns, Wanted::Everything, true), invalid);
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        let mut turns = after(&[10]);
        turns.begin(Action::ProcessRecords, Some(at(20)));

        let refused = Decision::Refuse(Refusal::IllegalArgument);
        assert_eq!(decision(&mut turns, Wanted::Unreadable, true), refused);
    }

    #[test]
    fn statuses_that_nobody_waits_for_are_dropped() {
        let unasked = |action: &str| Reaction::Unasked(action.to_owned());
        let mut turns = after(&[10]);
        assert_eq!(turns.hear(status("processRecords"), true), unasked("processRecords"), "given twice");
        assert_eq!(turns.hear(Line::Status { response_for: None }, true), unasked("no action"));

        turns.begin(Action::LeaseLost, None);
        assert_eq!(turns.hear(status("processRecords"), true), unasked("processRecords"), "given twice, late");
        assert_eq!(turns.hear(status("leaseLost"), false), unasked("leaseLost"), "it cannot know yet");

        assert_eq!(turns.hear(status("leaseLost"), true), Reaction::Answered);
    }

    #[test]
    fn a_second_status_is_no_answer_to_a_batch_that_is_not_read() {
        let mut turns = after(&[10]);
        turns.begin(Action::ProcessRecords, Some(at(20)));

        assert_eq!(turns.hear(status("processRecords"), false), Reaction::Unasked("processRecords".to_owned()));
        assert_eq!(decision(&mut turns, Wanted::Everything, false), cover(10, true));
    }

    #[test]
    fn a_status_for_another_action_or_none_is_a_wrong_answer() {
        let mut turns = after(&[10]);
        turns.begin(Action::ShardEnded, None);

        assert_eq!(turns.hear(status("leaseLost"), true), Reaction::WrongAnswer("leaseLost".to_owned()));
        let unnamed = Line::Status { response_for: None };
        assert_eq!(turns.hear(unnamed, true), Reaction::WrongAnswer("no action".to_owned()));
    }

    #[test]
    fn text_and_empty_lines_change_nothing() {
        let mut turns = after(&[]);

        assert_eq!(turns.hear(Line::Text("hello".to_owned()), true), Reaction::Text("hello".to_owned()));
        assert_eq!(turns.hear(Line::Empty, true), Reaction::Nothing);
    }
}
