//! No probes: the samples are built without them.

use std::convert::Infallible;

use anyhow::bail;
use kcl::WorkerHandle;
use tokio::task::JoinSet;

/// Never made.
#[derive(Debug)]
pub struct Probes(Infallible);

impl Probes {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub async fn listen(_: &str) -> anyhow::Result<Self> {
        bail!("only a build with `--features metrics` answers probes");
    }

    /// Never called.
    #[must_use = "dropping it ends the answers"]
    pub fn answer(self, _: WorkerHandle) -> JoinSet<()> {
        match self.0 {}
    }
}
