//! The pictures of the documentation, drawn from what oomtrace prints of captures of real nodes.

use std::{env, fmt::Write as _, fs, path::Path};

use super::{blocks::root, commands::Samples};

/// Set to anything: what is printed now becomes what is shown.
const BLESS: &str = "OOMTRACE_DOCS_BLESS";

/// Columns of the terminal that is drawn.
const COLUMNS: &str = "104";
/// The width of a letter and the height of a line.
const LETTER: (f64, f64) = (7.8, 19.0);
const MARGIN: f64 = 14.0;
/// The colours of a light terminal, by the number that sets them.
const COLOURS: [(&str, &str); 6] =
    [("31", "#c62828"), ("32", "#2e7d32"), ("33", "#9a6700"), ("34", "#1565c0"), ("35", "#8e24aa"), ("36", "#00838f")];

pub(super) fn bless() -> bool {
    env::var_os(BLESS).is_some()
}

/// Compares a picture with the one that is shown, or replaces that.
fn compare(name: &str, drawn: &str) {
    let file = root().join("deploy").join(name);
    if bless() {
        fs::write(&file, drawn).expect("written");
    }
    let shown = fs::read_to_string(&file).unwrap_or_default();
    assert!(shown == drawn, "{}: it is not what is printed; {BLESS}=1 replaces it", file.display());
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A terminal with this text, in the colours that its escape sequences set.
fn terminal(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let columns: f64 = COLUMNS.parse().expect("a number");
    let count = u32::try_from(lines.len()).expect("few lines");
    let (width, height) = (columns * LETTER.0 + 2.0 * MARGIN, f64::from(count) * LETTER.1 + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
         <style>text {{ font: 13px ui-monospace, Menlo, Consolas, monospace; white-space: pre; fill: #1f2328; }}</style>\n\
         <rect width=\"{width:.0}\" height=\"{height:.0}\" rx=\"6\" fill=\"#f6f8fa\"/>\n"
    );
    for (number, line) in (1_u32..).zip(lines) {
        let y = MARGIN + f64::from(number) * LETTER.1 - 5.0;
        let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{y}\" xml:space=\"preserve\">{}</text>", spans(line));
    }
    svg + "</svg>\n"
}

/// A line whose parts have the look that its escape sequences set.
fn spans(line: &str) -> String {
    let (mut spans, mut look) = (String::new(), String::new());
    for (number, part) in line.split("\u{1b}[").enumerate() {
        let text = match part.split_once('m').filter(|_| number > 0) {
            Some((codes, text)) => {
                for code in codes.split(';') {
                    match code {
                        "0" => look.clear(),
                        "1" => look.push_str(" font-weight=\"bold\""),
                        "2" => look.push_str(" fill-opacity=\"0.6\""),
                        code => {
                            let colour = COLOURS.iter().find(|(known, _)| *known == code).expect("a known colour").1;
                            let _ = write!(look, " style=\"fill:{colour}\"");
                        }
                    }
                }
                text
            }
            None => part,
        };
        if !text.is_empty() {
            let _ = write!(spans, "<tspan{look}>{}</tspan>", escaped(text));
        }
    }
    spans
}

#[test]
fn the_terminal_that_is_shown_is_what_is_printed() {
    let samples = Samples::new();
    let shown = "oomtrace timeline dmesg.txt kubelet.log pods.json --container init-db";
    let mut process = samples.process();
    process.args(shown.split(' ').skip(1)).args(["--format", "text", "--color", "always", "--log-level", "error"]);
    let output = process.env("COLUMNS", COLUMNS).output().expect("oomtrace starts");
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    compare("timeline.svg", &terminal(&format!("\u{1b}[2m$\u{1b}[0m {shown}\n{printed}")));
}

#[test]
fn the_report_that_is_shown_is_what_is_printed() {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/live/n-crash.jsonl.zst");
    let samples = Samples::new();
    let mut process = samples.process();
    process.args(["timeline", "--full", "--format", "html", "--events"]).arg(capture);
    let page = String::from_utf8(process.output().expect("oomtrace starts").stdout).expect("UTF-8");
    let cut = |from: &str, to: &str| {
        let (_, rest) = page.split_once(from).expect("it begins");
        rest.split_once(to).expect("it ends").0.to_owned()
    };
    let style = style(include_str!("../../src/sink/html/style.css"));
    let drawing = cut("<svg ", "</svg>");
    let (attributes, drawing) = drawing.split_once('>').expect("a tag");
    let size = attributes.split_once("viewBox=\"0 0 ").and_then(|(_, size)| size.split_once('"')).expect("a size").0;
    let (width, height) = size.split_once(' ').expect("a width and a height");
    compare(
        "incident.svg",
        &format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" {attributes}>\n<style>\n{style}</style>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>{drawing}</svg>\n"
        ),
    );
}

/// The report's rules for drawings, with the values that its variables have by default: a picture has no page around it.
fn style(css: &str) -> String {
    let values = || css.lines().take_while(|line| !line.contains("@media")).flat_map(|line| line.split(';'));
    let mut rules: String = css
        .lines()
        .filter(|line| line.starts_with("svg ") && !line.starts_with("svg {"))
        .fold(String::new(), |rules, line| rules + line + "\n");
    for (name, value) in values().filter_map(|value| value.rsplit_once("--")?.1.split_once(": ")) {
        rules = rules.replace(&format!("var(--{name})"), value);
    }
    assert!(!rules.is_empty() && !rules.contains("var("), "{rules}");
    rules
}

#[test]
fn what_is_coloured_on_a_terminal_is_coloured_in_the_picture() {
    assert_eq!(
        spans("\u{1b}[1m\u{1b}[31ma<b\u{1b}[0m c"),
        "<tspan font-weight=\"bold\" style=\"fill:#c62828\">a&lt;b</tspan><tspan> c</tspan>"
    );
}
