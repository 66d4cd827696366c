//! KPL for Java, a loop over PutRecords by hand, and `kpl`: each writes into a stream of its own.

use tokio::process::Command;

use super::Places;
use super::arguments::Arguments;
use super::clients::Services;
use super::contest::{Contest, Run};
use super::server::Server;
use super::work::{SHARDS, STREAM, Work};

const CASES: [Work; 3] = [
    Work { records: 1_000_000, bytes: 100, aggregated: true },
    Work { records: 200_000, bytes: 1024, aggregated: true },
    Work { records: 200_000, bytes: 1024, aggregated: false },
];
const JAVA: &str = "KPL for Java 1.0.7";
const BY_HAND: &str = "PutRecords by hand";
const OURS: &str = "kpl";

pub(super) async fn measure(places: &Places<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    for case in CASES {
        let work = Work { records: arguments.records(case.records), ..case };
        let mut contest = Contest::new(work, &[JAVA, BY_HAND, OURS]);
        for _ in 0..arguments.rounds() {
            for name in [JAVA, BY_HAND, OURS] {
                contest.add(name, run(places, name, work).await?)?;
            }
        }
        contest.report("Producers");
    }
    Ok(())
}

async fn run(places: &Places<'_>, name: &str, work: Work) -> anyhow::Result<Run> {
    let mut server = Server::start("server", places.logs).await?;
    server.create_stream(STREAM, SHARDS).await?;
    let command = match name {
        JAVA => places.java.kpl(server.services(), work)?,
        BY_HAND => own("by-hand", server.services(), work)?,
        _ => own("kpl", server.services(), work)?,
    };
    let run = Run::of((name, command), &mut server, 0, places.logs).await?;
    server.end().await?;
    Ok(run)
}

/// A producer in a role of this program.
pub(super) fn own(role: &str, services: &Services, work: Work) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role).args(services.arguments());
    command.args(["--records", &work.records.to_string(), "--bytes", &work.bytes.to_string()]);
    if work.aggregated {
        command.arg("--aggregated");
    }
    Ok(command)
}
