//! A PostgreSQL in a temporary folder, behind a socket there.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::process::Command;

/// User without rights of its own, as whom the server runs if this process is root's: it refuses to run as that.
const NOBODY: u32 = 65_534;

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    programs: PathBuf,
    folder: TempDir,
    is_root: bool,
}

impl PostgresServer {
    /// Makes a database and serves it.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("balances-").tempdir()?;
        let is_root = fs::metadata(folder.path())?.uid() == 0;
        if is_root {
            chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
        }
        let server = Self { programs, folder, is_root };
        let mut create = server.command("initdb");
        create.args(["--auth=trust", "--username=balances", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"]);
        run(create.arg(server.data())).await?;
        server.control(&["start"]).await?;
        Ok(server)
    }

    pub(crate) fn address(&self) -> String {
        format!("host={} user=balances dbname=postgres", self.folder.path().display())
    }

    /// Ends all its processes at once, and starts it again: it recovers from its log.
    pub(crate) async fn restart(&self) -> anyhow::Result<()> {
        self.control(&["restart", "--mode=immediate"]).await
    }

    /// Calls `pg_ctl`, and waits until the server is there.
    async fn control(&self, action: &[&str]) -> anyhow::Result<()> {
        let mut control = self.command("pg_ctl");
        control.args(action).args(["--wait", "--timeout=60", "--silent", "--pgdata"]).arg(self.data());
        control.arg("--log").arg(self.folder.path().join("log"));
        // What a process has written outlives it without fsync: processes end here, the host does not.
        let settings = "-c listen_addresses= -c max_connections=200 -c fsync=off";
        let options = format!("-k {} {settings}", self.folder.path().display());
        let done = run(control.arg("--options").arg(options)).await;
        done.with_context(|| fs::read_to_string(self.folder.path().join("log")).unwrap_or_default())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path());
        if self.is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl").into_std();
        stop.args(["stop", "--mode=immediate", "--silent", "--pgdata"]).arg(self.data());
        if let Err(error) = stop.status() {
            eprintln!("the database cannot be stopped: {error}");
        }
    }
}

/// Runs a program to its end. The server, which it may leave behind, has no part in its output.
async fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).status().await?;
    anyhow::ensure!(status.success(), "{:?} failed: {status}", command.as_std().get_program());
    Ok(())
}

/// Folder of the server's programs: in the path, or where Debian has them, the newest version.
fn programs() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_all = |folder: &Path| ["initdb", "pg_ctl", "postgres"].iter().all(|program| folder.join(program).is_file());
    if let Some(folder) = std::env::split_paths(&path).find(|folder| has_all(folder)) {
        return Ok(folder);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |folder: &Path| folder.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()).unwrap_or(0);
    let newest = versions.map(|version| version.path()).max_by_key(|folder| version(folder));
    let folder = newest.map(|folder| folder.join("bin")).filter(|folder| has_all(folder));
    folder.context("PostgreSQL is not installed (Debian's package postgresql): install it, or name one by --database")
}
