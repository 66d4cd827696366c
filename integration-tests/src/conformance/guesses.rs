//! [`GUESSES`]: what `kinesis-local` does without a page of the service's documentation that says so.
//!
//! The table in `docs/local.md` is the same. A guess that the service contradicts is a fault of `kinesis-local`.

/// A guess about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Short name, unique.
    pub name: &'static str,
    /// The behaviour that is guessed, and what the guess rests on.
    pub guess: &'static str,
    /// The check that holds it against the service.
    pub check: &'static str,
}

/// A table of guesses: `check: name, guess;`.
macro_rules! guesses {
    ($($check:ident: $name:literal, $guess:literal;)+) => {
        &[$(Guess { name: $name, guess: $guess, check: stringify!($check) }),+]
    };
}

/// All guesses, by theme.
pub const GUESSES: &[Guess] = guesses! {
    a_stream_has_one_shard_at_least:
        "fields of streams", "A value that breaks the constraints of a field is a ValidationException, as the authors of kinesalite observed.";
    a_partition_key_has_256_characters_at_most:
        "fields of records", "So is a key of 257 characters.";
    a_partition_key_is_counted_in_characters:
        "characters of keys", "The 256 of a partition key are code points, not bytes.";
    an_explicit_hash_key_is_a_decimal_number:
        "form of hash keys", "A hash key that is no decimal number is a ValidationException.";
    ranges_of_shards_are_equally_long:
        "ranges of a new stream", "Ranges begin at the multiples of 2^128 / n; the last one takes the rest.";
    an_entry_with_an_empty_key_fails_the_request:
        "one bad entry", "An entry that breaks a constraint fails its whole PutRecords, and nothing is stored.";
    a_request_above_10_mib_is_refused:
        "size of a request", "A PutRecords above 10 MiB is an InvalidArgumentException.";
    a_request_above_5_mib_is_accepted:
        "size before base64", "The 10 MiB of a PutRecords are those of data and keys: 10 records of 100 bytes below 1 MiB pass.";
    the_key_counts_to_the_size_of_a_record:
        "size of a record", "A record of 1 MiB with its partition key is the largest: one byte more fails.";
    numbers_of_one_request_grow_in_its_order:
        "numbers in a request", "Records of one PutRecords and one shard have numbers in its order.";
    entries_above_the_limit_fail_one_by_one:
        "entries above the limit", "Entries of a PutRecords count one by one: those that fit are stored, the rest fail.";
    streams_are_created_5_times_a_second:
        "quota of CreateStream", "The sixth call in a second is a LimitExceededException, whatever became of the others.";
    a_token_keeps_its_filter:
        "filter of a token", "The NextToken of ListShards keeps the filter of the first page.";
    a_token_allows_no_name_beside_it:
        "name beside a token", "ListShards with both is an InvalidArgumentException.";
    a_token_that_is_none_is_refused:
        "token that is none", "A NextToken of no page is an InvalidArgumentException.";
    a_page_of_more_than_10000_shards_is_refused:
        "size of a page", "A MaxResults above 10000 is a ValidationException, not lowered.";
    at_trim_horizon_lists_what_was_open_then:
        "AT_TRIM_HORIZON after a split", "Lists the parent alone while its records are retained.";
    numbers_of_children_start_after_those_of_their_parent:
        "numbers of children", "A child's StartingSequenceNumber is above its parent's EndingSequenceNumber.";
    latest_of_a_closed_shard_is_its_end:
        "LATEST of a closed shard", "Such an iterator reads nothing, and comes to the end.";
    the_end_of_a_shard_can_be_read_again:
        "end of a shard, twice", "A closed shard tells the same children each time it is read to its end.";
    at_timestamp_in_the_future_is_refused:
        "future AT_TIMESTAMP", "A time that has not come is an InvalidArgumentException, as the authors of kinesalite observed.";
    at_timestamp_includes_a_record_of_that_millisecond:
        "milliseconds of AT_TIMESTAMP", "Arrival times are compared in milliseconds, the very one included.";
    a_limit_above_10000_is_refused:
        "limit of GetRecords", "A Limit above 10000 is an InvalidArgumentException.";
    an_iterator_that_is_none_is_refused:
        "iterator that is none", "A text that is no iterator is an InvalidArgumentException.";
    reading_a_deleted_stream:
        "iterator of a deleted stream", "GetRecords answers ResourceNotFoundException when the stream is gone.";
    a_closed_shard_cannot_be_split:
        "split of a closed shard", "Is an InvalidArgumentException, ResourceInUseException or ValidationException.";
    a_split_at_the_start_of_a_range_is_refused:
        "split without a lower half", "A NewStartingHashKey at the first key of the shard is an InvalidArgumentException.";
    scaling_above_double_is_refused:
        "scaling above double", "Is a LimitExceededException, InvalidArgumentException or ValidationException, and changes nothing.";
    an_on_demand_stream_is_not_scaled:
        "scaling on demand", "UpdateShardCount of a stream on demand is a ValidationException or InvalidArgumentException.";
    a_record_tells_that_it_was_encrypted:
        "encryption of a record", "A record keeps the encryption that its stream had when it was put.";
    a_resource_policy_is_deleted:
        "no policy", "GetResourcePolicy of a stream without one answers with an empty policy or ResourceNotFoundException.";
    names_of_two_consumers_are_refused:
        "names of two consumers", "Name and ARN of different consumers are an InvalidArgumentException.";
    a_name_is_free_again_when_its_consumer_is_gone:
        "name of a former consumer", "Is free as soon as DescribeStreamConsumer no longer finds it.";
    a_subscription_that_was_taken_over_ends:
        "subscription taken over", "The elder of two subscriptions ends within 8 s.";
    a_subscription_ends_when_its_consumer_is_deregistered:
        "subscription without a consumer", "Ends with the event-stream error ResourceNotFoundException.";
    a_subscription_ends_when_its_stream_is_deleted:
        "subscription without a stream", "Ends with the event-stream error ResourceNotFoundException.";
    a_subscription_to_an_idle_shard_is_not_silent:
        "events of an idle shard", "An event without records comes within 8 s.";
    the_end_of_a_shard_has_no_continuation:
        "last event of a shard", "The event with the children has no ContinuationSequenceNumber.";
    a_missing_stream_is_named:
        "text of a refusal", "The refusal of a missing stream has its name.";
    legacy_key_conditions_stand_beside_a_filter_expression:
        "older forms of Query", "KeyConditions may stand beside a FilterExpression, as the authors of dynalite observed.";
    legacy_form_and_expressions_do_not_mix:
        "older forms of UpdateItem", "Expected beside an UpdateExpression is a ValidationException.";
    a_protected_table_stays:
        "deletion protection", "DeleteTable of a protected table is a ValidationException.";
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_guess_has_a_name_of_its_own_and_a_check() {
        let checks: BTreeSet<_> = crate::conformance::checks().iter().map(|check| check.name).collect();
        let names: BTreeSet<_> = GUESSES.iter().map(|guess| guess.name).collect();
        let missing: Vec<_> = GUESSES.iter().filter(|guess| !checks.contains(guess.check)).collect();

        assert_eq!(names.len(), GUESSES.len());
        assert_eq!(missing, Vec::<&Guess>::new());
    }

    #[test]
    fn the_page_has_the_same_guesses() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/local.md")).unwrap();
        let rows = page.split("| Guess | Behaviour | Check |\n").nth(1).expect("there is a table of guesses");
        let rows: Vec<_> = rows.lines().skip(1).take_while(|line| line.starts_with('|')).collect();

        let wanted: Vec<_> =
            GUESSES.iter().map(|Guess { name, guess, check }| format!("| {name} | {guess} | `{check}` |")).collect();
        assert_eq!(rows, wanted);
    }

    #[test]
    fn what_nobody_documents_is_a_guess() {
        let observed: Vec<_> = crate::conformance::checks()
            .into_iter()
            .filter(|check| check.source.starts_with("observed"))
            .map(|check| check.name)
            .collect();

        assert!(!observed.is_empty());
        let unlisted: Vec<_> =
            observed.iter().filter(|name| GUESSES.iter().all(|guess| guess.check != **name)).collect();
        assert_eq!(unlisted, Vec::<&&str>::new());
    }
}
