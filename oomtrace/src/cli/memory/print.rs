//! A report of memory as text: exact bytes, so that every sum can be checked.

use super::report::{Report, Said};
use crate::{
    cli::table::Table,
    node::lenses::Sum,
    quantity::size,
    sink::{BOLD, DIM, Look, PLAIN, Page, escape},
};

/// How many processes are shown.
const PROCESSES: usize = 15;

pub(super) fn text(report: &Report, look: Look) -> String {
    let mut text = head(look, &format!("Memory of {}", escape(&report.what)));
    text += &place(report, look);
    text += &table(look, "Through every lens", &lenses(report));
    for sum in &report.sums {
        text += &table(look, &format!("Why: {}", sum.title), &of_sum(sum));
    }
    text += &table(look, "kubectl top", &top(report));
    text += &table(look, "What the kubelet says", &kubelet(report));
    text += &table(look, "Containers", &containers(report));
    text += &table(look, "Volumes of memory", &volumes(report));
    text += &table(look, "Processes", &processes(report));
    if report.processes.len() > PROCESSES {
        text += &look.paint(DIM, &format!("  and {} more\n", report.processes.len() - PROCESSES));
    }
    if !report.missing.is_empty() {
        let mut page = Page::new(look);
        for line in &report.missing {
            page.paragraph(&[("  - ", DIM)], 4, PLAIN, line);
        }
        text += &(head(look, "Not read") + &page.finish());
    }
    text
}

fn head(look: Look, text: &str) -> String {
    look.paint(BOLD, &look.shown(text)) + "\n"
}

fn table(look: Look, title: &str, table: &Table) -> String {
    if table.is_empty() { String::new() } else { head(look, title) + &table.text(look) }
}

fn place(report: &Report, look: Look) -> String {
    let mut parts = Vec::new();
    if let Some(path) = &report.cgroup {
        parts.push(format!("cgroup {}", escape(path)));
        parts.push(report.limit_bytes.map_or_else(|| "no limit".to_owned(), |limit| format!("limit {}", size(limit))));
    }
    parts.extend(report.request_bytes.map(|request| format!("request {}", size(request))));
    parts.extend(report.cgroup_version.map(|version| format!("cgroup v{version}")));
    let mut page = Page::new(look);
    page.paragraph(&[("  ", PLAIN)], 4, DIM, &parts.join(", "));
    page.finish()
}

/// Bytes with a space between thousands.
fn exact(bytes: i64) -> String {
    let digits = bytes.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if bytes < 0 { format!("-{text}") } else { text }
}

