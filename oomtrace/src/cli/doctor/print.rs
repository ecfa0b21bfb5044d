//! The report for people: what is wrong first, the verdict last.

use anstyle::Style;

use super::{Check, Report, Severity};
use crate::sink::{BOLD, DIM, GREEN, Look, PLAIN, Page, RED, YELLOW, escape};

pub(super) fn text(report: &Report, verbose: bool, look: Look) -> String {
    let mut page = Page::new(look);
    let count = |severity| report.checks.iter().filter(|check| check.severity == severity).count();
    if verbose {
        write_details(&mut page, report);
        of_severity(&mut page, report, Severity::Fine);
        of_severity(&mut page, report, Severity::Unknown);
        page.gap();
    }
    of_severity(&mut page, report, Severity::Failure);
    of_severity(&mut page, report, Severity::Warning);
    let (failures, warnings) = (count(Severity::Failure), count(Severity::Warning));
    if failures + warnings > 0 {
        page.gap();
    }

    let mut ways: Vec<_> = report.probes.iter().filter_map(|probe| probe.attached).collect();
    ways.sort_unstable();
    ways.dedup();
    let ways: Vec<_> = ways.iter().map(ToString::to_string).collect();
    let by = match &ways[..] {
        [] if report.possible => " by the kernel's log alone".to_owned(),
        [] => String::new(),
        ways => format!(" by {}", ways.join(", ")),
    };
    let attached = report.probes.iter().filter(|probe| probe.attached.is_some()).count();
    let cgroups = report.cgroup_version.map_or_else(String::new, |version| format!(", cgroup v{version}"));
    let text = format!(
        "kernel {}{cgroups}; {attached} of {} probes attach; {}, {}, {} passed, {} unknown{}",
        escape(&report.kernel),
        report.probes.len(),
        counted(failures, "failure"),
        counted(warnings, "warning"),
        count(Severity::Fine),
        count(Severity::Unknown),
        if verbose { "" } else { " (--verbose lists them)" },
    );
    page.paragraph(&[("Summary:", BOLD), (" ", PLAIN)], 2, PLAIN, &text);
    let (style, verdict) = match (report.possible, failures + warnings) {
        (false, _) => (RED.bold(), "tracing is NOT possible".to_owned()),
        (true, 0) => (GREEN.bold(), format!("tracing is possible{by}, and nothing is missing")),
        (true, _) if failures == 0 => {
            (GREEN.bold(), format!("tracing is possible{by}; the warnings say what is missing"))
        }
        (true, _) => (YELLOW.bold(), format!("tracing is possible{by}; the failures say what is missing")),
    };
    page.paragraph(&[("Verdict:", BOLD), (" ", PLAIN)], 2, style, &verdict);
    page.finish()
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn of_severity(page: &mut Page, report: &Report, severity: Severity) {
    for check in report.checks.iter().filter(|check| check.severity == severity) {
        write_check(page, check);
    }
}

fn write_check(page: &mut Page, check: &Check) {
    let (label, style): (_, Style) = match check.severity {
        Severity::Fine => ("ok  ", GREEN),
        Severity::Unknown => ("?   ", DIM),
        Severity::Warning => ("WARN", YELLOW.bold()),
        Severity::Failure => ("FAIL", RED.bold()),
    };
    let head = [(label, style), (" ", PLAIN), (check.name, BOLD), (": ", PLAIN)];
    page.paragraph(&head, 5, PLAIN, &one_line(&check.found));
    for (what, text) in [("without it: ", &check.lost), ("remedy: ", &check.remedy)] {
        if let Some(text) = text {
            page.paragraph(&[("     ", PLAIN), (what, DIM)], 7, PLAIN, &one_line(text));
        }
    }
}

fn one_line(text: &str) -> String {
    escape(&text.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}

/// Every attach type, every symbol, and the fields of the kernel.
fn write_details(page: &mut Page, report: &Report) {
    for rung in &report.rungs {
        let used = if rung.used { ", and used" } else { "" };
        let possible = if rung.possible { "possible" } else { "not possible" };
        page.paragraph(
            &[("attach type ", PLAIN), (rung.rung, BOLD), (": ", PLAIN)],
            5,
            PLAIN,
            &format!("{possible}{used}"),
        );
        for reason in rung.reason.iter().flat_map(|reason| reason.lines()) {
            page.paragraph(&[("     ", PLAIN)], 7, DIM, &escape(reason.trim()));
        }
    }
    for probe in &report.probes {
        let attached = probe.attached.map_or_else(|| "not attached".to_owned(), |rung| rung.to_string());
        page.paragraph(&[("probe ", PLAIN), (&probe.symbol, BOLD), (": ", PLAIN)], 5, PLAIN, &attached);
        for refusal in &probe.refused {
            let text = format!("{}: {}", refusal.rung, one_line(&refusal.reason));
            page.paragraph(&[("     ", PLAIN)], 7, DIM, &text);
        }
    }
    let missing: Vec<_> =
        report.layout.iter().filter(|field| field.value.is_none()).map(|field| field.from.as_str()).collect();
    let found = report.layout.len() - missing.len();
    let missing =
        if missing.is_empty() { String::new() } else { format!("; not in this kernel: {}", missing.join(", ")) };
    let text = format!("{found} of {} found in BTF{missing}", report.layout.len());
    page.paragraph(&[("kernel fields", BOLD), (": ", PLAIN)], 5, PLAIN, &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(possible: bool, mut checks: Vec<Check>) -> Report {
        if !possible {
            for check in &mut checks {
                check.severity = Severity::Failure;
            }
        }
        Report {
            possible,
            kernel: "6.12.0".to_owned(),
            cgroup_version: Some(2),
            rungs: Vec::new(),
            checks,
            probes: Vec::new(),
            layout: Vec::new(),
        }
    }

    #[test]
    fn what_is_wrong_comes_first_with_its_remedy_and_the_verdict_last() {
        let checks = vec![
            Check::passed("BTF", "there"),
            Check::failed("container runtime", "no socket", "mount it", "names"),
            Check { severity: Severity::Failure, ..Check::failed("/dev/kmsg", "denied", "run as root", "the log") },
        ];
        assert_eq!(
            text(&report(true, checks), false, Look::plain()),
            "FAIL /dev/kmsg: denied\n     without it: the log\n     remedy: run as root\n\
             WARN container runtime: no socket\n     without it: names\n     remedy: mount it\n\n\
             Summary: kernel 6.12.0, cgroup v2; 0 of 0 probes attach; 1 failure, 1 warning, 1 passed, 0 unknown (--verbose lists them)\n\
             Verdict: tracing is possible by the kernel's log alone; the failures say what is missing\n"
        );
    }

    #[test]
    fn what_is_fine_is_listed_only_on_request() {
        let report = report(true, vec![Check::passed("BTF", "there"), Check::unknown("lockdown", "none")]);
        let listed = |verbose| text(&report, verbose, Look::plain()).contains("ok   BTF: there");
        assert!(listed(true) && !listed(false));
        let last = text(&report, true, Look::plain()).lines().last().map(ToOwned::to_owned);
        assert!(last.is_some_and(|last| last.starts_with("Verdict: tracing is possible")));
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        let long = "a reason of many words that goes on and on ".repeat(5);
        let checks = vec![Check::failed("folders of pods' logs", &*long, &*long, &*long)];
        let text = text(&report(false, checks), true, Look::plain().with_width(60));
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.ends_with("Verdict: tracing is NOT possible\n"), "{text}");
    }
}
