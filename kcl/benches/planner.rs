//! One assignment plan for large fleets, a third of which has died:
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

    const FLEETS: [(usize, usize); 4] = [(10, 1_000), (100, 10_000), (200, 10_000), (1_000, 100_000)];

    fn measure(what: &str, plan: impl Fn() -> usize) {
        let rounds = (0..ROUNDS).map(|_| {
            let begun = Instant::now();
            let moves = black_box(plan());
            (begun.elapsed(), moves)
        });
        let (best, moves) = rounds.min().expect("there are rounds");
        let millis = best.as_secs_f64() * 1000.0;
        println!("{{\"measure\":\"one plan {what}\",\"value\":{millis:.2},\"unit\":\"ms\"}}");
        println!("{{\"measure\":\"its moves\",\"value\":{moves},\"unit\":\"leases\"}}");
    }

    pub(super) fn main() {
        for (workers, leases) in FLEETS {
            let fleet = Fleet::after_deaths(workers, leases);
            measure(&format!("by lease count, {workers} workers, {leases} leases"), || fleet.plan_by_count());
            measure(&format!("by utilization, {workers} workers, {leases} leases"), || fleet.plan_by_utilization());
        }
    }
}
