//! User records with numbers, as the producer puts them.

use std::ops::Range;

use kpl::{DeliveryError, Producer, RecordError, UserRecord};

/// The user record with that number, under one of 100 partition keys.
pub fn user_record(id: u64) -> UserRecord {
    UserRecord::new(format!("key-{}", id % 100), id.to_string())
}

/// Puts user records at once and returns the failed ones.
///
/// # Panics
/// A record is refused.
pub async fn failures(producer: &Producer, records: impl IntoIterator<Item = UserRecord>) -> Vec<DeliveryError> {
    let failed = |result| match result {
        Ok(_) => None,
        Err(RecordError::Failed(error)) => Some(error),
        Err(refused) => panic!("{refused}"),
    };
    producer.put_all(records).await.into_iter().filter_map(failed).collect()
}

/// Puts the user records with these numbers and waits until each is stored.
///
/// # Panics
/// A record is refused or fails.
pub async fn store(producer: &Producer, ids: Range<u64>) {
    let failed = failures(producer, ids.map(user_record)).await;
    assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
}
