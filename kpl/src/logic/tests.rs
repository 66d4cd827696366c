//! A record as its own ticket, for the tests of all stages.

use super::pending::Detach;
use crate::record::UserRecord;

/// A record as its own ticket checks that it is returned as it was.
impl Detach for UserRecord {
    type Stub = Self;

    fn detach(self) -> Self {
        self
    }

    fn attach(stub: Self, record: UserRecord) -> Self {
        assert_eq!(stub, record, "what is encoded is what was put");
        record
    }
}
