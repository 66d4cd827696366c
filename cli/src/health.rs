//! SHELL: `kds health`: a program's health, asked for over HTTP, where there is neither a shell nor curl.

use clap::Args;

use crate::failure::Failure;

/// Maximum time of the answer, in seconds.
const PATIENCE: u64 = 5;

/// Arguments of `kds health`.
#[derive(Debug, Clone, Args)]
pub(crate) struct HealthArguments {
    /// Probe of the program, in clear text; by default that of kds serve
    #[arg(default_value = "http://127.0.0.1:7878/livez")]
    url: String,
}

/// Asks once. Fails unless the answer is 200.
pub(crate) fn run(HealthArguments { url }: &HealthArguments) -> Result<(), Failure> {
    let answer = minreq::get(url.as_str()).with_timeout(PATIENCE).send();
    let answer = answer.map_err(|error| Failure::new(format!("{url} does not answer"), error))?;
    if answer.status_code == 200 {
        return Ok(());
    }
    let text = answer.as_str().unwrap_or_default();
    Err(Failure::new(format!("{url} answers {}", answer.status_code), text))
}
