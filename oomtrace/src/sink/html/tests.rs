use super::*;
use crate::event::{AffectedContainer, Container, Level, Limit, MemoryPoint, Pod, Source, Step, Verdict};

const HOSTILE: &str = "</title></style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'\u{202e}\u{1b}";

fn step(ms: i32, mark: Mark) -> Step {
    Step {
        ts: format!("2026-11-23T23:20:3{}Z", ms / 1000),
        since_ms: f64::from(ms),
        source: Source::Kmsg,
        seq: 1,
        mark,
        what: HOSTILE.to_owned(),
    }
}

fn point(second: u32, mib: u64) -> MemoryPoint {
    MemoryPoint { ts: format!("2026-11-23T23:20:3{second}Z"), usage_bytes: mib << 20, limit_bytes: Some(64 << 20) }
}

fn hostile() -> Incident {
    let hostile = || HOSTILE.to_owned();
    Incident {
        id: hostile(),
        started: hostile(),
        pod: Some(Pod { name: Some(hostile()), namespace: Some(hostile()), ..Pod::default() }),
        verdict: Verdict {
            summary: hostile(),
            advice: hostile(),
            missing: vec![hostile()],
            kubernetes_shows: vec![hostile()],
            suggested_limit_bytes: Some(1),
            suggested_limit_basis: Some(hostile()),
            ..Verdict::default()
        },
        steps: vec![step(0, Mark::Kill), step(2000, Mark::Exit)],
        history: vec![point(0, 30), point(1, 64), point(3, 10)],
        ..Incident::default()
    }
}

fn line(incident: Incident) -> Line {
    Line {
        ts: String::new(),
        seq: 1,
        node: HOSTILE.to_owned(),
        source: Source::Oomtrace,
        boot_ns: None,
        event: Event::Incident(Box::new(incident)),
    }
}

