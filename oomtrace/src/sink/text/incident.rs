//! Incidents for people: who, what and why, then a small timeline with times from the kill or the eviction.

use anstyle::Style;

use super::{
    look::LEVELS,
    page::{BOLD, DIM, PLAIN, Page, RED, YELLOW, sign, to_milliseconds},
    status::count,
    words::{escape, place, size},
};
use crate::{
    event::{Confidence, Incident, IncidentState, Mark, Scenario, Severity, Shape, Verdict},
    timeline::words,
};

/// Readings of memory that are drawn in a line.
const COLUMNS: usize = 40;

/// Among events: when it opens, what happened and what would help; when something is added, what; when it closes, the whole
/// story but the advice.
pub(super) fn write_incident(page: &mut Page, ts: &str, node: &str, incident: &Incident) {
    if incident.withdrawn {
        let what = incident
            .replaced_by
            .as_ref()
            .map_or_else(|| "turned out to be none".to_owned(), |other| format!("turned out to be a part of {other}"));
        return page.notice(ts, DIM, &format!("incident {} {what}", incident.id));
    }
    let (is_open, is_first) = (incident.state == IncidentState::Open, incident.revision <= 1);
    if is_open && !is_first {
        return write_update(page, ts, incident);
    }
    write_head(page, node, incident);
    let verdict = &incident.verdict;
    page.paragraph(&[("  ", PLAIN)], 2, PLAIN, &escape(&verdict.summary));
    if is_short(page, incident) {
        return;
    }
    if is_open || is_first {
        write_advice(page, incident);
    }
    write_shows(page, incident);
    if !is_open {
        write_shape(page, incident);
        write_steps(page, incident);
    }
}

/// By itself: a block.
pub(super) fn write_block(page: &mut Page, node: &str, incident: &Incident) {
    write_head(page, node, incident);
    page.paragraph(&[("  ", PLAIN)], 2, PLAIN, &escape(&incident.verdict.summary));
    if !is_short(page, incident) {
        write_advice(page, incident);
        write_shows(page, incident);
        write_shape(page, incident);
        write_confidence(page, incident);
        write_steps(page, incident);
    }
    page.gap();
}

/// What has nothing to do with memory is reported in short.
fn is_short(page: &Page, incident: &Incident) -> bool {
    incident.severity == Severity::Other && !page.look().has_details()
}

/// Something was added to an incident that is known already.
fn write_update(page: &mut Page, ts: &str, incident: &Incident) {
    let whose = pod_and_container(incident);
    let mark = if incident.kills_new > 0 { Mark::Kill } else { Mark::Other };
    let kills = count(incident.kills, "kill");
    let since = to_milliseconds(&incident.started);
    let text = format!("{whose}: {kills} since {since} ({} new), incident {}", incident.kills_new, incident.id);
    page.event(ts, mark, &text);
}

fn write_head(page: &mut Page, node: &str, incident: &Incident) {
    let scenario = incident.verdict.scenario;
    let style = match (incident.severity, scenario) {
        (Severity::Other, _) => DIM,
        (Severity::Memory, Scenario::AllocatableEvicted | Scenario::NodePressureEvicted | Scenario::Evicted) => {
            YELLOW.bold()
        }
        (Severity::Memory, _) => RED.bold(),
    };
    let text = format!("{}  {}", escape(headline(&incident.verdict)), pod_and_container(incident));
    page.paragraph(&[], 2, style, &text);
    let started = if incident.time_unknown {
        "at an unknown time".to_owned()
    } else if incident.boot_time_only {
        since_boot(&incident.started)
    } else {
        to_milliseconds(&incident.started)
    };
    let counts = if incident.kills > 1 { format!("  {}", count(incident.kills, "kill")) } else { String::new() };
    let closed = match incident.state {
        IncidentState::Open => "  open",
        IncidentState::Closed => "",
    };
    let text = format!("{started}  node {}  {}  {}{counts}{closed}", escape(node), scenario.name(), incident.id);
    page.paragraph(&[("  ", PLAIN)], 2, DIM, &text);
}

