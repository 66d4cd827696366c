//! Signals that ask this process to end.

use std::io;

pub(crate) use self::system::Signals;

#[cfg(unix)]
mod system {
    use std::fs::File;

    use rustix::process::{self, Pid, getpgrp, kill_process};
    use rustix::termios::tcgetpgrp;
    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::io;

    /// The signals, from the moment of `listen` on.
    pub(crate) struct Signals {
        interrupt: Signal,
        terminate: Signal,
    }

    impl Signals {
        pub(crate) fn listen() -> io::Result<Self> {
            Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
        }

        /// The next signal.
        pub(crate) async fn next(&mut self) -> Received {
            tokio::select! {
                _ = self.interrupt.recv() => Received::Interrupt,
                _ = self.terminate.recv() => Received::Terminate,
            }
        }
    }

    /// A signal that was received.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Received {
        Interrupt,
        Terminate,
    }

    impl Received {
        /// Sends the signal to a child, if it has not ended. A Ctrl-C has reached it already.
        pub(crate) fn pass_on(self, child: Option<u32>) {
            let signal = match self {
                Self::Interrupt if is_in_foreground() => return,
                Self::Interrupt => process::Signal::INT,
                Self::Terminate => process::Signal::TERM,
            };
            if let Some(child) = child.and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
                // The child may have ended a moment ago.
                let _ = kill_process(child, signal);
            }
        }
    }

    /// True if a terminal sends Ctrl-C to this process, and so to its children.
    fn is_in_foreground() -> bool {
        let group = File::open("/dev/tty").ok().and_then(|terminal| tcgetpgrp(terminal).ok());
        group == Some(getpgrp())
    }
}

#[cfg(not(unix))]
mod system {
    use super::io;

    /// Ctrl-C, from the moment of `listen` on.
    pub(crate) struct Signals(tokio::signal::windows::CtrlC);

    impl Signals {
        pub(crate) fn listen() -> io::Result<Self> {
            tokio::signal::windows::ctrl_c().map(Self)
        }

        /// The next Ctrl-C.
        pub(crate) async fn next(&mut self) -> Received {
            self.0.recv().await;
            Received
        }
    }

    /// A Ctrl-C that was received.
    pub(crate) struct Received;

    impl Received {
        /// Does nothing: the console sends Ctrl-C to children too.
        pub(crate) fn pass_on(self, _child: Option<u32>) {}
    }
}
