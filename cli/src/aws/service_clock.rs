//! The services' clock, from the header `Date` of their answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeDeserializationInterceptorContextRef, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{DateTime, config_bag::ConfigBag, date_time::Format};

use crate::clock::now;

/// No answer has come yet.
const UNKNOWN: i64 = i64::MIN;
/// A header has whole seconds: on average the time is half a second further.
const HALF_A_SECOND: i64 = 500;

/// Learns how far the services' clock is ahead of the machine's. Clones share what they learn.
#[derive(Debug, Clone)]
pub(crate) struct ServiceClock {
    ahead_millis: Arc<AtomicI64>,
}

impl Default for ServiceClock {
    fn default() -> Self {
        Self { ahead_millis: Arc::new(AtomicI64::new(UNKNOWN)) }
    }
}

impl ServiceClock {
    /// Milliseconds that the services' clock is ahead, to a second; None before the first answer.
    pub(crate) fn ahead_millis(&self) -> Option<i64> {
        Some(self.ahead_millis.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNKNOWN)
    }

    /// The services' time; the machine's before the first answer.
    pub(crate) fn now(&self) -> SystemTime {
        let ahead = self.ahead_millis().unwrap_or(0);
        let by = Duration::from_millis(ahead.unsigned_abs());
        let shifted = if ahead >= 0 { now().checked_add(by) } else { now().checked_sub(by) };
        shifted.unwrap_or_else(now)
    }

    fn learn(&self, date: &str) {
        let Some(theirs) = DateTime::from_str(date, Format::HttpDate).ok().and_then(|date| date.to_millis().ok())
        else {
            return;
        };
        let ours = DateTime::from(now()).to_millis().unwrap_or(theirs);
        self.ahead_millis.store(theirs + HALF_A_SECOND - ours, Ordering::Relaxed);
    }
}

#[dyn_dispatch_hint]
impl Intercept for ServiceClock {
    fn name(&self) -> &'static str {
        "ServiceClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.learn(date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_an_hour_from_a_date() {
        let clock = ServiceClock::default();
        let in_an_hour = DateTime::from(now() + Duration::from_secs(3_600)).fmt(Format::HttpDate).unwrap();

        assert_eq!(clock.ahead_millis(), None);
        clock.learn("no date");
        assert_eq!(clock.ahead_millis(), None);
        clock.learn(&in_an_hour);

        let ahead = clock.ahead_millis().unwrap();
        assert!((3_598_000..=3_601_000).contains(&ahead), "{ahead}");
        assert!(clock.now() > now() + Duration::from_secs(3_590));
    }
}
