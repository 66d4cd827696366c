//! [`clean_up`]: deletes all that has a run's prefix, however the run ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use tokio::time::{Instant, sleep, timeout_at};

use super::clients::Clients;
use super::guard::Guard;
use super::prefix::Prefix;

/// Maximum time of a clean-up. Deleting a stream takes up to a minute, and five are deleted a second at most.
pub const CLEAN_UP_TIME: Duration = Duration::from_secs(600);

/// Pauses between two looks at what is left: from the first to the longest, each twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const BEFORE_THE_LAST_LOOK: Duration = Duration::from_secs(1);

/// Attempts to delete what a check made, when it is still being created.
const ATTEMPTS: u32 = 12;

/// Maximum number of pages of a list of names, of a hundred names at least each.
const MAX_PAGES: usize = 1_000;

/// A stream or a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Stream(String),
    Table(String),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(name) => write!(f, "stream {name}"),
            Self::Table(name) => write!(f, "table {name}"),
        }
    }
}

/// Result of a clean-up.
#[derive(Debug, Default)]
pub struct CleanUp {
    deleted: BTreeSet<Thing>,
    /// Streams and tables that are left, each with the last answer to its deletion.
    left: BTreeMap<Thing, String>,
    /// Reason why it is not known what is left.
    failure: Option<String>,
}

impl CleanUp {
    /// True if nothing with the prefix is left.
    pub fn is_complete(&self) -> bool {
        self.left.is_empty() && self.failure.is_none()
    }
}

impl fmt::Display for CleanUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deleted {}, left {}", self.deleted.len(), self.left.len())?;
        for (thing, why) in &self.left {
            write!(f, "\nleft: {thing}: {why}")?;
        }
        match &self.failure {
            Some(failure) => write!(f, "\nnot known what else is left: {failure}"),
            None => Ok(()),
        }
    }
}

/// Deletes every stream and table that has the prefix, and waits until they are gone, for at most `bound`. What was still
/// being made when a run was stopped may appear a moment later: nothing must be left twice, a second apart.
///
/// # Cancellation
/// Streams and tables not deleted yet are left.
pub async fn clean_up(clients: &Clients, prefix: &Prefix, bound: Duration) -> CleanUp {
    let deadline = Instant::now() + bound;
    let mut result = CleanUp { failure: Some("the time is over".to_owned()), ..CleanUp::default() };
    let (mut pause, mut empty) = (FIRST_PAUSE, 0);
    loop {
        if timeout_at(deadline, look(clients, prefix, &mut result)).await.is_err() {
            return result;
        }
        empty = if result.is_complete() { empty + 1 } else { 0 };
        let wait = if empty > 0 { BEFORE_THE_LAST_LOOK } else { pause };
        if empty == 2 || Instant::now() + wait >= deadline {
            return result;
        }
        sleep(wait).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Names of all streams and tables that have the prefix, with what each is.
///
/// # Errors
/// They cannot be listed; the text says why.
pub async fn leftovers(clients: &Clients, prefix: &Prefix) -> Result<Vec<String>, String> {
    Ok(list(clients, prefix).await?.iter().map(Thing::to_string).collect())
}

/// Lists what is left, and asks for the deletion of what was not asked for yet.
async fn look(clients: &Clients, prefix: &Prefix, result: &mut CleanUp) -> Result<(), String> {
    let found = list(clients, prefix).await;
    result.failure = found.as_ref().err().cloned();
    let found = found?;
    result.left.retain(|thing, _| found.contains(thing));
    for thing in &found {
        result.left.entry(thing.clone()).or_insert_with(|| "not asked yet".to_owned());
    }
    for thing in found {
        let why = match result.deleted.contains(&thing) {
            true => Ok(()),
            false => delete(clients, &thing).await,
        };
        if why.is_ok() {
            result.deleted.insert(thing.clone());
        }
        result.left.insert(thing, why.err().unwrap_or_else(|| "still being deleted".to_owned()));
    }
    Ok(())
}

/// Deletes what a part of a run made and still has, as far as that can be done within a minute.
///
/// # Cancellation
/// Streams and tables not deleted yet are left.
pub async fn delete_made(clients: &Clients, guard: &Guard, beginning: &str) {
    let streams = guard.streams(beginning).into_iter().map(Thing::Stream);
    let mut left: Vec<Thing> = streams.chain(guard.tables(beginning).into_iter().map(Thing::Table)).collect();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep(LONGEST_PAUSE).await;
        }
        let mut refused = Vec::new();
        for thing in left {
            if delete(clients, &thing).await.is_err() {
                refused.push(thing);
            }
        }
        left = refused;
        if left.is_empty() {
            return;
        }
    }
}

