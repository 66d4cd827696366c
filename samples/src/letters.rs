//! Dead letters in SQS and in objects of a folder or of S3, and the way back from there and from files: through a closure,
//! or through the application's record processors.
//!
//! ```no_run
//! use kcl::{BoxError, ErrorPolicy};
//! use samples::{letters::{ObjectLetters, SqsLetters}, objects::Objects};
//!
//! # fn example(sqs: aws_sdk_sqs::Client) -> Result<ErrorPolicy, BoxError> {
//! let large = ObjectLetters::new(Objects::open("s3://letters/orders")?);
//! let letters = SqsLetters::new(sqs, "https://sqs.eu-west-1.amazonaws.com/123456789012/letters").large_in(large);
//! Ok(ErrorPolicy::dead_letter_after(3, move |failed| letters.keep(failed)).isolate())
//! # }
//! ```
//!
//! # Guarantees
//! The shard goes on once each letter is kept, and waits while one cannot be: nothing is lost. A letter may be kept
//! twice, by a worker that dies in between: two messages in SQS, but one object, since its position is the name.
//!
//! `redrive` and `redrive_through` take letters out once the application has processed them, and leave those at which it
//! fails: each is processed at least once. Standard queues have no order.

mod file;
mod objects;
mod redrive;
mod rerun;
mod sqs;

use kcl::{BoxError, DeadLetter, Record};

pub use self::{file::FileLetters, objects::ObjectLetters, redrive::Redriven, rerun::Rerun, sqs::SqsLetters};

/// Letters in the hand of a redrive at most, and their bytes beyond which no other is read.
const CHUNK_LETTERS: usize = 100;
const CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// The record of a letter, as it was delivered, but for its trace context and its time of arrival.
///
/// # Errors
/// Its data are only in the stream, from where `kds redrive` reads them; or the letter was changed.
pub fn record(letter: &DeadLetter) -> Result<Record, BoxError> {
    let Some(data) = letter.payload()? else {
        let DeadLetter { stream, shard_id, sequence_number, .. } = letter;
        return Err(
            format!("the data are only in stream {stream}, {shard_id}, at {sequence_number}: use kds redrive").into()
        );
    };
    let mut record = Record::new(letter.partition_key.as_str(), data, letter.sequence_number.parse()?);
    record.explicit_hash_key = letter.explicit_hash_key.as_deref().map(str::parse).transpose()?;
    record.sub_sequence_number = letter.sub_sequence_number.unwrap_or_default();
    record.aggregated = letter.sub_sequence_number.is_some();
    Ok(record)
}

/// The position of a letter, of which its name is made.
fn position(letter: &DeadLetter) -> String {
    format!("{}-{}", letter.sequence_number, letter.sub_sequence_number.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn letter(number: &str, text: &str) -> DeadLetter {
        let json = format!(
            r#"{{"application":"a/b","stream":"orders","shardId":"shardId-000000000000","sequenceNumber":"{number}",
            "subSequenceNumber":2,"partitionKey":"c-7","failedAt":"2026-11-30T00:00:00Z","attempts":3,"error":"no",
            "dataBytes":{},"text":"{text}"}}"#,
            text.len()
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn the_record_of_a_letter_has_its_position_and_keys() {
        let mut letter = letter("7", "tea");
        letter.explicit_hash_key = Some("12".to_owned());

        let record = record(&letter).unwrap();

        assert_eq!((&*record.partition_key, &*record.data), ("c-7", &b"tea"[..]));
        assert_eq!((record.position().to_string(), record.aggregated), ("7/2".to_owned(), true));
        assert_eq!(record.explicit_hash_key, Some("12".parse().unwrap()));
    }
}
