//! A report of the node as text.

use std::iter;

use anstyle::Style;

use super::{
    budget::{Budget, Figure},
    guarantees::Guarantee,
    order::Order,
    report::{PodRow, Report, Signal},
    warnings::whole,
};
use crate::{
    cli::table::Table,
    node::{
        kubelet_settings::Found,
        race::{self, First, Race},
    },
    quantity::size,
    sink::{BOLD, DIM, GREEN, Look, PLAIN, Page, RED, YELLOW, escape},
};

/// Columns of the bar, where the terminal is not narrower.
const BAR: usize = 72;
/// How many pods are shown.
const PODS: usize = 15;
/// How many cgroups are shown on which something is set.
const GUARANTEES: usize = 30;

pub(super) fn text(report: &Report, look: Look) -> String {
    let mut text = String::new();
    let version = report.kubelet_version.as_deref().map_or_else(String::new, |version| format!(", kubelet {version}"));
    let capacity = optional(report.budget.capacity.bytes);
    text += &head(look, &format!("The node's memory: {capacity}{}", escape(&version)));
    text += &bar(&report.budget, look);
    text += &head(look, "Budget");
    text += &budget(&report.budget, look);
    if let Some(what_if) = &report.what_if {
        text += &head(look, "What if");
        text += &changes(&report.budget, what_if, look);
    }
    text += &head(look, "Now");
    text += &now(report, look);
    text += &head(look, "Pods, by working set");
    text += &pods(report, look);
    let guarantees = guarantees(&report.guarantees);
    if !guarantees.is_empty() {
        text += &(head(look, "Memory and swap set on cgroups") + &guarantees.text(look));
    }
    text += &head(look, "The OOM killer's order, node-wide");
    text += &order(&report.oom_order_node, look);
    if let Some(of_pods) = &report.oom_order_kubepods {
        text += &head(look, "The OOM killer's order, at the limit of kubepods");
        text += &if same(of_pods, &report.oom_order_node) {
            look.paint(DIM, "  the same: it limits pods to the whole node\n")
        } else {
            order(of_pods, look)
        };
    }
    text += &list(look, "Warnings", YELLOW, &report.warnings);
    text += &list(look, "Not read", DIM, &report.missing);
    text
}

fn head(look: Look, text: &str) -> String {
    look.paint(BOLD, &look.shown(text)) + "\n"
}

fn list(look: Look, title: &str, style: Style, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut page = Page::new(look);
    for line in lines {
        page.paragraph(&[("  - ", style)], 4, PLAIN, line);
    }
    head(look, title) + &page.finish()
}

fn optional(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), size)
}

/// A size that may be below zero.
fn signed(bytes: i64) -> String {
    format!("{}{}", if bytes < 0 { "-" } else { "" }, size(bytes.unsigned_abs()))
}

/// The node as one bar: what pods use and may still use, the threshold, what is reserved.
fn bar(budget: &Budget, look: Look) -> String {
    let Some(capacity) = budget.capacity.bytes.filter(|capacity| *capacity > 0) else { return String::new() };
    let width = look.columns().map_or(BAR, |columns| columns.saturating_sub(4).clamp(20, BAR));
    let used = budget.pods_working_set_bytes.unwrap_or(0);
    let system = budget.node_working_set_bytes.unwrap_or(0).saturating_sub(used);
    let reserved = budget.reserved_bytes.unwrap_or(0);
    let threshold = budget.hard_bytes.unwrap_or(0);
    let free = capacity.saturating_sub(used).saturating_sub(reserved.max(system)).saturating_sub(threshold);
    let parts = [
        ('#', used, GREEN, "pods use"),
        ('.', free, DIM, "free for pods"),
        ('E', threshold, YELLOW, "eviction threshold"),
        ('s', system, RED, "the rest of the node uses"),
        ('R', reserved.saturating_sub(system), DIM, "reserved"),
    ];
    let mut line = String::from("  [");
    let mut key = Vec::new();
    let (mut sum, mut drawn) = (0_u64, 0);
    for (sign, bytes, style, name) in parts {
        sum = sum.saturating_add(bytes);
        let end = usize::try_from(u128::from(sum) * width as u128 / u128::from(capacity)).unwrap_or(width).min(width);
        line += &look.paint(style, &sign.to_string().repeat(end.saturating_sub(drawn)));
        drawn = drawn.max(end);
        if bytes > 0 {
            key.push(format!("{sign} {name} {}", size(bytes)));
        }
    }
    line += &" ".repeat(width.saturating_sub(drawn));
    let mut page = Page::new(look);
    page.paragraph(&[("   ", PLAIN)], 3, DIM, &key.join(", "));
    line + "]\n" + &page.finish()
}

