//! Registering, describing, listing and deregistering consumers.

use tracing::info;

use crate::ACCOUNT_ID;
use crate::kinesis::check::{self, Check};
use crate::kinesis::consumer::{Consumer, Status};
use crate::kinesis::iterator::ConsumersToken;
use crate::kinesis::stream::{State, Stream};
use crate::kinesis::tags::Tags;
use crate::kinesis::{Error, Kinesis, request, response};
use crate::timestamp::Millis;

/// Maximum number of consumers of a stream. docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
const MAX_CONSUMERS: usize = 20;

/// Maximum number of consumers of a stream that are CREATING at once. Same source.
const MAX_CREATING: usize = 5;

/// Consumers of one page. docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreamConsumers.html
const PAGE: i64 = 100;

impl Kinesis {
    pub(super) fn register_consumer(
        &mut self,
        request: request::RegisterStreamConsumer<'_>,
        now: Millis,
    ) -> Result<response::RegisterStreamConsumer, Error> {
        let mut check = Check::default();
        check.required(&request.stream_arn, "streamARN");
        check.required(&request.consumer_name, "consumerName");
        check.name(request.consumer_name.as_deref(), "consumerName");
        check.finish()?;

        let until = now.plus(self.delays.registering);
        let tags = Tags::new(request.tags)?;
        let name = check::stream(None, request.stream_arn.as_ref())?;
        let consumer_name = request.consumer_name.as_deref().unwrap_or_default();
        let stream = self.stream(name, now)?;
        if matches!(stream.state, State::Creating { .. } | State::Deleting { .. }) {
            stream.require_active()?;
        }
        if stream.consumers.contains_key(consumer_name) {
            return Err(Error::resource_in_use(format!(
                "Consumer {consumer_name} under stream {name} under account {ACCOUNT_ID} already exists."
            )));
        }
        require_room(stream)?;
        // As at the service, the answer always says CREATING, however short that is.
        let consumer = Consumer::register(consumer_name, tags, now, until);
        let answer = describe(&consumer, name);
        stream.consumers.insert(consumer_name.to_owned(), consumer);
        info!(stream = name, consumer = consumer_name, "consumer registered");
        Ok(response::RegisterStreamConsumer { consumer: answer })
    }

    pub(super) fn describe_consumer(
        &mut self,
        request: request::StreamConsumer<'_>,
        now: Millis,
    ) -> Result<response::DescribeStreamConsumer, Error> {
        let (stream, consumer) = self.consumer(&request, now)?;
        let consumer = describe(&stream.consumers[&consumer], &stream.name);
        let stream_arn = stream.arn();
        Ok(response::DescribeStreamConsumer {
            consumer_description: response::ConsumerDescription { consumer, stream_arn },
        })
    }

    pub(super) fn list_consumers(
        &mut self,
        request: request::ListStreamConsumers<'_>,
        now: Millis,
    ) -> Result<response::ListStreamConsumers, Error> {
        let mut check = Check::default();
        check.range(request.max_results, "maxResults", 1, 10_000);
        if request.next_token.is_none() {
            check.required(&request.stream_arn, "streamARN");
        }
        check.finish()?;

        let limit = usize::try_from(request.max_results.unwrap_or(PAGE).min(PAGE)).unwrap_or_default();
        let (stream, after) = match &request.next_token {
            Some(token) => {
                let token = ConsumersToken::decode(token, now)?;
                let stream = self.stream(&token.stream, now)?;
                if stream.incarnation != token.incarnation {
                    return Err(Error::no_stream(&token.stream, ACCOUNT_ID));
                }
                (stream, token.after)
            }
            None => {
                let stream = self.stream(check::stream(None, request.stream_arn.as_ref())?, now)?;
                stream.require_created_at(request.stream_creation_timestamp)?;
                (stream, String::new())
            }
        };
        let mut rest = stream.consumers.values().skip_while(|consumer| consumer.name <= after);
        let consumers: Vec<_> = rest.by_ref().take(limit).map(|consumer| describe(consumer, &stream.name)).collect();
        let last = consumers.last().filter(|_| rest.next().is_some()).map(|last| last.consumer_name.clone());
        let next_token = last.map(|after| {
            let (stream, incarnation) = (stream.name.clone(), stream.incarnation);
            ConsumersToken { issued: now, stream, incarnation, after }.encode()
        });
        Ok(response::ListStreamConsumers { consumers, next_token })
    }

