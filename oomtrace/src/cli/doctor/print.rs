//! The report for people.

use std::fmt::Write as _;

use super::{Check, Report};

pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    let verdict = if report.possible { "tracing is possible" } else { "tracing is NOT possible" };
    writeln!(out, "kernel {}: {verdict}\n", report.kernel)?;
    for rung in &report.rungs {
        let would = if rung.used { ", and would be used" } else { "" };
        let possible = if rung.possible { "possible" } else { "NOT possible" };
        writeln!(out, "rung {:<14} {possible}{would}", rung.rung)?;
        for reason in rung.reason.iter().flat_map(|reason| reason.lines()) {
            writeln!(out, "{:<21}{}", "", reason.trim())?;
        }
    }
    writeln!(out)?;
    report.checks.iter().try_for_each(|check| write_check(out, check))?;
    writeln!(out)?;
    for probe in &report.probes {
        let attached = probe.attached.map_or_else(|| "NOT ATTACHED".to_owned(), |rung| rung.to_string());
        writeln!(out, "{:<28} {attached}", probe.symbol)?;
        for refusal in &probe.refused {
            writeln!(out, "{:<28}   {} refused: {}", "", refusal.rung, refusal.reason)?;
        }
    }
    let missing: Vec<_> =
        report.layout.iter().filter(|field| field.value.is_none()).map(|field| field.from.as_str()).collect();
    let found = report.layout.len() - missing.len();
    writeln!(out, "\nkernel fields                {found} of {} found in BTF", report.layout.len())?;
    if !missing.is_empty() {
        writeln!(out, "                             not in this kernel: {}", missing.join(", "))?;
    }
    Ok(())
}

fn write_check(out: &mut String, check: &Check) -> std::fmt::Result {
    let verdict = match check.ok {
        Some(true) => "ok",
        Some(false) => "FAIL",
        None => "?",
    };
    writeln!(out, "{verdict:<4} {:<28} {}", check.name, check.found)?;
    for (what, text) in [("remedy", &check.remedy), ("without it", &check.lost)] {
        if let Some(text) = text {
            writeln!(out, "     {:<28} {what}: {text}", "")?;
        }
    }
    Ok(())
}
