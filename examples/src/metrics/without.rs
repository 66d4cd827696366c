//! No exporters: the samples are built without them.

use std::convert::Infallible;

use anyhow::bail;
use aws_types::SdkConfig;

use super::Exporter;

/// Never made.
pub(super) struct Installed(Infallible);

impl Installed {
    pub(super) async fn shutdown(self) {
        match self.0 {}
    }
}

pub(super) fn install(exporter: Exporter, _: &SdkConfig) -> anyhow::Result<Installed> {
    bail!("{exporter:?} is an exporter that only a build with `--features metrics` has");
}
