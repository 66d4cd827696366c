//! Doubt whether a stream that is read is still the one that it was. Pure.
//!
//! (A) The service refuses a sequence number of another stream, so one that it accepts ends the doubt. (B) Any other
//! position fits another stream as well: a doubt must end before anything is read there.

use super::cursor::Cursor;

/// Whether the service did not find the stream, or refused a position, since it was last confirmed.
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
    use std::time::SystemTime;

    use super::*;
    use crate::model::StartAt;

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