/// Asks for the deletion. What is not there is deleted.
async fn delete(clients: &Clients, thing: &Thing) -> Result<(), String> {
    match thing {
        Thing::Stream(name) => {
            let delete = clients.kinesis.delete_stream().stream_name(name).enforce_consumer_deletion(true);
            outcome(delete.send().await)
        }
        Thing::Table(name) => {
            let deleted = clients.dynamodb.delete_table().table_name(name).send().await;
            if deleted.as_ref().is_err_and(|error| error.code() == Some("ValidationException")) {
                let unprotect = clients.dynamodb.update_table().table_name(name).deletion_protection_enabled(false);
                outcome(unprotect.send().await)?;
                return Err("was protected from deletion".to_owned());
            }
            outcome(deleted)
        }
    }
}

fn outcome<T, E: ProvideErrorMetadata, R>(answer: Result<T, SdkError<E, R>>) -> Result<(), String> {
    match answer {
        Err(error) if error.code() != Some("ResourceNotFoundException") => Err(why(&error)),
        _ => Ok(()),
    }
}

fn why<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    match error.code() {
        Some(code) => format!("{code}: {}", error.message().unwrap_or_default()),
        None => "no answer".to_owned(),
    }
}

/// All that has the prefix. The lists are read whole, in whatever order they are.
async fn list(clients: &Clients, prefix: &Prefix) -> Result<BTreeSet<Thing>, String> {
    let streams = streams(clients).await?.into_iter().filter(|name| prefix.owns(name)).map(Thing::Stream);
    let tables = tables(clients).await?.into_iter().filter(|name| prefix.owns(name)).map(Thing::Table);
    Ok(streams.chain(tables).collect())
}

async fn streams(clients: &Clients) -> Result<Vec<String>, String> {
    let (mut names, mut last): (Vec<String>, Option<String>) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let list = clients.kinesis.list_streams().set_exclusive_start_stream_name(last.take());
        let page = list.send().await.map_err(|error| format!("ListStreams: {}", why(&error)))?;
        last = page.stream_names().last().filter(|_| page.has_more_streams()).cloned();
        names.extend_from_slice(page.stream_names());
        if last.is_none() {
            return Ok(names);
        }
    }
    Err(format!("ListStreams: more than {MAX_PAGES} pages"))
}

async fn tables(clients: &Clients) -> Result<Vec<String>, String> {
    let (mut names, mut last): (Vec<String>, Option<String>) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let list = clients.dynamodb.list_tables().set_exclusive_start_table_name(last.take());
        let page = list.send().await.map_err(|error| format!("ListTables: {}", why(&error)))?;
        last = page.last_evaluated_table_name().map(str::to_owned);
        names.extend_from_slice(page.table_names());
        if last.is_none() {
            return Ok(names);
        }
    }
    Err(format!("ListTables: more than {MAX_PAGES} pages"))
}

#[cfg(test)]
mod tests {
    use kinesis_local::LocalAws;

    use super::*;

    fn clients(aws: &LocalAws, prefix: &Prefix) -> Clients {
        Clients::direct(&aws.sdk_config(), &Guard::new(prefix.clone(), u64::MAX))
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_the_prefix_is_deleted_and_nothing_else() {
        let aws = LocalAws::builder().deleting_takes(Duration::from_secs(20)).start().await;
        let (prefix, other) = (Prefix::random(), Prefix::random());
        for name in [prefix.name("a"), prefix.name("b"), other.name("a"), "orders".to_owned()] {
            aws.create_stream(&name, 1).unwrap();
        }

        let result = clean_up(&clients(&aws, &prefix), &prefix, CLEAN_UP_TIME).await;

        assert!(result.is_complete(), "{result}");
        assert_eq!(result.to_string(), "deleted 2, left 0");
        let left = aws_sdk_kinesis::Client::new(&aws.sdk_config()).list_streams().send().await.unwrap();
        assert_eq!(left.stream_names(), [other.name("a"), "orders".to_owned()]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_deleted_is_told_when_the_time_is_over() {
        let (aws, prefix) = (LocalAws::start().await, Prefix::random());
        aws.create_stream(&prefix.name("a"), 1).unwrap();
        aws.deny("kinesis:DeleteStream");
        let begun = Instant::now();

        let result = clean_up(&clients(&aws, &prefix), &prefix, Duration::from_secs(60)).await;

        assert!(begun.elapsed() <= Duration::from_secs(60));
        assert!(!result.is_complete());
        let text = result.to_string();
        assert!(text.contains(&format!("left: stream {}: AccessDeniedException", prefix.name("a"))), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_cannot_be_read_is_no_clean_end() {
        let (aws, prefix) = (LocalAws::start().await, Prefix::random());
        aws.deny("dynamodb:ListTables");

        let result = clean_up(&clients(&aws, &prefix), &prefix, Duration::from_secs(30)).await;

        assert!(!result.is_complete());
        assert!(result.to_string().contains("not known what else is left: ListTables: "), "{result}");
    }
}