fn labelled(page: &mut Page, label: &str, text: &str) {
    page.paragraph(&[("  ", PLAIN), (label, BOLD), (" ", PLAIN)], 4, PLAIN, text);
}

fn write_advice(page: &mut Page, incident: &Incident) {
    if !incident.verdict.advice.is_empty() {
        labelled(page, "What would help:", &escape(&incident.verdict.advice));
    }
    let verdict = &incident.verdict;
    if let (Some(bytes), Some(basis)) = (verdict.suggested_limit_bytes, &verdict.suggested_limit_basis) {
        labelled(page, "Suggested limit:", &format!("{}: {}", size(Some(bytes)), escape(basis)));
    }
}

/// How memory grew, a character for each reading: those of the last two minutes are a second apart, older ones more.
fn write_shape(page: &mut Page, incident: &Incident) {
    let Some(shape) = shape(&incident.verdict) else { return };
    let kill = incident.steps.iter().find(|step| step.mark == Mark::Kill).map(|step| step.ts.as_str());
    let before = incident.history.iter().filter(|point| kill.is_none_or(|kill| point.ts.as_str() <= kill));
    let mut used: Vec<u64> = before.map(|point| point.usage_bytes).collect();
    used.drain(..used.len().saturating_sub(COLUMNS));
    let most = used.iter().copied().max().unwrap_or(0).max(1);
    let level = |bytes: u64| {
        let index = usize::try_from(u128::from(bytes) * 8 / (u128::from(most) + 1)).unwrap_or(0);
        LEVELS[index.min(LEVELS.len() - 1)]
    };
    let curve: String = used.into_iter().map(level).collect();
    labelled(page, "Memory before:", &format!("{curve}  {}", escape(&shape)));
}

fn write_shows(page: &mut Page, incident: &Incident) {
    if !incident.verdict.kubernetes_shows.is_empty() {
        labelled(page, "Kubernetes shows:", &shows(incident));
    }
}

fn write_confidence(page: &mut Page, incident: &Incident) {
    let sure = match incident.verdict.confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    };
    let missing = &incident.verdict.missing;
    let missing =
        if missing.is_empty() { String::new() } else { format!("; missing: {}", escape(&missing.join("; "))) };
    labelled(page, "Confidence:", &format!("{sure}{missing}"));
}

fn write_steps(page: &mut Page, incident: &Incident) {
    let width = incident.steps.iter().map(|step| offset(step.since_ms).len()).max().unwrap_or(0);
    for step in &incident.steps {
        let (sign, style) = sign(step.mark);
        let when = format!("  {:>width$} │", offset(step.since_ms));
        let head: [(&str, Style); 4] = [(&when, DIM), (" ", PLAIN), (sign, style), (" ", PLAIN)];
        page.paragraph(&head, width + 7, style, &escape(&step.what));
    }
    if incident.steps_omitted > 0 {
        let text = format!("{} in between left out", count(incident.steps_omitted, "step"));
        page.paragraph(&[("  ", PLAIN)], 2, DIM, &text);
    }
}

/// What happened, in a few words; recordings of before have only the scenario.
pub(in crate::sink) fn headline(verdict: &Verdict) -> &str {
    if verdict.heading.is_empty() { words::heading_of(verdict.scenario) } else { &verdict.heading }
}

/// Who an incident is about.
pub(in crate::sink) fn pod_and_container(incident: &Incident) -> String {
    match (&incident.pod, &incident.container) {
        (None, None) => {
            let unit = incident.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_deref());
            unit.map_or_else(|| "the node".to_owned(), |unit| format!("unit {}", escape(unit)))
        }
        (pod, container) => place(pod.as_ref(), container.as_ref()),
    }
}

/// How memory grew before, and by what that is known.
pub(in crate::sink) fn shape(verdict: &Verdict) -> Option<String> {
    let shape = verdict.shape?;
    let basis = verdict.shape_basis.as_deref().unwrap_or_default();
    let name: &str = shape.into();
    Some(if shape == Shape::Unknown { basis.to_owned() } else { format!("{name}: {basis}") })
}

