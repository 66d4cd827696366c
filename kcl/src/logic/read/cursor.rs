//! The position of a reader in its shard, and the doubt whether the stream is still the one that it was. Pure.
//!
//! (A) The cursor never moves back. (B) LATEST is used once; then it stands for the time of its first use.
//! (C) The record at a checkpoint is read again until records have come: user records of its aggregate may be left.
//! (D) The service refuses a sequence number of another stream, so one that it accepts ends the doubt. (E) Any other
//! position fits another stream as well: a doubt must end before anything is read there.

use std::time::SystemTime;

use kpl::SequenceNumber;

use crate::model::StartAt;

#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    position: StartAt,
    latest_as_of: SystemTime,
}

impl Cursor {
    /// A reader that starts there; `latest_as_of` is what LATEST stands for once it has been asked for.
    pub(crate) fn new(position: StartAt, latest_as_of: SystemTime) -> Self {
        Self { position, latest_as_of }
    }

    pub(crate) fn position(&self) -> &StartAt {
        &self.position
    }

    /// True if the position is one of this stream alone: the service refuses sequence numbers of another.
    pub(crate) fn is_of_one_stream(&self) -> bool {
        matches!(self.position, StartAt::At(_) | StartAt::After(_))
    }

    pub(crate) fn opened(&mut self) {
        if self.position == StartAt::Latest {
            self.position = StartAt::Timestamp(self.latest_as_of);
        }
    }

    /// Records up to this one were read.
    pub(crate) fn read_to(&mut self, last: &SequenceNumber) {
        if self.is_new(last) {
            self.position = StartAt::After(last.clone());
        }
    }

    /// The service has sent everything before this number, which need not be a record's.
    pub(crate) fn sent_to(&mut self, continuation: &SequenceNumber) {
        let is_ahead = match &self.position {
            // Rule (C): the service may count the record itself before it sends it.
            StartAt::At(number) | StartAt::After(number) => continuation > number,
            _ => true,
        };
        if is_ahead {
            self.position = StartAt::After(continuation.clone());
        }
    }

    pub(crate) fn is_new(&self, number: &SequenceNumber) -> bool {
        match &self.position {
            StartAt::After(read) => number > read,
            _ => true,
        }
    }
}

/// Raised when the service does not find the stream or refuses a position, until the stream is confirmed.
#[derive(Debug, Default)]
pub(crate) struct Doubt(bool);

/// The way to confirm the stream once the service accepted a position in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmation {
    Needless,
    /// Before anything is read.
    First,
    /// Beside the reading, if it takes long.
    Beside,
}

impl Doubt {
    pub(crate) fn raise(&mut self) {
        self.0 = true;
    }

    /// The service accepted the cursor's position.
    pub(crate) fn opened(&mut self, cursor: &Cursor) -> Confirmation {
        match cursor.is_of_one_stream() {
            true => {
                self.0 = false;
                Confirmation::Needless
            }
            false if self.0 => Confirmation::First,
            false => Confirmation::Beside,
        }
    }

    pub(crate) fn confirmed(&mut self, is_present: bool) {
        self.0 = !is_present;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> SequenceNumber {
        number.to_string().parse().unwrap()
    }

    fn cursor(position: StartAt) -> Cursor {
        Cursor::new(position, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn latest_is_asked_for_once() {
        let mut cursor = cursor(StartAt::Latest);

        cursor.opened();

        assert_eq!(*cursor.position(), StartAt::Timestamp(SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn the_checkpointed_record_is_read_again_until_records_came() {
        let mut cursor = cursor(StartAt::At(number(7)));

        cursor.opened();
        cursor.sent_to(&number(7));
        assert_eq!(*cursor.position(), StartAt::At(number(7)));
        assert!(cursor.is_new(&number(7)));

        cursor.read_to(&number(7));
        assert_eq!(*cursor.position(), StartAt::After(number(7)));
        assert!(!cursor.is_new(&number(7)));
    }

    #[test]
    fn a_sign_of_life_moves_the_cursor_on_and_never_back() {
        let mut cursor = cursor(StartAt::TrimHorizon);

        cursor.sent_to(&number(9));
        cursor.sent_to(&number(8));
        cursor.read_to(&number(5));

        assert_eq!(*cursor.position(), StartAt::After(number(9)));
    }

    #[test]
    fn ends_with_a_sequence_number_or_with_the_word_of_the_service() {
        let at = |position| Cursor::new(position, SystemTime::UNIX_EPOCH);
        let (start, number) = (at(StartAt::TrimHorizon), at(StartAt::After("1".parse().unwrap())));
        let mut doubt = Doubt::default();
        assert_eq!(doubt.opened(&start), Confirmation::Beside);

        doubt.raise();
        assert_eq!(doubt.opened(&start), Confirmation::First);
        doubt.confirmed(false);
        assert_eq!(doubt.opened(&start), Confirmation::First);
        doubt.confirmed(true);
        assert_eq!(doubt.opened(&start), Confirmation::Beside);

        doubt.raise();
        assert_eq!(doubt.opened(&number), Confirmation::Needless);
        assert_eq!(doubt.opened(&start), Confirmation::Beside);
    }
}
