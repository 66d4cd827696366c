//! Growth of a fleet's cost, takeover and deploy with the number of its leases, a hundred for each worker.

use std::{fs, iter, path::Path, time::Duration};

use integration_tests::{FleetSize, Phase};
use kcl::Renewals;

use crate::{
    live,
    picture::{Line, chart},
    virtual_time,
};

/// Minimum number of workers: one can die.
const MIN_WORKERS: u32 = 3;
/// Dollars for a read unit and a write unit, on demand in us-east-1. aws.amazon.com/dynamodb/pricing/on-demand
const READ_UNIT: f64 = 0.125e-6;
const WRITE_UNIT: f64 = 0.625e-6;
const MINUTES_A_MONTH: f64 = 730.0 * 60.0;

/// Figures of one size.
struct Row {
    size: FleetSize,
    phases: [Phase; 4],
}

impl Row {
    fn measure(leases: u32) -> Self {
        let workers = (leases / 100).max(MIN_WORKERS) as usize;
        let size = FleetSize { workers, leases, renewals: Renewals::Automatic };
        let mut phases = Vec::new();
        virtual_time().block_on(live(size, |phase| phases.push(phase)));
        Self { size, phases: phases.try_into().expect("a life has four phases") }
    }

    /// Requests to the lease table in the minute at rest.
    fn requests(&self) -> f64 {
        self.phases[1].requests.values().map(|requests| *requests as f64).sum()
    }

    /// Seconds until the fleet was balanced: from cold, after the deaths, over the deploy.
    fn seconds(&self) -> [f64; 3] {
        let [cold, _, lost, deploy] = &self.phases;
        [cold, lost, deploy].map(|phase| phase.balanced.as_secs_f64())
    }

    fn shown(&self) -> String {
        let [cold, rest, lost, deploy] = &self.phases;
        let (requests, reads, writes) = (self.requests(), rest.read_units, rest.write_units);
        let price = (reads * READ_UNIT + writes * WRITE_UNIT) * MINUTES_A_MONTH;
        let balanced = [cold, lost, deploy].map(|phase| seconds(phase.balanced) + " (" + &seconds(phase.needed) + ")");
        format!(
            "| {} | {} | {requests:.0} | {reads:.0} | {writes:.0} | ${price:.2} | {} |",
            self.size.leases,
            self.size.workers,
            balanced.join(" | ")
        )
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}

/// Measures fleets up to that number of leases.
pub(crate) fn measure(max_leases: u32, picture: Option<&Path>) {
    println!(
        "| leases | workers | requests | read units | write units | a month | cold, s | a third dies, s | deploy, s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let sizes = iter::successors(Some(1_u32), |leases| leases.checked_mul(10));
    let rows = sizes.take_while(|leases| *leases <= max_leases).map(|leases| {
        let row = Row::measure(leases);
        println!("{}", row.shown());
        row
    });
    let rows: Vec<Row> = rows.collect();
    if let Some(path) = picture {
        fs::write(path, drawn(&rows)).expect("the picture can be written");
    }
}

fn drawn(rows: &[Row]) -> String {
    let line = |name, value: fn(&Row) -> f64| Line { name, values: rows.iter().map(value).collect() };
    let lines = [
        line("requests a minute at rest", Row::requests),
        line("balanced from cold, s", |row| row.seconds()[0]),
        line("after a third died, s", |row| row.seconds()[1]),
        line("rolling deploy, s", |row| row.seconds()[2]),
    ];
    let leases: Vec<u32> = rows.iter().map(|row| row.size.leases).collect();
    chart("A fleet by the number of its leases, a hundred for each worker", &leases, &lines)
}
