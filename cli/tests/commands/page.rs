//! The commands and options that `docs/kds.md` and the README name: each exists, and each command is on the page.

use std::path::Path;

use clap::Command;

/// `kds`, with the options of all commands in each.
fn kds() -> Command {
    let mut command = kds::command();
    command.build();
    command
}

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap()
}

/// The text outside of fenced blocks, and the lines within.
fn split(page: &str) -> (Vec<&str>, Vec<&str>) {
    let mut is_block = false;
    let (mut text, mut block) = (Vec::new(), Vec::new());
    for line in page.lines() {
        match line.starts_with("```") {
            true => is_block = !is_block,
            false if is_block => block.push(line),
            false => text.push(line),
        }
    }
    (text, block)
}

/// Pieces of code in a line of text.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Command lines of `kds` in blocks, without what a shell does with them.
fn command_lines(block: &[&str]) -> Vec<Vec<String>> {
    let lines =
        block.iter().map(|line| line.strip_prefix("$ ").unwrap_or(line)).filter(|line| line.starts_with("kds "));
    let lines = lines.map(|line| line.split(" && ").next().unwrap_or(line));
    lines
        .map(|line| {
            line.split_whitespace().take_while(|word| !["|", ">", "#"].contains(word)).map(str::to_owned).collect()
        })
        .collect()
}

/// The commands that a piece of code names: `kds stream create|delete NAME` names two.
fn named<'c>(kds: &'c Command, code: &str) -> Vec<&'c Command> {
    let mut found = vec![kds];
    for word in code.split_whitespace().skip(1) {
        let of_one = |name: &str| found.iter().find_map(|command| command.find_subcommand(name));
        let next: Option<Vec<&Command>> = word.split('|').map(of_one).collect();
        match next {
            Some(next) => found = next,
            None => break,
        }
    }
    assert!(found[0].get_name() != "kds" || code == "kds", "{code} names no command");
    found
}

/// Options in the words of a text, without their values.
fn options(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c.is_whitespace() || "[](),=".contains(c));
    words.filter(|word| word.starts_with('-') && word.len() > 1)
}

fn has(command: &Command, option: &str) -> bool {
    let is_it = |argument: &clap::Arg| match option.strip_prefix("--") {
        Some(long) => {
            let aliases = argument.get_visible_aliases().unwrap_or_default();
            argument.get_long() == Some(long) || aliases.contains(&long)
        }
        None => argument.get_short() == option[1..].chars().next(),
    };
    command.get_arguments().any(is_it) || command.get_subcommands().any(|inner| has(inner, option))
}

#[test]
fn every_command_line_of_the_documentation_is_understood() {
    let mut lines = 0;
    for name in ["docs/kds.md", "docs/samples.md", "docs/operate.md", "docs/start.md", "README.md"] {
        let page = read(name);
        for words in command_lines(&split(&page).1) {
            let parsed = kds().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{name}: {}: {}", words.join(" "), parsed.unwrap_err());
            lines += 1;
        }
    }
    assert!(lines > 18, "{lines} command lines are found");
}

#[test]
fn every_option_that_the_page_names_exists_in_the_command_of_its_section() {
    let (kds, page) = (kds(), read("docs/kds.md"));
    let mut section = vec![&kds];
    let mut found = 0;
    for line in split(&page).0 {
        if line.starts_with('#') {
            section = spans(line).filter(|code| code.starts_with("kds")).flat_map(|code| named(&kds, code)).collect();
            if section.is_empty() {
                section.push(&kds);
            }
        }
        for code in spans(line) {
            let commands = match code.starts_with("kds ") {
                true => named(&kds, code),
                // Other programs.
                false if ["cargo", "kill"].iter().any(|program| code.starts_with(program)) => continue,
                false => section.clone(),
            };
            for option in options(code) {
                found += 1;
                assert!(commands.iter().any(|command| has(command, option)), "{option} in `{code}` does not exist");
            }
        }
    }
    assert!(found > 50, "{found} options are found");
}

#[test]
fn every_command_is_on_the_page() {
    let (kds, page) = (kds(), read("docs/kds.md"));
    for command in kds.get_subcommands().filter(|command| command.get_name() != "help") {
        assert!(page.contains(&format!("kds {}", command.get_name())), "kds {}", command.get_name());
    }
}