fn bytes(bytes: u64) -> String {
    exact(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn signed(bytes: i64) -> String {
    format!("{}{}", if bytes < 0 { "-" } else { "" }, size(bytes.unsigned_abs()))
}

fn lenses(report: &Report) -> Table {
    let limit = report.limit_bytes.filter(|limit| *limit > 0);
    let mut table = Table::new(&["", "BYTES", "SIZE", "OF LIMIT", "COUNTS", "FROM"], &[1, 2, 3]);
    for lens in &report.lenses {
        let share =
            limit.map_or_else(String::new, |limit| format!("{} %", u128::from(lens.bytes) * 100 / u128::from(limit)));
        table.row(vec![
            lens.name.to_owned(),
            bytes(lens.bytes),
            size(lens.bytes),
            share,
            lens.counts.to_owned(),
            lens.from.to_owned(),
        ]);
    }
    table
}

/// A sum, line by line, and its result below.
fn of_sum(sum: &Sum) -> Table {
    let mut table = Table::new(&["", "BYTES", "SIZE", ""], &[1, 2]);
    for (place, part) in sum.parts.iter().enumerate() {
        let sign = match (place, part.bytes < 0) {
            (0, _) => " ",
            (_, true) => "-",
            (_, false) => "+",
        };
        let amount = if place == 0 { part.bytes } else { part.bytes.saturating_abs() };
        let size = if place == 0 { signed(part.bytes) } else { size(part.bytes.unsigned_abs()) };
        table.row(vec![format!("{sign} {}", escape(&part.name)), exact(amount), size, part.what.to_owned()]);
    }
    table.row(vec![format!("= {}", sum.name), exact(sum.bytes), signed(sum.bytes), String::new()]);
    table
}

fn top(report: &Report) -> Table {
    let mut table = Table::new(&["", "BYTES", "SIZE", "PERCENT", ""], &[1, 2, 3]);
    for top in &report.top {
        let percent = top.percent.map_or_else(String::new, |percent| format!("{percent} %"));
        table.row(vec![top.name.clone(), bytes(top.bytes), size(top.bytes), percent, top.why.clone()]);
    }
    table
}

fn kubelet(report: &Report) -> Table {
    let mut table = Table::new(&["", "BYTES", "AGE", "DIFFERENCE", "LENS"], &[1, 2, 3]);
    for Said { name, bytes: said, age_ms, lens, difference_bytes } in &report.kubelet {
        let age = age_ms.map_or_else(|| "?".to_owned(), |age| format!("{} s", age.max(0) / 1000));
        let difference = difference_bytes.map_or_else(|| "?".to_owned(), exact);
        table.row(vec![name.clone(), bytes(*said), age, difference, (*lens).to_owned()]);
    }
    table
}

fn containers(report: &Report) -> Table {
    let heads = ["", "USAGE", "WORKING SET", "ANON", "FILE", "REQUEST", "LIMIT", "PROCESSES"];
    let mut table = Table::new(&heads, &[1, 2, 3, 4, 5, 6, 7]);
    let optional = |bytes: Option<u64>, none: &str| bytes.map_or_else(|| none.to_owned(), size);
    for container in &report.containers {
        table.row(vec![
            escape(&container.name),
            optional(container.usage_bytes, "?"),
            optional(container.working_set_bytes, "?"),
            optional(container.anon_bytes, "?"),
            optional(container.file_bytes, "?"),
            optional(container.request_bytes, "-"),
            optional(container.limit_bytes, "none"),
            container.processes.to_string(),
        ]);
    }
    table
}

fn volumes(report: &Report) -> Table {
    let mut table = Table::new(&["", "USED", "SIZE"], &[1, 2]);
    for volume in &report.volumes {
        table.row(vec![escape(&volume.name), size(volume.used_bytes), size(volume.size_bytes)]);
    }
    table
}

fn processes(report: &Report) -> Table {
    let heads = ["PROCESS", "RES", "ANON", "SHR", "PSS", "USS", "SWAP", "PAGE TABLES", "VIRT", "ADJ"];
    let mut table = Table::new(&heads, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for memory in report.processes.iter().take(PROCESSES) {
        let process = &memory.process;
        let rollup = |of: fn(&crate::node::processes::Rollup) -> u64| {
            memory.rollup.as_ref().map_or_else(|| "?".to_owned(), |rollup| size(of(rollup)))
        };
        table.row(vec![
            format!("{} ({})", escape(&process.comm), process.pid),
            size(process.resident_bytes()),
            size(process.anon_bytes),
            size(process.shared_bytes()),
            rollup(|rollup| rollup.pss_bytes),
            rollup(|rollup| rollup.uss_bytes),
            size(process.swap_bytes),
            size(process.page_tables_bytes),
            size(process.virtual_bytes),
            process.oom_score_adj.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::lenses::Part;

    #[test]
    fn a_sum_is_written_so_that_it_can_be_checked() {
        let part = |name: &str, bytes| Part { name: name.to_owned(), bytes, what: "" };
        let sum = Sum {
            title: "the working set",
            name: "working set",
            bytes: 1_000_000,
            parts: vec![part("usage", 1_234_567), part("inactive_file", -234_567)],
        };
        let text = of_sum(&sum).text(Look::plain());
        assert!(text.contains("    usage          1 234 567    1.1 MiB"), "{text}");
        assert!(
            text.contains("  - inactive_file    234 567    229 KiB") && text.contains("= working set    1 000 000"),
            "{text}"
        );
        assert_eq!((exact(0), exact(-1000), exact(999)), ("0".to_owned(), "-1 000".to_owned(), "999".to_owned()));
    }
}
