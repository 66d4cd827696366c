//! KCL for Java and `kcl`: each reads the whole of one stream, as another application at each run.

use tokio::process::Command;

use super::Places;
use super::arguments::Arguments;
use super::candidate::Candidate;
use super::clients::Services;
use super::contest::{Contest, Run};
use super::producers;
use super::server::Server;
use super::work::{SHARDS, STREAM, Work};

const CASES: [Work; 3] = [
    Work { records: 1_000_000, bytes: 100, aggregated: true },
    Work { records: 1_000_000, bytes: 100, aggregated: false },
    Work { records: 200_000, bytes: 1024, aggregated: false },
];
const JAVA: &str = "KCL for Java 3.5.1";
const OURS: &str = "kcl";

pub(super) async fn measure(places: &Places<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    for case in CASES {
        let work = Work { records: arguments.records(case.records), ..case };
        let mut server = Server::start("server", places.logs).await?;
        server.create_stream(STREAM, SHARDS).await?;
        let mut filling = Candidate::start("filling", producers::own("kpl", server.services(), work)?, places.logs)?;
        filling.done().await?;
        filling.end().await?;
        let mut contest = Contest::new(work, &[JAVA, OURS]);
        for round in 0..arguments.rounds() {
            for (name, kind) in [(JAVA, "java"), (OURS, "kcl")] {
                let application = format!("{kind}-{round}");
                let command = worker(places, kind, server.services(), (&application, "worker", work.records))?;
                contest.add(name, Run::of((name, command), &mut server, work.sum(), places.logs).await?)?;
            }
        }
        server.end().await?;
        contest.report("Consumers");
    }
    Ok(())
}

/// A worker of either kind: its application, id, and the records that there are.
pub(super) fn worker(
    places: &Places<'_>,
    kind: &str,
    services: &Services,
    (application, worker, records): (&str, &str, usize),
) -> anyhow::Result<Command> {
    if kind == "java" {
        return Ok(places.java.kcl(services, (application, worker), records));
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("kcl").args(services.arguments());
    command.args(["--application", application, "--worker", worker, "--records", &records.to_string()]);
    Ok(command)
}
