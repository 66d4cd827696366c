//! Dead letters in a queue of SQS.

use std::{collections::HashSet, sync::Arc, time::Duration};

use aws_sdk_sqs::{Client, types::Message};
use kcl::{BoxError, DeadLetter, FailedRecords, ProcessorFactory, Record};

use super::{
    ObjectLetters, Redriven, Rerun, position,
    redrive::{Each, Read, Source, redrive},
};

/// Limit of a body, unless the queue has a smaller one.
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Maximum of one call of ReceiveMessage. Source: as above.
const MAX_RECEIVED: i32 = 10;
/// Time in which the application processes the letters of one call; then they are received again.
const PROCESSED_WITHIN: Duration = Duration::from_secs(300);

/// A message of SQS for each letter.
///
/// A letter above the limit is kept without its data. With [`large_in`](Self::large_in) the whole letter is an object as well,
/// else its data are only in the stream, until their retention ends. A record of 10 MiB is kept in either way.
#[derive(Debug, Clone)]
pub struct SqsLetters {
    client: Client,
    queue_url: Arc<str>,
    max_body_bytes: usize,
    large: Option<ObjectLetters>,
}

impl SqsLetters {
    /// Letters in a queue.
    pub fn new(client: Client, queue_url: impl Into<Arc<str>>) -> Self {
        Self { client, queue_url: queue_url.into(), max_body_bytes: MAX_BODY_BYTES, large: None }
    }

    /// Sets the queue's `MaximumMessageSize`. Default 1 MiB, the limit of SQS.
    #[must_use = "the letters are returned with the limit set"]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Keeps letters above the limit as objects too, first there and then in the queue.
    #[must_use = "the letters are returned with the place set"]
    pub fn large_in(mut self, letters: ObjectLetters) -> Self {
        self.large = Some(letters);
        self
    }

    /// Keeps the records, for [`ErrorPolicy::dead_letter_after`](kcl::ErrorPolicy::dead_letter_after).
    ///
    /// # Errors
    /// The queue, or the store of large letters, refused one. The records are tried again, and letters before it are then in the
    /// queue twice.
    ///
    /// # Cancellation
    /// Some may be kept.
    pub fn keep(&self, failed: FailedRecords) -> impl Future<Output = Result<(), BoxError>> + Send + use<> {
        let letters = self.clone();
        async move {
            for letter in failed.letters() {
                letters.put(&letter).await?;
            }
            Ok(())
        }
    }

    async fn put(&self, letter: &DeadLetter) -> Result<(), BoxError> {
        let mut body = accepted(letter.to_json()?);
        if body.len() > self.max_body_bytes {
            if let Some(large) = &self.large {
                large.put(letter).await?;
            }
            let mut reference = letter.clone();
            (reference.text, reference.data) = (None, None);
            body = accepted(reference.to_json_within(self.max_body_bytes)?);
        }
        let sent = self.client.send_message().queue_url(&*self.queue_url).message_body(body).send().await;
        sent.map_err(|error| self.refused(error.into()))?;
        Ok(())
    }

    /// Has each letter of the queue processed by a closure, whole, and deletes those that are; until no other is received.
    /// Those that fail can be received again by anybody after five minutes, or are moved as the queue's own redrive policy
    /// says.
    ///
    /// # Errors
    /// The queue cannot be read.
    ///
    /// # Cancellation
    /// The letters in hand may be processed and not deleted.
    pub async fn redrive(&self, process: impl AsyncFn(Record) -> Result<(), BoxError>) -> Result<Redriven, BoxError> {
        redrive(&mut self.source(), &Each(process)).await
    }

    /// Has the letters of the queue processed by record processors, up to ten at a time; else as [`redrive`](Self::redrive).
    ///
    /// # Errors
    /// The queue cannot be read, or the worker failed.
    ///
    /// # Cancellation
    /// The letters in hand may be processed and not deleted.
    pub async fn redrive_through<F: ProcessorFactory>(&self, rerun: &Rerun<F>) -> Result<Redriven, BoxError> {
        redrive(&mut self.source(), rerun).await
    }

    fn source(&self) -> Received {
        Received { letters: self.clone(), seen: HashSet::new() }
    }

    async fn receive(&self) -> Result<Vec<Message>, BoxError> {
        let receive = self.client.receive_message().queue_url(&*self.queue_url).max_number_of_messages(MAX_RECEIVED);
        let seconds = i32::try_from(PROCESSED_WITHIN.as_secs())?;
        let received = receive.visibility_timeout(seconds).wait_time_seconds(1).send().await;
        Ok(received.map_err(|error| self.refused(error.into()))?.messages.unwrap_or_default())
    }

    /// The letter in a message, with its data if they are an object.
    async fn read(&self, message: Message) -> Read<Handle> {
        let body = message.body.unwrap_or_default();
        let letter: Result<DeadLetter, BoxError> =
            serde_json::from_str(&body).map_err(|error| format!("the body is no dead letter: {error}").into());
        let name = letter.as_ref().map_or_else(|_| message.message_id.unwrap_or_default(), position);
        let (letter, large) = match (letter, &self.large) {
            (Ok(letter), Some(large)) if letter.text.is_none() && letter.data.is_none() => {
                match large.find(&letter).await {
                    Ok(Some(whole)) => (Ok(whole), Some(letter)),
                    Ok(None) => (Ok(letter), None),
                    Err(error) => (Err(error), None),
                }
            }
            (letter, _) => (letter, None),
        };
        Read { name, letter, handle: Handle { receipt: message.receipt_handle, large } }
    }