#[test]
fn hostile_names_stay_text() {
    let page = html(&[line(hostile()), line(hostile())]);
    for tag in ["<img", "</title></style>", "<script>alert"] {
        assert!(!page.contains(tag), "{tag} in {page}");
    }
    assert_eq!(page.matches("<script").count(), 1, "the page's own");
    assert!(page.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'));
    // Every quote in text is escaped: what is left are the page's own, in pairs.
    let own = page.replace(SCRIPT, "").replace(STYLE, "");
    assert_eq!(own.matches('"').count() % 2, 0);
}

#[test]
fn the_page_needs_nothing_else_and_runs_its_own_script_alone() {
    let page = html(&[line(hostile())]);
    for outside in ["http:", "https:", "url(", "@import", "<link", "src=", "onclick", "onerror=alert(1)>"] {
        let own = page.replace("src=x onerror=alert(1)&gt;", "");
        assert!(!own.contains(outside), "{outside}");
    }
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    let policy = format!("default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri");
    assert!(page.contains(&policy), "{policy}");
    for part in [format!("<style>{STYLE}</style>"), format!("<script>{SCRIPT}</script>")] {
        assert!(page.contains(&part), "the hashes are of what is there, to the byte");
    }
}

#[test]
fn each_incident_has_a_chart_with_a_legend_and_the_gap_of_a_container_that_was_down() {
    let own = Some("app".to_owned());
    let incident = Incident {
        limit: Some(Limit { level: Some(Level::Container), ..Limit::default() }),
        container: Some(Container { name: own.clone(), ..Container::default() }),
        containers: vec![AffectedContainer {
            container: Container { name: own, ..Container::default() },
            request_bytes: Some(32 << 20),
            ..AffectedContainer::default()
        }],
        kills: 1,
        ..hostile()
    };
    let page = html(&[line(incident.clone())]);
    assert_eq!(page.matches("<svg").count(), 1);
    for part in [
        "class=\"limit\"",
        "class=\"request\"",
        "class=\"mark kill\"",
        "class=\"mark exit\"",
        "limit, 64 MiB",
        "request, 32 MiB",
        "swatch kill",
        ">60 MiB</text>",
        ">+2 s</text>",
        "aria-label=\"Memory used: 10 MiB to 64 MiB of 64 MiB; 1 kill, 2 steps\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    for element in ["line", "polyline", "circle", "text", "svg"] {
        // In a drawing no element ends by itself: those behind it would be in it, and not be seen.
        let (start, end) = (format!("<{element} "), format!("</{element}>"));
        assert_eq!(page.matches(&start).count(), page.matches(&end).count(), "{element}");
    }
    assert!(page.find("mark exit") < page.find("mark kill"), "a kill is drawn above an end");
    // It ended after 2 s, and was read again after 3.
    assert_eq!(page.matches("class=\"usage\"").count(), 2);
    let of_pod = Some(Limit { level: Some(Level::Pod), ..Limit::default() });
    let page = html(&[line(Incident { limit: of_pod, ..incident })]);
    assert_eq!(page.matches("class=\"usage\"").count(), 1, "a pod goes on");
}

#[test]
fn workloads_come_first_with_what_would_help() {
    let of = |pod: &str, kills| Incident {
        id: format!("{pod}-{kills}"),
        started: "2026-11-23T23:20:30Z".to_owned(),
        pod: Some(Pod { name: Some(pod.to_owned()), namespace: Some("shop".to_owned()), ..Pod::default() }),
        kills,
        verdict: Verdict {
            invisible: Some(kills == 2),
            suggested_limit_bytes: Some(kills << 20),
            ..Verdict::default()
        },
        ..Incident::default()
    };
    let page = html(&[line(of("web-0", 1)), line(of("db-0", 2)), line(of("db-1", 3))]);
    let row = |name: &str| {
        let at = page.find(&format!("data-search=\"{name}\"")).expect("a row");
        page[at..].split("</tr>").next().unwrap_or_default().to_owned()
    };
    let db = row("db");
    for cell in [">2</td>", ">5</td>", ">1</td>", "3 MiB", "container_limit", "×2", "2026-11-23 23:20:30 UTC"] {
        assert!(db.contains(cell), "{cell} in {db}");
    }
    assert!(page.find("data-search=\"db\"") < page.find("data-search=\"web\""), "most incidents first");
    assert!(page.find("data-search=\"web\"") < page.find("<details"), "before the incidents");
    assert!(!page.contains("<details open"), "of several each is folded: {page}");
}

/// Contrast as WCAG 2 defines it: at least 4.5 of text (AA), and 3 of lines.
#[test]
fn colours_have_enough_contrast() {
    let luminance = |hex: &str| {
        let channel = |at: usize| {
            let byte = u8::from_str_radix(&hex[at..at + 2], 16).expect("a colour");
            let share = f64::from(byte) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    };
    let mut themes = 0;
    for theme in STYLE.split(":root").skip(1) {
        let colours: BTreeMap<&str, &str> = theme
            .split('}')
            .next()
            .unwrap_or_default()
            .split("--")
            .skip(1)
            .filter_map(|part| part.split_once(": #"))
            .map(|(name, value)| (name, &value[..6]))
            .collect();
        let paper = luminance(colours["paper"]);
        for (name, colour) in colours.iter().filter(|(name, _)| !["paper", "rule"].contains(name)) {
            let (a, b) = (luminance(colour).max(paper), luminance(colour).min(paper));
            let contrast = (a + 0.05) / (b + 0.05);
            assert!(contrast >= 4.5, "{name}: {contrast:.2}");
        }
        themes += 1;
    }
    assert_eq!(themes, 2, "light and dark");
}

#[test]
fn a_thousand_incidents_are_a_page_of_a_few_megabytes() {
    let incident = Incident { history: (0..512).map(|n| point(n % 10, u64::from(n) % 60)).collect(), ..hostile() };
    let lines: Vec<_> = (0..1000).map(|_| line(incident.clone())).collect();
    assert!(html(&lines).len() < 12 << 20);
}