/// What Kubernetes shows, and whether that was seen.
pub(in crate::sink) fn shows(incident: &Incident) -> String {
    let verdict = &incident.verdict;
    let expected = if verdict.kubernetes_shows_seen { "" } else { " (to be expected)" };
    format!("{}{expected}", escape(&verdict.kubernetes_shows.join(", ")))
}

/// `+12.345 s`, `-1 min 30 s`: as far from the kill as people say it.
pub(in crate::sink) fn offset(ms: f64) -> String {
    let sign = if ms < 0.0 { '-' } else { '+' };
    let ms = ms.abs();
    if ms < 60_000.0 {
        format!("{sign}{:.3} s", ms / 1000.0)
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and milliseconds of years fit"
        )]
        let seconds = (ms / 1000.0).round() as u64;
        if seconds < 3600 {
            format!("{sign}{} min {:02} s", seconds / 60, seconds % 60)
        } else {
            format!("{sign}{} h {:02} min", seconds / 3600, seconds % 3600 / 60)
        }
    }
}

/// A time that counts from boot.
pub(in crate::sink) fn since_boot(ts: &str) -> String {
    let since = ts.parse::<jiff::Timestamp>().map(|at| at.as_duration().as_secs_f64());
    since.map_or_else(|_| ts.to_owned(), |seconds| format!("{seconds:.3} s after boot"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{MemoryPoint, Source, Step},
        sink::Look,
    };

    fn block(node: &str, incident: &Incident, look: Look) -> String {
        let mut page = Page::new(look);
        write_block(&mut page, node, incident);
        page.finish()
    }

    #[test]
    fn distances_are_reported_as_people_do() {
        for (ms, text) in [
            (0.0, "+0.000 s"),
            (-1500.0, "-1.500 s"),
            (59_999.0, "+59.999 s"),
            (90_000.0, "+1 min 30 s"),
            (7_260_000.0, "+2 h 01 min"),
        ] {
            assert_eq!(offset(ms), text);
        }
    }

    #[test]
    fn a_block_without_colour_has_no_control_character_but_line_ends() {
        let step = Step {
            ts: String::new(),
            since_ms: 0.0,
            source: Source::Kmsg,
            seq: 1,
            mark: Mark::Kill,
            what: "OOM kill: \u{1b}[31mx".to_owned(),
        };
        let verdict = Verdict {
            summary: "killed \u{7}".to_owned(),
            kubernetes_shows: vec!["nothing".to_owned()],
            ..Verdict::default()
        };
        let incident =
            Incident { started: "2026-11-23T23:20:37Z".to_owned(), steps: vec![step], verdict, ..Incident::default() };
        let plain = block("node\u{1b}1", &incident, Look::plain());
        assert!(plain.chars().all(|c| c == '\n' || !c.is_control()), "{plain}");
        let coloured = block("node1", &incident, Look::plain().in_colour());
        assert!(coloured.contains("\u{1b}[31m") && !coloured.contains("\u{1b}[31mx"), "{coloured}");
    }

    /// An incident with long texts.
    fn long() -> Incident {
        let step = |since_ms, mark, what: &str| Step {
            ts: String::new(),
            since_ms,
            source: Source::Kmsg,
            seq: 1,
            mark,
            what: what.to_owned(),
        };
        let verdict = Verdict {
            summary: "The kernel killed memhog (pid 1187) with 47.6 MiB of its own in container init-db of pod team-a/oom-init \
                      because the container hit its memory limit of 48 MiB."
                .to_owned(),
            advice: "It held 48.1 MiB and asked for more. Give it a limit above 48 MiB, or make the program keep below it (heap \
                     size, cache size, workers)."
                .to_owned(),
            kubernetes_shows: vec!["Error 137".to_owned()],
            ..Verdict::default()
        };
        let steps = vec![
            step(0.0, Mark::Kill, "OOM kill: memhog (1187) in container init-db, 48 MiB of 48 MiB, by its own limit"),
            step(
                7995.0,
                Mark::Exit,
                "the kubelet sees container init-db of pod team-a/oom-init ended with exit code 137",
            ),
        ];
        Incident { started: "2026-11-23T23:20:41.379721000Z".to_owned(), steps, verdict, ..Incident::default() }
    }

    #[test]
    fn how_memory_grew_is_a_curve_of_characters_and_what_it_is_called() {
        let point = |second: u64, mib: u64| MemoryPoint {
            ts: format!("2026-11-23T23:20:{:02}Z", 30 + second),
            usage_bytes: mib << 20,
            limit_bytes: Some(64 << 20),
        };
        let mut incident = long();
        incident.steps[0].ts = point(4, 0).ts;
        incident.history = vec![point(0, 1), point(1, 20), point(2, 40), point(3, 64), point(5, 1)];
        incident.verdict.shape = Some(Shape::Spike);
        incident.verdict.shape_basis = Some("rose by 63 MiB in 3 s".to_owned());
        let text = block("node1", &incident, Look::plain());
        assert!(text.contains("Memory before: ▁▃▅█  spike: rose by 63 MiB in 3 s\n"), "{text}");
        let text = block("node1", &incident, Look::plain().in_ascii());
        assert!(text.contains("Memory before: .-+#  spike: "), "{text}");
    }

    #[test]
    fn no_line_of_an_incident_is_wider_than_the_screen_in_unicode_ascii_or_colour() {
        for columns in [40, 80, 120] {
            for look in [Look::plain(), Look::plain().in_ascii(), Look::plain().in_colour()] {
                let text = block("node1", &long(), look.with_width(columns));
                let widest = text.lines().map(textwrap::core::display_width).max();
                assert!(widest.is_some_and(|widest| widest <= columns), "{columns}:\n{text}");
            }
        }
        let ascii = block("node1", &long(), Look::plain().in_ascii());
        assert!(ascii.is_ascii() && ascii.contains("+0.000 s | x OOM kill"), "{ascii}");
    }

    #[test]
    fn steps_hang_below_their_words() {
        let text = block("node1", &long(), Look::plain().with_width(60));
        assert!(
            text.contains("\n  +7.995 s │ ■ the kubelet sees container init-db of pod\n               team-a/"),
            "{text}"
        );
    }

    #[test]
    fn what_has_nothing_to_do_with_memory_is_short_unless_all_is_wanted() {
        let other = Incident { severity: Severity::Other, ..long() };
        let short = block("node1", &other, Look::plain());
        assert!(short.contains("The kernel killed") && !short.contains("What would help"), "{short}");
        assert!(!short.contains('│'), "{short}");
        assert!(block("node1", &other, Look::plain().with_details(true)).contains("■ the kubelet"));
    }

    #[test]
    fn among_events_an_addition_is_one_line_and_the_closing_has_the_steps() {
        let among = |incident: &Incident| {
            let mut page = Page::new(Look::plain());
            write_incident(&mut page, "2026-11-23T23:25:41.379Z", "node1", incident);
            page.finish()
        };
        let opened = among(&Incident { state: IncidentState::Open, revision: 1, ..long() });
        assert!(opened.contains("What would help:") && !opened.contains('│'), "{opened}");
        let added = among(&Incident {
            id: "55b0".to_owned(),
            state: IncidentState::Open,
            revision: 2,
            kills: 3,
            kills_new: 1,
            ..long()
        });
        assert_eq!(
            added,
            "2026-11-23T23:25:41.379Z  ✗ the node: 3 kills since 2026-11-23T23:20:41.379Z (1 new), incident 55b0\n"
        );
        let closed = among(&Incident { revision: 3, kills: 3, ..long() });
        assert!(closed.contains("│ ✗ OOM kill") && closed.contains("3 kills"), "{closed}");
    }
}
