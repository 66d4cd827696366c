//! Probes of a worker: answered over HTTP if the samples are built with the feature `metrics`, and asked by programs in images,
//! which have neither a shell nor curl.

use anyhow::{Context as _, bail};

#[cfg(feature = "metrics")]
mod answered;
#[cfg(not(feature = "metrics"))]
#[path = "probes/without.rs"]
mod answered;

pub use answered::Probes;

/// Maximum time of an answer, in seconds.
const PATIENCE: u64 = 5;

/// Asks a probe, in clear text. Blocks the thread for at most 5 s.
///
/// # Errors
/// Nobody answers, or something else than 200.
pub fn ask(url: &str) -> anyhow::Result<()> {
    let answer = minreq::get(url).with_timeout(PATIENCE).send().with_context(|| format!("{url} does not answer"))?;
    if answer.status_code != 200 {
        bail!("{url} answers {}: {}", answer.status_code, answer.as_str().unwrap_or_default());
    }
    Ok(())
}
