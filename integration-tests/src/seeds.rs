//! Simulations that run many times over, each time from another seed, on all cores.

use std::{
    env,
    panic::{RefUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Seeds of which the simulation panicked. The environment variable `variable` names the only seed to run; without it as
/// many run, from 0 on, as the one of that name with an `S` says, or `count`.
pub fn failing(variable: &str, count: u64, simulate: impl Fn(u64) + RefUnwindSafe + Sync) -> Vec<u64> {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("is a number"));
    let seeds = match number(variable) {
        Some(seed) => seed..seed + 1,
        None => 0..number(&format!("{variable}S")).unwrap_or(count),
    };
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let run = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return;
            }
            if catch_unwind(|| simulate(seed)).is_err() {
                eprintln!("seed {seed} failed; {variable}={seed} runs it alone");
                failed.lock().expect("nobody panics here").push(seed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(run);
        }
    });
    failed.into_inner().expect("nobody panics here")
}