fn budget(budget: &Budget, look: Look) -> String {
    let mut table = Table::new(&["", "SIZE", "BYTES", "FROM"], &[1, 2]);
    figure(&mut table, "capacity", &budget.capacity);
    found(&mut table, "kube-reserved", &budget.kube_reserved, |bytes| (Some(*bytes), None));
    found(&mut table, "system-reserved", &budget.system_reserved, |bytes| (Some(*bytes), None));
    if !budget.configured {
        let from = "capacity less the limit of kubepods: no configuration could be read".to_owned();
        table.row(row("reserved", budget.reserved_bytes, from));
    }
    let capacity = budget.capacity.bytes.unwrap_or(0);
    if budget.hard_presumed.is_some() {
        let from = "the limit of kubepods less allocatable: no configuration could be read".to_owned();
        table.row(row("hard threshold", budget.hard_presumed, from));
    } else {
        found(&mut table, "hard threshold", &budget.hard, |hard| (hard.bytes_of(capacity), Some(hard.to_string())));
    }
    if budget.soft.value.is_some() {
        found(&mut table, "soft threshold", &budget.soft, |soft| (soft.bytes_of(capacity), Some(soft.to_string())));
        found(&mut table, "  after", &budget.soft_grace_period, |grace| (None, Some(grace.clone())));
    }
    if budget.minimum_reclaim.value.is_some() {
        found(&mut table, "minimum reclaim", &budget.minimum_reclaim, |bytes| (Some(*bytes), None));
    }
    if budget.hugepages.bytes.is_some_and(|bytes| bytes > 0) {
        figure(&mut table, "huge pages", &budget.hugepages);
    }
    figure(&mut table, "allocatable", &budget.allocatable);
    figure(&mut table, "limit of kubepods", &budget.kubepods_limit);
    for (path, limit) in &budget.qos_limits {
        let name = format!("limit of {}", path.rsplit('/').next().unwrap_or(path));
        let size = limit.map_or_else(|| "none".to_owned(), size);
        table.row(vec![name, size, limit.map_or_else(String::new, |limit| limit.to_string()), "the cgroup".to_owned()]);
    }
    for setting in &budget.settings {
        found(&mut table, setting.name, &setting.found, |text| (None, Some(text.clone())));
    }
    table.text(look)
}

fn row(name: &str, bytes: Option<u64>, from: String) -> Vec<String> {
    vec![name.to_owned(), optional(bytes), bytes.map_or_else(String::new, |bytes| bytes.to_string()), from]
}

fn figure(table: &mut Table, name: &str, figure: &Figure) {
    let said = figure.others.iter().map(|other| {
        let same = Some(other.value) == figure.bytes;
        let said = if same { "the same".to_owned() } else { format!("{} ({} B)", size(other.value), other.value) };
        format!("; {}: {said}", escape(&other.from))
    });
    let from = iter::once(escape(&figure.from)).chain(said).collect();
    table.row(row(name, figure.bytes, from));
}