    pub(super) fn deregister_consumer(
        &mut self,
        request: request::StreamConsumer<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let until = now.plus(self.delays.deleting);
        let (stream, consumer) = self.consumer(&request, now)?;
        if let Some(consumer) = stream.consumers.get_mut(&consumer) {
            consumer.status = Status::Deleting { until };
        }
        stream.advance(now);
        stream.wake_subscribers();
        info!(stream = stream.name, consumer, "consumer deregistered");
        Ok(response::Empty {})
    }

    /// The stream and the name of one of its consumers, by the consumer's ARN, by its name and the stream's ARN, or by
    /// all three if they agree.
    fn consumer(&mut self, request: &request::StreamConsumer<'_>, now: Millis) -> Result<(&mut Stream, String), Error> {
        let mut check = Check::default();
        check.name(request.consumer_name.as_deref(), "consumerName");
        check.finish()?;
        match (request.consumer_arn.as_deref(), request.stream_arn.as_ref(), request.consumer_name.as_deref()) {
            (Some(arn), None, None) => self.consumer_of_arn(arn, now),
            (None, Some(stream_arn), Some(name)) => {
                self.consumer_of_name(check::stream(None, Some(stream_arn))?, name, now)
            }
            (Some(arn), Some(stream_arn), Some(name)) => {
                let parts = check::consumer_arn(arn)?;
                if (parts.stream, parts.consumer) != (check::stream(None, Some(stream_arn))?, name) {
                    return Err(Error::invalid_argument(format!(
                        "ConsumerARN {arn} is not of the consumer {name} of StreamARN {}.",
                        &**stream_arn
                    )));
                }
                self.consumer_of_arn(arn, now)
            }
            _ => Err(Error::invalid_argument(
                "Must specify ConsumerARN, both StreamARN and ConsumerName, or all of them.",
            )),
        }
    }

    fn consumer_of_arn(&mut self, arn: &str, now: Millis) -> Result<(&mut Stream, String), Error> {
        let parts = check::consumer_arn(arn)?;
        let missing = || Error::no_consumer(arn);
        let stream = self.stream(parts.stream, now).map_err(|_| missing())?;
        match stream.consumers.get(parts.consumer) {
            Some(consumer) if consumer.arn(&stream.name) == arn => Ok((stream, parts.consumer.to_owned())),
            _ => Err(missing()),
        }
    }

    fn consumer_of_name(&mut self, stream: &str, name: &str, now: Millis) -> Result<(&mut Stream, String), Error> {
        let stream = self.stream(stream, now)?;
        if !stream.consumers.contains_key(name) {
            let words = format!("{name} under stream {} under account {ACCOUNT_ID}", stream.name);
            return Err(Error::no_consumer(words));
        }
        Ok((stream, name.to_owned()))
    }
}

fn require_room(stream: &Stream) -> Result<(), Error> {
    let creating = stream.consumers.values().filter(|consumer| matches!(consumer.status, Status::Creating { .. }));
    let refused = |what: &str, limit: usize| {
        let name = &stream.name;
        Err(Error::limit_exceeded(format!(
            "Stream {name} under account {ACCOUNT_ID} has reached the limit of {limit} {what}."
        )))
    };
    if stream.consumers.len() >= MAX_CONSUMERS {
        return refused("registered consumers", MAX_CONSUMERS);
    }
    if creating.count() >= MAX_CREATING {
        return refused("consumers in state CREATING", MAX_CREATING);
    }
    Ok(())
}

fn describe(consumer: &Consumer, stream: &str) -> response::Consumer {
    response::Consumer {
        consumer_name: consumer.name.clone(),
        consumer_arn: consumer.arn(stream),
        consumer_status: consumer.status_text(),
        consumer_creation_timestamp: consumer.created_at,
    }
}
