//! A record processor that does what its records say, for tests of the daemon.
//!
//! Arguments: `journal=FILE` takes every line that it reads and writes, `as=CLIENT` writes the bytes of that client (`python`,
//! `node`, which are Ruby's too, `net`, `net-windows`), `end=PLAN` is what it does at the end of its shard
//! (`no-checkpoint-once`, `die-once`), `eager` and `greedy` have it checkpoint at its start and when its lease is lost,
//! `chatty` writes a megabyte while it reads a line, `exit=CODE` is its exit code, `linger` has it live on after the end of
//! its input.
//!
//! Data of records: `die`, `die-once`, `leave-once`, `hang-once`, `garbage`, `late`, `double`, `wrong-once`, `say LINE`,
//! `flood`, `trail`, `trace`, `wait`, which waits for the file FILE.go, and `by-number`, which checkpoints by its own sequence
//! number; anything else is a value. A batch is checkpointed before its answer, unless it is `late` or a record is
//! `no-checkpoint`.

use std::{
    fs::OpenOptions,
    io::{self, BufRead as _, Write as _},
    path::PathBuf,
    process::exit,
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

#[derive(Default)]
struct Child {
    journal: Option<PathBuf>,
    client: String,
    end: String,
    exit: i32,
    is_eager: bool,
    is_greedy: bool,
    is_chatty: bool,
    lingers: bool,
}

fn main() {
    let mut child = Child::default();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=').unwrap_or((&argument, "")) {
            ("journal", path) => child.journal = Some(path.into()),
            ("as", client) => client.clone_into(&mut child.client),
            ("end", plan) => plan.clone_into(&mut child.end),
            ("exit", code) => child.exit = code.parse().expect("it is a number"),
            ("eager", _) => child.is_eager = true,
            ("greedy", _) => child.is_greedy = true,
            ("chatty", _) => child.is_chatty = true,
            ("linger", _) => child.lingers = true,
            _ => panic!("{argument} is unknown"),
        }
    }
    while let Some(line) = child.read() {
        child.act(&parsed(&line));
    }
    if child.lingers {
        sleep(Duration::from_secs(3600));
    }
    exit(child.exit);
}

impl Child {
    fn act(&self, message: &Value) {
        let action = message["action"].as_str().expect("it has an action").to_owned();
        match action.as_str() {
            "processRecords" => return self.process(message),
            "initialize" if self.is_eager => self.checkpoint("null"),
            "leaseLost" if self.is_greedy => self.checkpoint("null"),
            "shardEnded" if self.end == "die-once" && self.is_first("end") => exit(4),
            "shardEnded" if self.end == "no-checkpoint-once" && self.is_first("end") => {}
            "shardEnded" | "shutdownRequested" => self.checkpoint("null"),
            _ => {}
        }
        self.answer(&action);
    }

    fn process(&self, message: &Value) {
        let records = message["records"].as_array().expect("it has records");
        let data: Vec<String> = records.iter().map(decoded).collect();
        let has = |wanted: &str| data.iter().any(|data| data == wanted);
        for (record, data) in records.iter().zip(&data) {
            self.carry_out(record, data);
        }
        let is_late = has("late");
        if !is_late && !has("no-checkpoint") {
            self.checkpoint("null");
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
            self.checkpoint("null");
        }
    }

    fn carry_out(&self, record: &Value, data: &str) {
        match data {
            "die" => exit(3),
            "die-once" if self.is_first("die") => exit(3),
            "leave-once" if self.is_first("leave") => exit(0),
            "hang-once" if self.is_first("hang") => sleep(Duration::from_secs(3600)),
            "wrong-once" if self.is_first("wrong") => self.answer("leaseLost"),
            "flood" => self.write(&"x".repeat(2_000_000)),
            "trace" => eprintln!("Traceback (most recent call last):\nhello from a child"),
            "wait" => self.wait(),
            "by-number" => self.checkpoint(&record["sequenceNumber"].to_string()),
            "garbage" => {
                for line in
                    ["hello", "{\"action\":\"dance\"}", "[1]", "", "{", "null", "{\"action\":\"status\"", "\u{1}\u{7f}"]
                {
                    self.write(line);
                }
                io::stdout().write_all(b"\xff\xfe no newline yet ").expect("it can be written");
            }
            _ => {
                if let Some(line) = data.strip_prefix("say ") {
                    self.write(line);
                    if line.contains("checkpoint") {
                        self.read();
                    }
                }
            }
        }
    }

    fn wait(&self) {
        let path = self.journal.as_ref().expect("it has a journal").with_extension("go");
        while !path.exists() {
            sleep(Duration::from_millis(10));
        }
    }

    /// As the client does: a newline before and after, for .NET only after, on Windows of two characters.
    fn write(&self, line: &str) {
        self.note('>', line);
        let bytes = match self.client.as_str() {
            "net" => format!("{line}\n"),
            "net-windows" => format!("{line}\r\n"),
            _ => format!("\n{line}\n"),
        };
        let mut out = io::stdout();
        out.write_all(bytes.as_bytes()).and_then(|()| out.flush()).expect("it can be written");
    }

    fn answer(&self, action: &str) {
        self.write(&match self.client.as_str() {
            "" | "python" => format!("{{\"action\": \"status\", \"responseFor\": \"{action}\"}}"),
            _ => format!("{{\"action\":\"status\",\"responseFor\":\"{action}\"}}"),
        });
    }

    /// `number` in JSON.
    fn checkpoint(&self, number: &str) {
        self.write(&match self.client.as_str() {
            "" | "python" => {
                format!("{{\"action\": \"checkpoint\", \"sequenceNumber\": {number}, \"subSequenceNumber\": null}}")
            }
            "node" => format!("{{\"action\":\"checkpoint\",\"sequenceNumber\":{number}}}"),
            _ => format!("{{\"action\":\"checkpoint\",\"error\":null,\"sequenceNumber\":{number}}}"),
        });
        // What came in its place is the next action.
        if let Some(line) = self.read() {
            let message = parsed(&line);
            if message["action"] != "checkpoint" {
                self.act(&message);
            }
        }
    }

    fn read(&self) -> Option<String> {
        let mut input = io::stdin().lock();
        if self.is_chatty && !input.fill_buf().expect("it can be read").is_empty() {
            self.write(&"x".repeat(1_000_000));
            eprintln!("{}", "y".repeat(1_000_000));
        }
        let mut line = String::new();
        if input.read_line(&mut line).expect("it can be read") == 0 {
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

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).expect("it is JSON")
}

fn decoded(record: &Value) -> String {
    let bytes = base64_simd::STANDARD.decode_to_vec(record["data"].as_str().expect("it has data"));
    String::from_utf8(bytes.expect("it is base64")).expect("it is UTF-8")
}
