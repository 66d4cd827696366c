//! The services until a signal, for shells that take over the printed environment.

use std::error::Error;
use std::io::{self, Write};

use kinesis_local::Server;
use tracing::info;

use crate::arguments::Services;
use crate::environment::{REMOVED, variables};
use crate::signals::Signals;

/// Ports of Kinesis, DynamoDB and CloudWatch.
const PORTS: [u16; 3] = [4567, 8000, 0];

/// Serves until a signal asks for the end.
pub(crate) async fn serve(services: Services) -> Result<(), Box<dyn Error>> {
    // Before `ready` is printed, so that no signal is missed after it.
    let mut signals = Signals::listen()?;
    let server = crate::start(&services, PORTS).await?;
    announce(&server, &services)?;
    let (kinesis, dynamodb, cloudwatch) = (server.kinesis_url(), server.dynamodb_url(), server.cloudwatch_url());
    info!(kinesis, dynamodb, cloudwatch, "serving");
    signals.next().await;
    info!("stopping");
    server.stop().await;
    Ok(())
}

/// Prints the environment in the words of a shell.
fn announce(server: &Server, services: &Services) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "unset {}", REMOVED.join(" "))?;
    for (name, value) in variables(server, services.tls_certificate.as_deref())? {
        writeln!(out, "export {name}={}", quoted(&value))?;
    }
    writeln!(out, "ready")?;
    out.flush()
}

/// The value as a shell reads it.
fn quoted(value: &str) -> String {
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/:._-".contains(&byte)) {
        return value.to_owned();
    }
    // Within single quotes a shell takes everything literally but them.
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quotes_what_a_shell_would_read_otherwise() {
        assert_eq!(quoted("http://127.0.0.1:4567"), "http://127.0.0.1:4567");
        assert_eq!(quoted("/tmp/it's $HOME.pem"), r"'/tmp/it'\''s $HOME.pem'");
    }
}