    async fn delete(&self, handle: Handle) -> Result<(), BoxError> {
        let delete = self.client.delete_message().queue_url(&*self.queue_url);
        let deleted = delete.set_receipt_handle(handle.receipt).send().await;
        deleted.map_err(|error| self.refused(error.into()))?;
        // Last, so that no letter in the queue is without its data.
        match (&self.large, handle.large) {
            (Some(place), Some(letter)) => place.delete(&letter).await,
            _ => Ok(()),
        }
    }

    fn refused(&self, source: aws_sdk_sqs::Error) -> QueueError {
        QueueError { queue_url: self.queue_url.to_string(), source: Box::new(source) }
    }
}

/// The way to take a letter out of the queue.
struct Handle {
    receipt: Option<String>,
    /// The letter without its data, which are an object.
    large: Option<DeadLetter>,
}

/// Messages on their way back.
struct Received {
    letters: SqsLetters,
    seen: HashSet<Option<String>>,
}

impl Source for Received {
    type Handle = Handle;

    async fn next(&mut self) -> Result<Vec<Read<Handle>>, BoxError> {
        let letters = &self.letters;
        let messages = unseen(&mut self.seen, async || letters.receive().await).await?;
        let mut read = Vec::with_capacity(messages.len());
        for message in messages {
            read.push(letters.read(message).await);
        }
        Ok(read)
    }

    async fn take_out(&mut self, handle: Handle) -> Result<(), BoxError> {
        self.letters.delete(handle).await
    }
}

/// The next messages that were not seen before; none once none is received.
///
/// A receive may have only such as were seen, while others wait: SQS gives a few at a time, and those that failed come again.
async fn unseen(
    seen: &mut HashSet<Option<String>>,
    receive: impl AsyncFn() -> Result<Vec<Message>, BoxError>,
) -> Result<Vec<Message>, BoxError> {
    loop {
        let mut messages = receive().await?;
        let is_end = messages.is_empty();
        messages.retain(|message| seen.insert(message.message_id.clone()));
        if is_end || !messages.is_empty() {
            return Ok(messages);
        }
    }
}

/// A call of SQS that failed; its source says why.
#[derive(Debug, thiserror::Error)]
#[error("queue {queue_url} failed")]
struct QueueError {
    queue_url: String,
    source: Box<aws_sdk_sqs::Error>,
}

/// A body that SQS accepts: two characters of Unicode have to be written by their numbers.
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
fn accepted(json: String) -> String {
    if json.contains(['\u{fffe}', '\u{ffff}']) {
        return json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
    }
    json
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque};

    use kinesis_local::LocalAws;

    use super::*;

    #[test]
    fn characters_that_sqs_refuses_are_escaped_and_read_back() {
        let text = "a\u{ffff}\u{fffe}\u{1}\u{7f}z";

        let body = accepted(serde_json::to_string(text).unwrap());

        assert!(!body.contains(['\u{fffe}', '\u{ffff}', '\u{1}']), "{body:?}");
        assert_eq!(serde_json::from_str::<String>(&body).unwrap(), text);
    }

    #[tokio::test]
    async fn a_receive_of_seen_messages_alone_does_not_hide_those_that_wait() {
        let received = [&["1"][..], &["1"], &["1"], &["2", "1"], &[], &["3"]];
        let message = |id: &&str| Message::builder().message_id(*id).build();
        let received = received.iter().map(|ids| ids.iter().map(message).collect());
        let received: RefCell<VecDeque<Vec<Message>>> = RefCell::new(received.collect());
        let receive = async || Ok::<_, BoxError>(received.borrow_mut().pop_front().unwrap());
        let mut seen = HashSet::new();

        let mut next = async || {
            let messages = unseen(&mut seen, &receive).await.unwrap();
            messages.into_iter().filter_map(|message| message.message_id).collect::<Vec<_>>()
        };

        assert_eq!(next().await, ["1"]);
        assert_eq!(next().await, ["2"]);
        assert_eq!(next().await, Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_is_gone_is_named() {
        let aws = LocalAws::start().await.sdk_config(); // without SQS
        let letters = SqsLetters::new(Client::new(&aws), "https://sqs/letters");
        let letter = r#"{"application":"a","stream":"orders","shardId":"shardId-000000000000","sequenceNumber":"1",
            "partitionKey":"c-7","failedAt":"2026-11-30T00:00:00Z","attempts":3,"error":"no","dataBytes":0,"text":""}"#;

        let error = letters.put(&serde_json::from_str(letter).unwrap()).await.unwrap_err();

        assert_eq!(error.to_string(), "queue https://sqs/letters failed");
        assert!(error.source().is_some());
    }
}
