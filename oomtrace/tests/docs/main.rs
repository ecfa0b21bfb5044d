//! The documentation, held to what it says: every block of every page is run here, parsed by the command line that it is for, or
//! named below with the reason why it is neither. Nothing is skipped silently: what is not known is refused.

mod blocks;
mod commands;
mod links;
mod pictures;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Output,
};

use oomtrace::{confinement::Confinement, metrics::Metrics};
use serde_json::Value;

use self::{
    blocks::{Block, blocks, commands as commands_of, pages, root},
    commands::Samples,
};

/// Blocks that are no commands, by how they begin, and what holds them to the truth.
const TEXTS: [(&str, &str); 4] = [
    ("            oomtrace-common", "the crates: the compiler refuses other arrows"),
    ("kernel probes ──ring buffer──┐", "a drawing"),
    ("The node's memory: 1.9 GiB, kubelet v1.36.3", "cut from a captured node: tests/node compares its figures"),
    ("Through every lens", "cut from a real container: the kernel tests compare its figures"),
];

/// The longest line of a page that is in no table and no block.
const WIDEST: usize = 130;

#[test]
fn every_command_is_one_that_there_is() {
    let mut wrong = Vec::new();
    for block in pages().iter().flat_map(blocks) {
        match block.language.as_str() {
            "sh" => {
                let commands = block.lines.iter().flat_map(|line| commands_of(line));
                wrong.extend(
                    commands.filter_map(|command| Some(format!("{}: {}", block.at, commands::wrong(&command)?))),
                );
            }
            "console" | "json" | "toml" => {}
            "text"
                if TEXTS.iter().any(|(start, _)| block.lines.first().is_some_and(|line| line.starts_with(start))) => {}
            language => {
                wrong.push(format!("{}: nothing checks a block of `{language}` that begins like this", block.at));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_in_a_sentence_is_one_that_there_is() {
    let mut wrong = Vec::new();
    for page in pages() {
        let quoted = links::outside_blocks(&page.text).flat_map(|line| line.split('`').skip(1).step_by(2));
        // What stands for several commands is none.
        let whole = quoted.filter(|code| code.starts_with("oomtrace ") && !code.contains(['…', '|', '[', '*']));
        let refused = whole.flat_map(commands_of).filter_map(|command| commands::refused(&command));
        wrong.extend(refused.map(|refused| format!("{}: {refused}", page.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_reason_for_not_running_something_is_used() {
    let blocks: Vec<_> = pages().iter().flat_map(blocks).collect();
    for (start, _) in TEXTS {
        assert!(blocks.iter().any(|block| block.lines.first().is_some_and(|line| line.starts_with(start))), "{start}");
    }
    let shell = blocks.iter().filter(|block| block.language == "sh");
    let commands: Vec<_> = shell.flat_map(|block| &block.lines).flat_map(|line| commands_of(line)).collect();
    commands::every_reason_is_used(&commands);
}

#[test]
fn what_can_run_here_runs() {
    let samples = Samples::new();
    let mut ran = 0;
    for block in pages().iter().flat_map(blocks).filter(|block| block.language == "sh") {
        for command in block.lines.iter().flat_map(|line| commands_of(line)) {
            if commands::is_to_run(&command) {
                ran += 1;
                let output = samples.run(&command.words[1..]);
                assert!(output.status.success(), "{}: {command:?} ends with {}", block.at, said(&output));
            }
        }
    }
    assert!(ran > 10, "only {ran} commands were run");
}

fn said(output: &Output) -> String {
    format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))
}

/// A command behind a `$`, and what it printed.
fn shown(block: &Block) -> (Vec<String>, Vec<String>) {
    let (first, printed) = block.lines.split_first().expect("a command");
    let command = first.strip_prefix("$ oomtrace ").unwrap_or_else(|| panic_at(block));
    let mut commands = commands_of(command);
    (commands.pop().expect("a command").words, printed.to_vec())
}

#[expect(clippy::panic, reason = "a test")]
fn panic_at(block: &Block) -> ! {
    panic!("{}: a block of `console` begins with `$ oomtrace`", block.at)
}

#[test]
fn what_is_shown_is_what_is_printed() {
    let samples = Samples::new();
    let mut compared = 0;
    for mut page in pages() {
        for block in blocks(&page).into_iter().filter(|block| block.language == "console") {
            compared += 1;
            let (words, printed) = shown(&block);
            let output = samples.run(&words);
            assert!(output.status.success(), "{}: {}", block.at, said(&output));
            let now = String::from_utf8(output.stdout).expect("UTF-8");
            if pictures::bless() {
                let (before, after) = (block.lines.join("\n"), format!("{}\n{}", block.lines[0], now.trim_end()));
                page.text = page.text.replacen(&format!("{before}\n```"), &format!("{after}\n```"), 1);
            } else {
                assert_eq!(now.lines().collect::<Vec<_>>(), printed, "{}", block.at);
            }
        }
        if pictures::bless() {
            fs::write(root().join(&page.name), &page.text).expect("written");
        }
    }
    assert!(compared > 1, "only {compared} blocks were compared");
}

/// Whether every field of the one is in the other, with the same value.
fn is_part_of(part: &Value, whole: &Value) -> bool {
    match (part.as_object(), whole.as_object()) {
        (Some(part), Some(whole)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| is_part_of(part, whole)))
        }
        _ => part == whole,
    }
}

#[test]
fn lines_that_are_shown_shortened_are_parts_of_real_ones() {
    let samples = Samples::new();
    let output = samples.run(&["timeline", "--events", "node1.jsonl", "--format", "json"].map(str::to_owned));
    let real: Vec<Value> = String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let mut found = 0;
    for block in pages().iter().flat_map(blocks).filter(|block| block.language == "json") {
        let shown: Value = serde_json::from_str(&block.lines.concat()).expect("JSON");
        assert!(real.iter().any(|real| is_part_of(&shown, real)), "{}: no such line: {shown}", block.at);
        found += 1;
    }
    assert!(found > 0, "no line is shown");
}

#[test]
fn configurations_that_are_shown_are_valid() {
    let samples = Samples::new();
    let mut found = 0;
    for block in pages().iter().flat_map(blocks).filter(|block| block.language == "toml") {
        fs::write(samples.path("shown.toml"), block.lines.join("\n")).expect("written");
        let output = samples.run(&["config", "--config", "shown.toml"].map(str::to_owned));
        assert!(output.status.success(), "{}: {}", block.at, said(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("shown.toml:"), "{}: nothing is in it", block.at);
        found += 1;
    }
    assert!(found > 0, "no configuration is shown");
}

#[test]
fn readme_fits_in_200_lines_and_no_line_is_too_wide() {
    for page in pages() {
        assert!(page.name != "README.md" || page.text.lines().count() <= 200, "README.md has more than 200 lines");
        if !page.name.starts_with("oomtrace/docs") && page.name != "README.md" {
            continue;
        }
        let mut in_block = false;
        for (number, line) in page.text.lines().enumerate() {
            in_block ^= line.starts_with("```");
            let is_prose = !in_block && !line.starts_with('|');
            assert!(!is_prose || line.chars().count() <= WIDEST, "{}:{}: too wide", page.name, number + 1);
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let wrong: Vec<_> = pages.iter().flat_map(|page| links::wrong(page, &root())).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A page of the reference.
fn page(name: &str) -> String {
    fs::read_to_string(root().join("oomtrace/docs").join(name)).expect("a page")
}

#[test]
fn every_kind_of_line_and_every_scenario_is_in_the_reference() {
    let output = Samples::new().run(&["schema".to_owned()]);
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let list = |value: &Value, pointer: &str| {
        let members = value.as_array().into_iter().flatten();
        members.filter_map(|member| Some(member.pointer(pointer)?.as_str()?.to_owned())).collect::<Vec<_>>()
    };
    let kinds = list(&schema["oneOf"], "/properties/kind/const");
    let scenarios = list(&schema["$defs"]["Scenario"]["oneOf"], "/const");
    assert!(kinds.len() > 15 && scenarios.len() > 10, "{kinds:?} {scenarios:?}");
    let (events, verdicts) = (page("events.md"), page("verdicts.md"));
    let is_in = |page: &str, name: &String| {
        let heads = page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split(" | ").next());
        heads.into_iter().any(|head| head.contains(&format!("`{name}`")))
    };
    let missing: Vec<_> = kinds.iter().filter(|name| !is_in(&events, name)).collect();
    let unjudged: Vec<_> = scenarios.iter().filter(|name| !is_in(&verdicts, name)).collect();
    assert!(
        missing.is_empty() && unjudged.is_empty(),
        "not in events.md: {missing:?}; not in verdicts.md: {unjudged:?}"
    );
}

#[test]
fn every_metric_is_in_the_reference() {
    let address =
        Metrics::new(10).serve(&"127.0.0.1:0".parse().expect("an address"), Confinement::default()).expect("served");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE oomtrace_")).collect();
    assert!(types.len() > 12, "{text}");
    let page = page("metrics.md");
    for metric in types.iter().filter_map(|metric| metric.split(' ').next()) {
        let metric = format!("`oomtrace_{}", metric.trim_end_matches("_total").trim_end_matches("_info"));
        let is_there = ["`", "_total`", "_info`"].iter().any(|end| page.contains(&format!("{metric}{end}")));
        assert!(is_there, "metrics.md has no {metric}`");
    }
}

#[test]
fn every_page_of_the_reference_is_linked_in_readme() {
    let pages = pages();
    let readme = &pages.iter().find(|page| page.name == "README.md").expect("a README").text;
    for page in pages.iter().filter(|page| Path::new(&page.name).starts_with("oomtrace/docs")) {
        assert!(readme.contains(&format!("]({}", page.name)), "README.md does not link {}", page.name);
    }
}
