//! Memory of processes that cannot get rid of what they hold: `cargo bench -p integration-tests --bench memory`, with
//! `producer` or `consumer` for one of the two. Each case is a process of its own.

use std::{env, process::Command};

mod consumer;
mod producer;

/// Runs this bench again, with these arguments.
fn in_own_process(arguments: &[String]) {
    let this = env::current_exe().expect("the bench");
    let status = Command::new(this).args(arguments).status().expect("it starts");
    assert!(status.success(), "{status}");
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let asked = arguments.iter().find(|argument| argument.parse::<usize>().is_err()).map(String::as_str);
    match (asked, numbers.as_slice()) {
        (Some("producer"), [bytes, shards]) => return producer::measure(*bytes, *shards),
        (Some("consumer"), [case]) => return consumer::measure(*case),
        _ => {}
    }
    if asked != Some("consumer") {
        for (bytes, shards) in producer::CASES {
            in_own_process(&["producer".to_owned(), bytes.to_string(), shards.to_string()]);
        }
    }
    if asked != Some("producer") {
        for case in 0..consumer::CASES.len() {
            in_own_process(&["consumer".to_owned(), case.to_string()]);
        }
    }
}
