//! A child as a process of the system: started in a group of its own, signalled as a group.

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
};

use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: u32,
}

/// A child that has just been started, with its three standard streams.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Process {
    /// Starts a program. Ctrl-C at a terminal does not reach it, and it dies with its handle.
    pub(crate) fn start(program: &Path, arguments: &[String]) -> io::Result<Started> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let pid = child.id().unwrap_or_default();
        let missing = || io::Error::other("a standard stream of the child is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        Ok(Started { process: Self { child, pid }, stdin, stdout, stderr })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the end. Cancellation: safe.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it and its own children to end.
    #[cfg(unix)]
    pub(crate) fn terminate(&mut self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Ends it and its own children.
    #[cfg(unix)]
    pub(crate) fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// Only while it has not been waited for: afterwards the number may be another's.
    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        let running = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
        if let Some(group) = running {
            // The group may have ended a moment ago.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn terminate(&mut self) {
        self.kill();
    }

    #[cfg(not(unix))]
    pub(crate) fn kill(&mut self) {
        // It may have ended a moment ago.
        let _ = self.child.start_kill();
    }
}

/// Bytes in a pipe that have not been read; 0 where the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn unread(pipe: &impl std::os::fd::AsFd) -> u64 {
    rustix::io::ioctl_fionread(pipe).unwrap_or_default()
}

/// Bytes in a pipe that have not been read; 0 where the system does not say.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unread<P>(_pipe: &P) -> u64 {
    0
}
