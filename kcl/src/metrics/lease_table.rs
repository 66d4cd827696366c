//! Metrics of the requests to the lease table.

use kpl::metric::Registry;
use metrics::Label;

use super::table::{READ_UNITS, WRITE_UNITS};
use crate::model::TableUsage;

#[derive(Debug)]
pub(crate) struct TableRecorder(pub(crate) Registry);

impl TableRecorder {
    /// The usage of one request.
    pub(crate) fn consumed(&self, call: &'static str, usage: TableUsage) {
        let label = [Label::from_static_parts("Call", call)];
        if usage.write_units > 0.0 {
            self.0.histogram(&WRITE_UNITS, &label).record(usage.write_units);
        } else {
            self.0.histogram(&READ_UNITS, &label).record(usage.read_units);
        }
    }
}
