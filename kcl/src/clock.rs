//! The services' time, by the `Date` of their answers, and from then on by the runtime's clock, so that virtual time
//! moves it too. It is at most 2 s ahead, and behind by at most the time of their answers and a second. The machine's
//! clock counts only until the first answer. (The SDK signs requests by such a date as well.)

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use aws_sdk_kinesis::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef},
    primitives::{DateTime, DateTimeFormat},
};
use aws_types::{SdkConfig, sdk_config::SharedTimeSource};

use crate::{error::BoxError, locked::locked, time::now};

/// Dates are whole seconds, and answers take time: one that is earlier by no more is not news.
pub(crate) const PRECISION: Duration = Duration::from_secs(2);
/// Error from which on the machine's clock is reported as wrong.
const TOLERANCE: Duration = Duration::from_secs(10);

/// The services' time, learned from the `Date` of their answers, refusals included, as each worker does for itself: add it as
/// an interceptor to the configuration of clients. Clones share what they learn.
///
/// At most 2 s ahead of the services, and behind by at most the time of their answers and a second. Until the first answer it
/// has the machine's time.
#[derive(Debug, Clone)]
pub struct ServiceClock {
    machine: SharedTimeSource,
    /// The last date of the services, and when it came.
    answered: Arc<Mutex<Option<(SystemTime, Instant)>>>,
}

impl ServiceClock {
    /// A clock that has learned nothing. Its machine's time is that of the configuration's time source.
    pub fn new(aws: &SdkConfig) -> Self {
        Self { machine: aws.time_source().unwrap_or_default(), answered: Arc::default() }
    }

    /// The services' time; the machine's before the first answer.
    pub fn now(&self) -> SystemTime {
        self.services_now().unwrap_or_else(|| self.machine.now())
    }

    /// The machine's own clock, which goes on while the machine is suspended.
    pub(crate) fn machine_now(&self) -> SystemTime {
        self.machine.now()
    }

    /// The services' time; None before the first answer.
    pub fn services_now(&self) -> Option<SystemTime> {
        let answered = *locked(&self.answered);
        answered.map(|(date, at)| date + (now() - at))
    }

    fn note(&self, date: SystemTime) {
        let behind = self.services_now().and_then(|known| known.duration_since(date).ok());
        if behind.is_none_or(|behind| behind > PRECISION) {
            *locked(&self.answered) = Some((date, now()));
        }
    }

    /// Distances of the machine's clock from the services', ahead and behind, if it is wrong.
    pub(crate) fn error_of_machine(&self) -> Option<(Duration, Duration)> {
        let (machine, services) = (self.machine.now(), self.services_now()?);
        let ahead = machine.duration_since(services).unwrap_or_default();
        let behind = services.duration_since(machine).unwrap_or_default();
        (ahead.max(behind) > TOLERANCE).then_some((ahead, behind))
    }

    fn since_1970(&self) -> Duration {
        self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.since_1970().as_secs()
    }

    pub(crate) fn millis(&self) -> u64 {
        u64::try_from(self.since_1970().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Intercept for ServiceClock {
    fn name(&self) -> &'static str {
        "ServiceClock"
    }

    /// Refusals count, too: of a wrong signature above all. Answers of proxies have no request id.
    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        let date = headers.get("date").filter(|_| headers.contains_key("x-amzn-requestid"));
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        if let Some(date) = date.and_then(|date| SystemTime::try_from(date).ok()) {
            self.note(date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_types::sdk_config::TimeSource;
    use tokio::time::sleep;

    use super::*;

    #[derive(Debug)]
    struct Fixed(SystemTime);

    impl TimeSource for Fixed {
        fn now(&self) -> SystemTime {
            self.0
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn clock(machine: u64) -> ServiceClock {
        ServiceClock::new(&SdkConfig::builder().time_source(Fixed(at(machine))).build())
    }

    #[tokio::test(start_paused = true)]
    async fn the_machines_clock_counts_until_a_service_answers() {
        let clock = clock(5_000);
        assert_eq!((clock.seconds(), clock.error_of_machine()), (5_000, None));

        clock.note(at(1_000));
        sleep(Duration::from_secs(7)).await;

        assert_eq!(clock.now(), at(1_007));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_and_whole_seconds_do_not_move_it_back() {
        let clock = clock(0);
        clock.note(at(1_000));
        sleep(Duration::from_millis(1_900)).await;

        clock.note(at(1_000));
        assert_eq!(clock.millis(), 1_001_900);
        clock.note(at(1_002));
        assert_eq!(clock.now(), at(1_002));
    }

    #[tokio::test(start_paused = true)]
    async fn the_services_may_set_it_back() {
        let clock = clock(0);
        clock.note(at(1_000));
        clock.note(at(990));
        assert_eq!(clock.now(), at(990));
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_more_than_ten_seconds_off_is_wrong() {
        let errors = [990, 1_010, 989, 1_011].map(|machine| {
            let clock = clock(machine);
            clock.note(at(1_000));
            clock.error_of_machine()
        });
        let (none, eleven) = (Duration::ZERO, Duration::from_secs(11));
        assert_eq!(errors, [None, None, Some((none, eleven)), Some((eleven, none))]);
    }
}