fn found<T>(table: &mut Table, name: &str, found: &Found<T>, written: impl Fn(&T) -> (Option<u64>, Option<String>)) {
    let shown = |value: &T| match written(value) {
        (Some(bytes), Some(text)) if text.ends_with('%') => format!("{text}, {}", size(bytes)),
        (Some(bytes), _) => size(bytes),
        (None, text) => escape(&text.unwrap_or_default()),
    };
    let from = found.from.as_deref().map_or_else(|| "not known".to_owned(), escape);
    let others = found.others.iter().map(|other| format!("; {}: {}", escape(&other.from), shown(&other.value)));
    let from: String = iter::once(from).chain(others).collect();
    let bytes = found.value.as_ref().and_then(|value| written(value).0);
    let value = found
        .value
        .as_ref()
        .map_or_else(|| if found.from.is_some() { "none".to_owned() } else { "?".to_owned() }, shown);
    table.row(vec![name.to_owned(), value, bytes.map_or_else(String::new, |bytes| bytes.to_string()), from]);
}

/// What options would change.
fn changes(is: &Budget, would_be: &Budget, look: Look) -> String {
    let mut table = Table::new(&["", "IS", "WOULD BE", "CHANGE"], &[1, 2, 3]);
    for (name, is, would_be) in [
        ("reserved", is.reserved_bytes, would_be.reserved_bytes),
        ("hard threshold", is.hard_bytes.or(Some(0)), would_be.hard_bytes.or(Some(0))),
        ("allocatable", is.allocatable.bytes, would_be.allocatable.bytes),
        ("limit of kubepods", is.kubepods_limit.bytes, would_be.kubepods_limit.bytes),
    ] {
        let change = is.zip(would_be).map(|(is, would_be)| crate::node::budget::difference(would_be, is));
        let change = change
            .map_or_else(String::new, |bytes| if bytes > 0 { format!("+{}", signed(bytes)) } else { signed(bytes) });
        table.row(vec![name.to_owned(), optional(is), optional(would_be), change]);
    }
    let mut page = Page::new(look);
    if !would_be.valid {
        page.paragraph(
            &[("  ! ", RED)],
            4,
            PLAIN,
            "Reservations and threshold exceed the capacity: the kubelet would not start.",
        );
    }
    let over = would_be.pods_working_set_bytes.zip(would_be.kubepods_limit.bytes).filter(|(used, limit)| used > limit);
    if let Some((used, limit)) = over {
        let text = format!(
            "Pods use {}, more than the limit of {}: when the kubelet starts with it, the kernel kills in kubepods until they fit \
             (cgroup v2), or the limit is refused (v1).",
            size(used),
            size(limit)
        );
        page.paragraph(&[("  ! ", RED)], 4, PLAIN, &text);
    } else if let Some((used, allocatable)) =
        would_be.pods_working_set_bytes.zip(would_be.allocatable.bytes).filter(|(used, allocatable)| used > allocatable)
    {
        let text = format!(
            "Pods use {}, more than the {} that would be allocatable: the kubelet would evict at once.",
            size(used),
            size(allocatable)
        );
        page.paragraph(&[("  ! ", YELLOW)], 4, PLAIN, &text);
    }
    table.text(look) + &page.finish()
}

fn now(report: &Report, look: Look) -> String {
    let mut page = Page::new(look);
    for signal in &report.now.signals {
        page.paragraph(
            &[("  ", PLAIN), (signal.signal, BOLD)],
            4,
            PLAIN,
            &format!(" {}", of_signal(signal, report.budget.configured)),
        );
        if let Some(race) = &signal.race {
            page.paragraph(&[("    ", PLAIN)], 4, style(race.first), &growth(race));
        }
    }
    if let Some(hard) = report.budget.hard_bytes {
        let text = format!(
            "The kubelet looks every 10 s: it is first where memory grows by less than {}/s.",
            size(whole(race::fastest_seen(hard)))
        );
        page.paragraph(&[("  ", PLAIN)], 4, PLAIN, &text);
    }
    let overcommit = &report.overcommit;
    let text = format!(
        "mode {}, ratio {} %, CommitLimit {}, Committed_AS {}",
        overcommit.mode.map_or_else(|| "?".to_owned(), |mode| mode.to_string()),
        overcommit.ratio_percent.map_or_else(|| "?".to_owned(), |ratio| ratio.to_string()),
        optional(overcommit.commit_limit_bytes),
        optional(overcommit.committed_bytes)
    );
    page.paragraph(&[("  ", PLAIN), ("overcommit", BOLD)], 4, PLAIN, &format!(" {text}"));
    let swap = match report.swap.total_bytes {
        Some(0) => "none".to_owned(),
        total => format!("{} of {} free", optional(report.swap.free_bytes), optional(total)),
    };
    page.paragraph(&[("  ", PLAIN), ("swap", BOLD)], 4, PLAIN, &format!(" {swap}"));
    page.finish()
}

