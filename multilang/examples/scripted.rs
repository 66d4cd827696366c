//! A record processor that does what its records say, for tests of the daemon.
//!
//! Arguments: `journal=FILE` takes every line that it reads and writes, `end=PLAN` is what it does at the end of its shard
//! (`no-checkpoint-once`, `die-once`), `linger` has it live on after the end of its input.
//!
//! Data of records: `die`, `die-once`, `hang-once`, `garbage`, `late`, `double`, `wrong-once`, `say LINE`, `flood`, `trail`; anything
//! else is a value. A batch is checkpointed before its answer, unless it is `late` or a record is `no-checkpoint`.

use std::{
    fs::OpenOptions,
    io::{self, BufRead as _, Write as _},
    path::PathBuf,
    process::exit,
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

struct Child {
    journal: Option<PathBuf>,
    end: String,
    linger: bool,
}

fn main() {
    let mut child = Child { journal: None, end: String::new(), linger: false };
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("journal", path)) => child.journal = Some(path.into()),
            Some(("end", plan)) => plan.clone_into(&mut child.end),
            _ => child.linger = argument == "linger",
        }
    }
    while let Some(line) = child.read() {
        let message: Value = serde_json::from_str(&line).expect("it is JSON");
        child.act(&message);
    }
    if child.linger {
        sleep(Duration::from_secs(3600));
    }
}

impl Child {
    fn act(&self, message: &Value) {
        let action = message["action"].as_str().expect("it has an action").to_owned();
        match action.as_str() {
            "processRecords" => return self.process(message),
            "shardEnded" if self.end == "die-once" && self.is_first("end") => exit(4),
            "shardEnded" if self.end == "no-checkpoint-once" && self.is_first("end") => {}
            "shardEnded" | "shutdownRequested" => self.checkpoint(),
            _ => {}
        }
        self.answer(&action);
    }

    fn process(&self, message: &Value) {
        let records = message["records"].as_array().expect("it has records");
        let data: Vec<String> =
            records.iter().map(|record| decode(record["data"].as_str().expect("it has data"))).collect();
        let has = |wanted: &str| data.iter().any(|data| data == wanted);
        for line in data.iter().filter_map(|data| data.strip_prefix("say ")) {
            self.write(line);
            if line.contains("checkpoint") {
                self.read();
            }
        }
        if has("die") || has("die-once") && self.is_first("die") {
            exit(3);
        }
        if has("hang-once") && self.is_first("hang") {
            sleep(Duration::from_secs(3600));
        }
        if has("garbage") {
            for line in
                ["hello", "{\"action\":\"dance\"}", "[1]", "", "{", "null", "{\"action\":\"status\"", "\u{1}\u{7f}"]
            {
                self.write(line);
            }
            io::stdout().write_all(b"\xff\xfe no newline yet ").expect("it can be written");
        }
        if has("flood") {
            self.write(&"x".repeat(2_000_000));
        }
        if has("wrong-once") && self.is_first("wrong") {
            self.answer("leaseLost");
        }
        let is_late = has("late");
        if !is_late && !has("no-checkpoint") {
            self.checkpoint();
        }
        self.answer("processRecords");
        if has("double") {
            self.answer("processRecords");
        }
        if has("trail") {
            io::stdout().write_all(b"no newline").and_then(|()| io::stdout().flush()).expect("it can be written");
        }
        if is_late {
            sleep(Duration::from_millis(300));
            self.checkpoint();
        }
    }

    /// As clients do: a newline before and after.
    fn write(&self, line: &str) {
        self.note('>', line);
        let mut out = io::stdout();
        out.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| out.flush()).expect("it can be written");
    }

    fn answer(&self, action: &str) {
        self.write(&format!("{{\"action\": \"status\", \"responseFor\": \"{action}\"}}"));
    }

    fn checkpoint(&self) {
        self.write("{\"action\": \"checkpoint\", \"sequenceNumber\": null, \"subSequenceNumber\": null}");
        // What came in its place is the next action.
        if let Some(line) = self.read() {
            let message: Value = serde_json::from_str(&line).expect("it is JSON");
            if message["action"] != "checkpoint" {
                self.act(&message);
            }
        }
    }

    fn read(&self) -> Option<String> {
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).expect("it can be read") == 0 {
            self.note('<', "EOF");
            return None;
        }
        self.note('<', line.trim_end());
        Some(line)
    }

    fn note(&self, direction: char, line: &str) {
        let Some(path) = &self.journal else { return };
        let line = format!("{} {direction} {line}\n", std::process::id());
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("it can be written");
    }

    /// True once for each name, in all processes of one journal.
    fn is_first(&self, name: &str) -> bool {
        let Some(path) = &self.journal else { return true };
        OpenOptions::new().write(true).create_new(true).open(path.with_extension(name)).is_ok()
    }
}

fn decode(text: &str) -> String {
    let bytes = base64_simd::STANDARD.decode_to_vec(text).expect("it is base64");
    String::from_utf8(bytes).expect("it is UTF-8")
}
