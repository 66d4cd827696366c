//! `kds watch`: a fleet as a live page on the terminal.

mod draw;
mod model;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use clap::Args;
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read as read_event};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use self::model::Model;
use crate::{
    aws::{Aws, stream_name::StreamName},
    failure::Failure,
    fleet::{lag, read, view::FleetView},
    moment::up_to_an_hour,
    stop,
};

/// Keys that wait to be handled; a person types no faster.
const KEYS: usize = 64;

/// Arguments of `kds watch`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Keys: s sort, / filter, arrows or j and k select, enter opens a shard, esc goes back, q quits."
)]
pub(crate) struct WatchArguments {
    /// Name of the application's lease table
    #[arg(value_name = "APP")]
    application: String,
    /// Stream of the application [default: as workers of kcl note it]
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = up_to_an_hour)]
    every: Duration,
    /// Do not ask the stream for the lag
    #[arg(long)]
    no_lag: bool,
}

/// Shows the fleet until `q` or a signal. Only reads.
pub(crate) async fn run(aws: &Aws, arguments: WatchArguments) -> Result<(), Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::new("a page needs a terminal", "kds fleet prints the same once"));
    }
    // An application that does not exist is reported as by other commands, not on a page.
    let first = look(aws, &arguments).await?;
    let unusable = |error: io::Error| Failure::new("the terminal cannot be used", error);
    let mut terminal = ratatui::try_init().map_err(unusable)?;
    let outcome = show(aws, &arguments, &mut terminal, first).await;
    ratatui::try_restore().map_err(unusable)?;
    outcome
}

async fn show(
    aws: &Aws,
    arguments: &WatchArguments,
    terminal: &mut ratatui::DefaultTerminal,
    first: FleetView,
) -> Result<(), Failure> {
    let (stop, mut keys, mut model) = (stop::on_signal()?, keys(), Model::default());
    model.take(first, aws.clock.now());
    let mut ticks = interval(arguments.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        let drawn = terminal.draw(|frame| draw::draw(frame, &model));
        drawn.map_err(|error| Failure::new("the terminal cannot be drawn to", error))?;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => match look(aws, arguments).await {
                Ok(view) => model.take(view, aws.clock.now()),
                Err(failure) => model.failed(&failure),
            },
            key = keys.recv() => match key {
                Some(key) if !model.press(key) => {}
                _ => return Ok(()),
            },
        }
    }
}

async fn look(aws: &Aws, arguments: &WatchArguments) -> Result<FleetView, Failure> {
    let mut view = read::read(aws, &arguments.application).await?;
    if !arguments.no_lag {
        let stream = read::stream_of(&view, arguments.stream.clone());
        lag::measure(aws, &mut view, stream.as_ref()).await;
    }
    Ok(view)
}

/// Keys that are pressed, from a thread that ends with the process; Ctrl-C is one of them.
fn keys() -> mpsc::Receiver<KeyCode> {
    let (sender, receiver) = mpsc::channel(KEYS);
    std::thread::spawn(move || {
        while let Ok(event) = read_event() {
            let key = match event {
                Event::Key(key) if key.kind == KeyEventKind::Release => continue,
                Event::Key(key) if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') => {
                    KeyCode::Null
                }
                Event::Key(key) => key.code,
                // Drawn anew.
                Event::Resize(..) => KeyCode::F(12),
                _ => continue,
            };
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    receiver
}