fn of_signal(signal: &Signal, configured: bool) -> String {
    let mut parts = vec![format!(
        "{} = {} less {} in use",
        signed(signal.available_bytes),
        size(signal.capacity_bytes),
        size(signal.working_set_bytes)
    )];
    parts.push(match (signal.threshold_bytes, signal.distance_bytes) {
        (Some(threshold), Some(distance)) if distance < 0 => {
            format!("; below the threshold of {} by {}", size(threshold), size(distance.unsigned_abs()))
        }
        (Some(threshold), Some(distance)) => {
            format!("; {} above the threshold of {}", signed(distance), size(threshold))
        }
        _ if configured => "; no threshold".to_owned(),
        _ => "; the threshold is not known".to_owned(),
    });
    if let (Some(threshold), Some(distance)) = (signal.soft_threshold_bytes, signal.soft_distance_bytes) {
        parts.push(format!("; {} above the soft one of {}", signed(distance), size(threshold)));
    }
    if let Some(said) = signal.kubelet_available_bytes {
        let age = signal.kubelet_age_ms.map_or_else(String::new, |age| format!(", {} s ago", age.max(0) / 1000));
        parts.push(format!(". The kubelet says {}{age}", size(said)));
    }
    parts.concat()
}

fn style(first: First) -> Style {
    match first {
        First::Kernel => RED,
        First::Kubelet | First::Either => YELLOW,
        First::Nobody | First::Unknown => PLAIN,
    }
}

fn growth(race: &Race) -> String {
    let speed = race.bytes_per_second;
    if race.first == First::Nobody {
        let sign = if speed < 0.0 { "-" } else { "" };
        return format!("does not grow ({sign}{}/s)", size(whole(speed.abs())));
    }
    let threshold = race.threshold_seconds.map(|seconds| {
        if seconds > 0.0 {
            format!(", crosses the threshold in {}", duration(seconds))
        } else {
            ", is below the threshold".to_owned()
        }
    });
    let limit = race.limit_seconds.map(|seconds| format!(", reaches the kernel's limit in {}", duration(seconds)));
    let first = match race.first {
        First::Kubelet => "; the kubelet evicts first",
        First::Kernel => "; the kernel kills first",
        First::Unknown => "; the kubelet's threshold is not known",
        First::Either | First::Nobody => "; the kubelet or the kernel is first, by where in its 10 s the kubelet is",
    };
    let moves = if speed < 0.0 { "falls" } else { "grows" };
    let text = format!("{moves} by {}/s", size(whole(speed.abs())));
    [text, threshold.unwrap_or_default(), limit.unwrap_or_default(), first.to_owned()].concat()
}

