//! `kds serve` and `kds report`: a fleet as one self-contained page, live or as a snapshot.

mod answer;
mod look;
mod page;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use self::{answer::Answering, look::Looks};
use crate::{
    aws::{Aws, stream_name::StreamName},
    connections,
    failure::Failure,
    moment::up_to_an_hour,
    output, stop, whole_file,
};

/// The fleet that is shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct Shown {
    /// Name of the application's lease table
    #[arg(value_name = "APP")]
    application: String,
    /// Stream of the application [default: as workers of kcl note it]
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Do not ask the stream for the lag
    #[arg(long)]
    no_lag: bool,
}

/// Arguments of `kds serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    shown: Shown,
    /// Port; 0 is any free one
    #[arg(long, default_value_t = 7_878)]
    port: u16,
    /// Address; one that is not of this machine alone needs a token
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Token that a request must have, as ?token=TOKEN
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = up_to_an_hour)]
    every: Duration,
}

/// Arguments of `kds report`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArguments {
    #[command(flatten)]
    shown: Shown,
    /// File to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Writes a snapshot to a file, which is replaced as a whole.
pub(crate) async fn report(aws: &Aws, arguments: ReportArguments) -> Result<(), Failure> {
    let Shown { application, stream, no_lag } = arguments.shown;
    let look = look::look(aws, &application, stream.as_ref(), no_lag).await?;
    let page = page::snapshot(&application, &look);
    whole_file::replace(&arguments.output, page.as_bytes())
        .map_err(|error| Failure::new(format!("{} cannot be written", arguments.output.display()), error))
}

/// Serves the page until a signal. Only reads.
pub(crate) async fn serve(aws: &Aws, arguments: ServeArguments) -> Result<(), Failure> {
    let ServeArguments { shown, port, bind, token, every } = arguments;
    if !bind.is_loopback() && token.is_none() {
        let what = format!("{bind} is reached from other machines");
        return Err(Failure::usage(what, "pass --token, or leave out --bind"));
    }
    let first = look::look(aws, &shown.application, shown.stream.as_ref(), shown.no_lag).await?;
    let address = SocketAddr::from((bind, port));
    let unbound = |error| {
        Failure::new(format!("{address} cannot be served on ({error})"), "pass another --port; 0 is any free one")
    };
    let listener = TcpListener::bind(address).await.map_err(unbound)?;
    let address = listener.local_addr().map_err(unbound)?;
    let query = token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
    output::print(false, &(), || format!("http://{address}/{query}\n"))?;
    let (sender, looks) = watch::channel(Arc::new(Looks::default()));
    add(&sender, &first);
    let answering = Answering::new(&shown.application, token, looks);
    let (stop, mut serving) = (stop::on_signal()?, JoinSet::new());
    serving.spawn(connections::answer(listener, move |request| answering.answer(request)));
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => match look::look(aws, &shown.application, shown.stream.as_ref(), shown.no_lag).await {
                Ok(look) => add(&sender, &look),
                Err(failure) => add(&sender, &look::failed(&failure)),
            },
            Some(Err(panicked)) = serving.join_next() => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

fn add(sender: &watch::Sender<Arc<Looks>>, look: &str) {
    sender.send_modify(|looks| Arc::make_mut(looks).add(look));
}
