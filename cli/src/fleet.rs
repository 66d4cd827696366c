//! `kds fleet`: leader, workers, leases and lag of an application.

pub(crate) mod lag;
pub(crate) mod read;
pub(crate) mod view;

use std::time::Duration;

use clap::Args;

use self::{
    lag::Lag,
    view::{FleetView, Layout, LeaseView, WorkerView},
};
use crate::{
    aws::{Aws, stream_name::StreamName},
    failure::Failure,
    output, text,
};

/// Arguments of `kds fleet`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FleetArguments {
    /// Name of the application's lease table
    #[arg(value_name = "APP")]
    application: String,
    /// Stream of the application [default: as workers of kcl note it; those of Java do not, unless it reads several]
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Do not ask the stream for the lag
    #[arg(long)]
    no_lag: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the fleet. Only reads.
pub(crate) async fn run(aws: &Aws, arguments: FleetArguments) -> Result<(), Failure> {
    let mut view = read::read(aws, &arguments.application).await?;
    if !arguments.no_lag {
        let stream = read::stream_of(&view, arguments.stream);
        lag::measure(aws, &mut view, stream.as_ref()).await;
    }
    output::print(arguments.json, &view, || view.text())
}

impl FleetView {
    pub(crate) fn text(&self) -> String {
        let layout = match self.layout {
            Layout::OneTable => "one table, as of KCL 3.5",
            Layout::ThreeTables => "three tables, as of KCL 3.0 to 3.4",
            Layout::LeasesAlone => "leases alone, as of KCL 2.x and 1.x",
        };
        let mut lines = vec![
            format!("application  {}, {layout}", self.application),
            format!("leader       {}", self.leader.as_deref().unwrap_or("-")),
            format!("version      {}", self.version.as_deref().unwrap_or("-")),
        ];
        if let Some(usage) = self.usage {
            let source = if usage.is_estimate { "estimated" } else { "as the workers count" };
            let (read, write) = (text::count(usage.read_units as u64), text::count(usage.write_units as u64));
            lines.push(format!(
                "cost         {:.4} $ an hour on demand, {source}: {read} read and {write} write units",
                usage.dollars
            ));
        }
        let (alive, ended) = (self.alive(), self.leases.iter().filter(|lease| lease.is_ended()).count());
        lines.push(format!("workers      {alive} alive of {}", self.workers.len()));
        lines.extend(self.workers.iter().map(WorkerView::text));
        lines.push(format!("leases       {} and {ended} ended", self.leases.len() - ended));
        lines.extend(self.leases.iter().map(LeaseView::text));
        if !self.unreadable.is_empty() {
            lines.push(format!("unreadable   {}", self.unreadable.join(", ")));
        }
        lines.join("\n") + "\n"
    }
}

impl WorkerView {
    fn text(&self) -> String {
        let age = self.age_seconds.map_or("does not report".to_owned(), |age| {
            format!("reported {} ago", text::duration(Duration::from_secs(age)))
        });
        let stale = if self.is_stale { ", stale" } else { "" };
        let leaving = if self.is_leaving { ", leaving" } else { "" };
        let drained = if self.is_drained { ", drained" } else { "" };
        let cpu = self.cpu_percent.map(|cpu| format!(", CPU {cpu:.0} %")).unwrap_or_default();
        let language = self.language.map(|language| format!(", {language}")).unwrap_or_default();
        let leases = text::counted(self.leases as u64, "lease");
        format!("  {}  {leases}, {age}{stale}{leaving}{drained}{cpu}{language}", self.id)
    }
}

impl LeaseView {
    fn text(&self) -> String {
        let owner = self.owner.as_deref().unwrap_or("-");
        let next = self.next_owner.as_ref().map(|next| format!(" -> {next}")).unwrap_or_default();
        let lag = match &self.lag {
            None => String::new(),
            Some(Lag::Millis(millis)) => format!("  lag {}", text::duration(Duration::from_millis(*millis))),
            Some(Lag::Unknown(reason)) => format!("  lag unknown ({reason})"),
        };
        format!("  {}  {owner}{next}  at {}{lag}", self.name(), self.checkpoint)
    }
}
