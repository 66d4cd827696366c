//! One command with the services, which end with it.

use std::env;
use std::error::Error;
use std::io::ErrorKind;
use std::process::{ExitCode, ExitStatus};

use tokio::process::Command;

use crate::arguments::Run;
use crate::environment::{no_proxy, variables};
use crate::signals::Signals;

/// Exit code when the services cannot be started, as of `timeout` and `docker run`.
pub(crate) const NOT_STARTED: u8 = 125;
/// Exit code when the command is there but cannot be run, as of a shell.
const NOT_RUNNABLE: u8 = 126;
/// Exit code when the command is not found, as of a shell.
const NOT_FOUND: u8 = 127;

/// Runs the command, and returns the exit code to end with.
pub(crate) async fn run(Run { services, command }: Run) -> Result<ExitCode, Box<dyn Error>> {
    // Before the command is started, so that none is missed that is meant for it.
    let mut signals = Signals::listen()?;
    let server = crate::start(&services, [0; 3]).await?;
    let mut words = command.into_iter();
    let program = words.next().ok_or("no command is given")?;
    let mut command = Command::new(&program);
    command.args(words).kill_on_drop(true);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.envs(variables(&server, services.tls_certificate.as_deref())?);
    for name in ["no_proxy", "NO_PROXY"] {
        command.env(name, no_proxy(env::var(name).ok().as_deref()));
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("kinesis-local: cannot run {}: {error}", program.display());
            return Ok(ExitCode::from(if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE }));
        }
    };
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            signal = signals.next() => signal.pass_on(child.id()),
        }
    };
    server.stop().await;
    Ok(exit_code(status))
}

#[cfg(unix)]
fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;

    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(not(unix))]
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
