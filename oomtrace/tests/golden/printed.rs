//! What `oomtrace timeline` prints of a case, in a form whose differences can be read.

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use super::cases::Case;

/// So many lines of a page are kept.
const LONGEST_PAGE: usize = 150;

/// All that is printed of a case.
pub(crate) fn of(case: &Case, inputs: &Path) -> String {
    let text = run(case, inputs, "text");
    let json = run(case, inputs, "json");
    let mut all = format!("$ oomtrace timeline {}\n", case.arguments.join(" "));
    let _ = writeln!(all, "exit status: {}", text.status.code().unwrap_or(-1));
    section(&mut all, "standard error", &without_times(&lossy(&text.stderr)));
    if json.status != text.status || without_times(&lossy(&json.stderr)) != without_times(&lossy(&text.stderr)) {
        section(&mut all, "standard error with --format json", &without_times(&lossy(&json.stderr)));
    }
    section(&mut all, "text", &lossy(&text.stdout));
    section(&mut all, "json", &a_field_a_line(&lossy(&json.stdout)));
    if !case.arguments.iter().any(|argument| argument == "--summary") {
        section(&mut all, "html", &start_of_body(&lossy(&run(case, inputs, "html").stdout)));
    }
    all
}

fn run(case: &Case, inputs: &Path, format: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oomtrace"))
        .arg("timeline")
        .args(&case.arguments)
        .args(["--format", format])
        .current_dir(inputs.join(&case.folder))
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .expect("oomtrace runs")
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn section(all: &mut String, title: &str, text: &str) {
    let _ = writeln!(all, "\n== {title}\n{}", text.trim_end());
}

/// The program's own messages without the time at which they were printed.
fn without_times(said: &str) -> String {
    let lines = said.lines().map(|line| {
        let behind = line.split_once("Z ").filter(|(time, _)| time.parse::<jiff::civil::DateTime>().is_ok());
        behind.map_or(line, |(_, rest)| rest.trim_start())
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// JSON lines, with each field of the outermost object on a line of its own.
fn a_field_a_line(lines: &str) -> String {
    let mut all = String::new();
    for line in lines.lines() {
        let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
        for character in line.chars() {
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '{' | '[' if !quoted => depth += 1,
                '}' | ']' if !quoted => depth -= 1,
                _ => {}
            }
            all.push(character);
            if character == ',' && !quoted && depth == 1 {
                all.push('\n');
            }
        }
        all.push('\n');
    }
    all
}

/// A page without its head and its script, which are the same in all of them, an element a line; of a long page its first lines,
/// and how long the rest is.
fn start_of_body(page: &str) -> String {
    let body = page.split_once("<body>").map_or(page, |(_, body)| body);
    let body = body.rsplit_once("<script>").map_or(body, |(body, _)| body).replace("><", ">\n<");
    let Some((end, _)) = body.match_indices('\n').nth(LONGEST_PAGE) else { return body };
    let (start, rest) = body.split_at(end);
    format!("{start}\n(and {} lines more, {} bytes)", rest.trim().lines().count(), rest.len())
}
