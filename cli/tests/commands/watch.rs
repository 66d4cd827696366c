//! `kds watch`, driven in a pseudo-terminal.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    process::Stdio,
    sync::mpsc,
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::support::{PATIENCE, World, ended};

/// Our side of a terminal of 100 columns, and what is written to it.
struct Terminal {
    side: File,
    written: mpsc::Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn open() -> (Self, File) {
        let side = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&side).unwrap();
        unlockpt(&side).unwrap();
        let name = ptsname(&side, Vec::new()).unwrap().into_string().unwrap();
        let other = OpenOptions::new().read(true).write(true).open(name).unwrap();
        tcsetwinsize(&other, Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let side = File::from(side);
        let (sender, written) = mpsc::channel();
        let mut reading = side.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            // An error: the other side is closed.
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        (Self { side, written, text: String::new() }, other)
    }

    /// Waits until this is written after what was waited for before.
    fn until(&mut self, text: &str) {
        while !self.text.contains(text) {
            let written = self.written.recv_timeout(PATIENCE);
            let written = written.unwrap_or_else(|_| panic!("no {text} in {:?}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&written));
        }
        self.text = self.text.split_off(self.text.find(text).unwrap_or(0) + text.len());
    }

    fn press(&mut self, keys: &str) {
        self.side.write_all(keys.as_bytes()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_a_fleet_opens_a_shard_and_quits() {
    let world = World::start().await;
    world.put("alpha", "one").await;
    let worker = world.worker("w1");
    world
        .until_fleet("--no-lag", |fleet| {
            fleet["leases"].as_array().unwrap().iter().filter(|it| it["owner"] == "w1").count() == 2
        })
        .await;
    let (mut terminal, other) = Terminal::open();
    let mut command = world.command("watch printer --every 1s");
    command.stdin(other.try_clone().unwrap()).stdout(other).env("TERM", "xterm-256color");
    let watch = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(command);

    let quit = tokio::task::spawn_blocking(move || {
        terminal.until("worst");
        // The end of the first picture; then only what changes is drawn.
        terminal.until("quit");
        terminal.press("s");
        terminal.until("shard");
        terminal.press("s");
        terminal.until("owner");
        terminal.press("\r");
        terminal.until("pending");
        terminal.press("q");
        // The screen of before is back.
        terminal.until("\u{1b}[?1049l");
    });

    tokio::time::timeout(PATIENCE, quit).await.unwrap().unwrap();
    let ended = ended(watch).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_a_terminal_and_of_a_missing_fleet_is_refused() {
    let world = World::start().await;

    world.run("watch printer").await.fails_with(&["a page needs a terminal", "kds fleet"]);

    let (mut terminal, other) = Terminal::open();
    let mut command = world.command("watch missing");
    command.stdin(other.try_clone().unwrap()).stdout(other);
    let refused = ended(command.spawn().unwrap()).await;
    refused.fails_with(&["lease table missing does not exist"]);
    drop(command);
    terminal.press("");
    assert!(terminal.written.recv_timeout(Duration::ZERO).is_err(), "nothing is drawn");
}
