//! One assignment plan for a large fleet, a third of which has died:
//! `RUSTFLAGS="--cfg bench_internals" cargo bench -p kinesis-kcl --bench planner`.

#[cfg(not(bench_internals))]
fn main() {
    eprintln!("needs RUSTFLAGS=\"--cfg bench_internals\"");
}

#[cfg(bench_internals)]
fn main() {
    planner::main();
}

#[cfg(bench_internals)]
mod planner {
    use std::hint::black_box;

    use kcl::bench::Fleet;
    use tokio::time::Instant;

    const ROUNDS: usize = 20;

    fn measure(what: &str, plan: impl Fn() -> usize) {
        let rounds = (0..ROUNDS).map(|_| {
            let begun = Instant::now();
            let moves = black_box(plan());
            (begun.elapsed(), moves)
        });
        let (best, moves) = rounds.min().expect("there are rounds");
        let millis = best.as_secs_f64() * 1000.0;
        println!(
            "{{\"measure\":\"one plan {what}, 200 workers, 10,000 leases\",\"value\":{millis:.2},\"unit\":\"ms\"}}"
        );
        println!("{{\"measure\":\"its moves\",\"value\":{moves},\"unit\":\"leases\"}}");
    }

    pub(super) fn main() {
        let fleet = Fleet::after_deaths(200, 10_000);
        measure("by lease count", || fleet.plan_by_count());
        measure("by utilization", || fleet.plan_by_utilization());
    }
}
