//! `kcl-multilang`: the command.

mod arguments;

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    num::NonZero,
    process::ExitCode,
    thread,
};

use kcl_multilang::{Configurations, Daemon, Metrics, Probes, Settings, rehearse, with_causes};
use tokio::runtime::{Builder, Runtime};
use tracing::{info, warn};
use tracing_subscriber::{filter::Targets, prelude::*};

use self::arguments::Arguments;

/// Cores for each thread of the daemon: the children take the rest, and a thread's allocations keep what it once had.
const CORES_FOR_A_THREAD: usize = 4;

fn main() -> ExitCode {
    let arguments = Arguments::read();
    log();
    let outcome = runtime().map_err(Into::into).and_then(|runtime| runtime.block_on(run(&arguments)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = (cores / CORES_FOR_A_THREAD).max(1);
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Logs to stderr by the filter in `RUST_LOG`.
fn log() {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse().ok());
    let filter: Targets = wanted.unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let colors = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_ansi(colors).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

async fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    if let Some(file) = &arguments.log_configuration {
        warn!(file = %file.display(), "log configuration has no effect: RUST_LOG sets what is logged");
    }
    let settings = Settings::read(arguments.settings_file().as_deref(), std::env::vars())?;
    if arguments.health {
        Probes::ask(&settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check {
        return Ok(check(&settings, &arguments.check_data).await?);
    }
    let aws = Configurations::load(&settings).await?;
    let metrics = Metrics::install(&settings, &aws)?;
    // Before the daemon starts: from then on a signal has to stop it in good order.
    let signals = signals::Signals::listen()?;
    let daemon = Daemon::start(&settings, &aws)?;
    let probes = Probes::serve(&settings, &daemon, &metrics).await;
    if let Ok(Some(probes)) = &probes {
        info!(address = %probes.address(), "probes are answered at /livez, /readyz and /metrics");
    }
    let outcome = match &probes {
        Ok(_) => until_stopped(&daemon, signals).await,
        Err(_) => stopped(&daemon).await,
    };
    metrics.shutdown().await;
    probes?;
    let code = outcome?;
    info!("ended");
    Ok(code)
}

async fn check(settings: &Settings, data: &str) -> Result<ExitCode, kcl_multilang::ExecutableError> {
    for note in settings.notes() {
        print(&format!("remark  {note}"));
    }
    let report = rehearse(settings, data.as_bytes()).await?;
    report.lines().iter().for_each(|line| print(line));
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a line; the exit code says the same to a reader that went away.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}"); // an error: nobody reads on
}

async fn stopped(daemon: &Daemon) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    daemon.request_stop();
    daemon.wait().await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs until the daemon ends, or a signal stops it in good order; a second one ends it at once.
async fn until_stopped(
    daemon: &Daemon,
    mut signals: signals::Signals,
) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let mut has_asked = false;
    loop {
        tokio::select! {
            ended = daemon.wait() => {
                ended?;
                return Ok(ExitCode::SUCCESS);
            }
            number = signals.next() => {
                if has_asked {
                    warn!("second signal: ends at once");
                    return Ok(ExitCode::from(128 + number));
                }
                info!(signal = number, "stops: children may checkpoint, leases are released");
                has_asked = true;
                daemon.request_stop();
            }
        }
    }
}

#[cfg(unix)]
mod signals {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// Signals that ask the process to end, from the moment of `listen` on.
    pub(crate) struct Signals([Signal; 3]);

    impl Signals {
        pub(crate) fn listen() -> io::Result<Self> {
            Ok(Self([
                signal(SignalKind::hangup())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ]))
        }

        /// Number of the next signal. Cancellation: safe.
        pub(crate) async fn next(&mut self) -> u8 {
            let [hangup, interrupt, terminate] = &mut self.0;
            tokio::select! {
                _ = hangup.recv() => 1,
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
            }
        }
    }
}

#[cfg(not(unix))]
mod signals {
    use std::io;

    /// Ctrl-C, from the moment of `listen` on.
    pub(crate) struct Signals(tokio::signal::windows::CtrlC);

    impl Signals {
        pub(crate) fn listen() -> io::Result<Self> {
            tokio::signal::windows::ctrl_c().map(Self)
        }

        /// Number of the next signal. Cancellation: safe.
        pub(crate) async fn next(&mut self) -> u8 {
            self.0.recv().await;
            2
        }
    }
}