/// Seconds as people say them.
fn duration(seconds: f64) -> String {
    let seconds = whole(seconds);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn pods(report: &Report, look: Look) -> String {
    let heads = ["POD", "QOS", "WORKING SET", "REQUEST", "LIMIT", "OVER REQUEST", "PRIORITY", "EVICTED"];
    let mut table = Table::new(&heads, &[2, 3, 4, 5, 6, 7]);
    for pod in report.pods.iter().take(PODS) {
        table.row(pod_row(pod));
    }
    if table.is_empty() {
        return "  none\n".to_owned();
    }
    let mut text = table.text(look);
    if report.pods.len() > PODS {
        text += &look.paint(DIM, &format!("  and {} more\n", report.pods.len() - PODS));
    }
    let order: Vec<_> = report.eviction_order.iter().take(PODS).map(|name| escape(name)).collect();
    let mut page = Page::new(look);
    let unknown = report.pods.iter().any(|pod| pod.request_bytes.is_none());
    let head = if unknown {
        "  would be evicted in this order, if those whose requests are not known request nothing: "
    } else {
        "  would be evicted in this order: "
    };
    page.paragraph(&[(head, DIM)], 4, PLAIN, &order.join(", "));
    text + &page.finish()
}

fn pod_row(pod: &PodRow) -> Vec<String> {
    let bytes = |bytes: Option<u64>, none: &str| bytes.map_or_else(|| none.to_owned(), size);
    vec![
        escape(&pod.name),
        pod.qos.map_or_else(|| "?".to_owned(), |qos| format!("{qos:?}")),
        bytes(pod.working_set_bytes, "?"),
        bytes(pod.request_bytes, "?"),
        bytes(pod.limit_bytes, "none"),
        pod.over_request_bytes.map_or_else(|| "?".to_owned(), signed),
        pod.priority.map_or_else(|| "?".to_owned(), |priority| priority.to_string()),
        pod.eviction_place.map_or_else(|| "never".to_owned(), |place| format!("{place}.")),
    ]
}

fn guarantees(set: &[Guarantee]) -> Table {
    let heads = ["MIN", "LOW", "HIGH", "BY MEMORYQOS", "SWAP.MAX", "BY LIMITEDSWAP", "CGROUP"];
    let mut table = Table::new(&heads, &[0, 1, 2, 3, 4, 5]);
    for set in set.iter().take(GUARANTEES) {
        let figures = [
            set.min_bytes,
            set.low_bytes,
            set.high_bytes,
            set.high_computed_bytes,
            set.swap_limit_bytes,
            set.swap_computed_bytes,
        ];
        let figures = figures.map(|bytes| bytes.map_or_else(|| "-".to_owned(), size));
        table.row(figures.into_iter().chain([escape(&set.cgroup)]).collect());
    }
    table
}

/// Whether two orders are one: nothing is reserved, and no process outside of pods is among the first.
fn same(one: &Order, other: &Order) -> bool {
    let pids = |order: &Order| order.candidates.iter().map(|candidate| candidate.pid).collect::<Vec<_>>();
    one.total_pages == other.total_pages && pids(one) == pids(other)
}

fn order(order: &Order, look: Look) -> String {
    let heads = ["", "PROCESS", "POINTS", "RESIDENT", "SWAP", "PAGE TABLES", "ADJ", "POD"];
    let mut table = Table::new(&heads, &[0, 2, 3, 4, 5, 6]);
    for (place, candidate) in order.candidates.iter().enumerate() {
        let mut pod = candidate.pod.as_deref().map_or_else(|| "-".to_owned(), escape);
        if candidate.group {
            pod += ", with its container";
        }
        table.row(vec![
            format!("{}.", place + 1),
            format!("{} ({})", escape(&candidate.comm), candidate.pid),
            candidate.points.to_string(),
            size(candidate.resident_bytes),
            size(candidate.swap_bytes),
            size(candidate.page_tables_bytes),
            candidate.oom_score_adj.to_string(),
            pod,
        ]);
    }
    if table.is_empty() {
        return "  no process that may be killed is seen\n".to_owned();
    }
    let sum = format!(
        "  points = resident + swap + page tables, in pages, + adj x {} (a thousandth of {} pages)\n",
        order.total_pages / 1000,
        order.total_pages
    );
    table.text(look) + &look.paint(DIM, &sum)
}
