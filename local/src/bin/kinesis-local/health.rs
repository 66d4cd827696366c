//! A server's health, asked for from outside.

use std::process::ExitCode;

use crate::arguments::Health;

/// Maximum time of the answer, in seconds.
const PATIENCE: u64 = 5;

/// Asks, and says on stderr why a server is not healthy.
pub(crate) fn ask(Health { url }: &Health) -> ExitCode {
    let unhealthy = match minreq::get(url.as_str()).with_timeout(PATIENCE).send() {
        Ok(answer) if answer.status_code == 200 => return ExitCode::SUCCESS,
        Ok(answer) => format!("{url} answers {}", answer.status_code),
        Err(error) => format!("{url} does not answer: {error}"),
    };
    eprintln!("kinesis-local: {unhealthy}");
    ExitCode::FAILURE
}
