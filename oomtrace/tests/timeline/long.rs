//! A log of most of a year, which is judged while it is read.

use super::{
    Logs,
    story::{Over, Place, Story},
};

/// More than is kept before the first of it is judged.
const DAYS: usize = 320;

/// `1123` of the last day, `0107` of the first.
fn days() -> impl Iterator<Item = (usize, usize)> {
    let all = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 23];
    let days = (1..).zip(all).flat_map(|(month, days)| (1..=days).map(move |day| (month, day)));
    days.skip(all.iter().sum::<usize>() - DAYS)
}

#[test]
fn every_day_of_a_log_of_months_comes_to_what_it_comes_to_alone() {
    let (app, hog) = (Place::new('a', "app", '1'), Place { qos: "-besteffort", ..Place::new('b', "hog", '2') });
    let mut story = Story::default();
    story.starts(0.0, app).starts(0.5, hog).oom(20.0, app, 801, Over::Container, true, &[]).ends(21.0, app, 137);
    for back_off in 0..12 {
        story.klog(
            30.0 + f64::from(back_off) * 10.0,
            r#""Error syncing pod, skipping" err="failed to \"StartContainer\" for \"app\" with CrashLoopBackOff: \"back-off 5m0s restarting failed container=app pod=pod-a_default\"" pod="default/pod-a""#,
        );
    }
    story.evicts(200.0, hog, 137, 2).goes_on(300.0);
    let gist = |lines: &[serde_json::Value]| -> Vec<String> {
        let of = |line: &serde_json::Value| {
            let verdict = &line["verdict"];
            format!("{} {} {} {}", line["pod"]["name"], verdict["scenario"], line["kills"], verdict["kubernetes_shows"])
        };
        lines.iter().map(of).collect()
    };
    let alone = gist(&Logs::of(&story.kernel, &story.kubelet).reported(&[]));
    assert_eq!(alone.len(), 2, "{alone:?}");

    let (mut kernel, mut kubelet) = (String::new(), String::new());
    for (month, day) in days() {
        kernel += &story.kernel.replace("2026-11-23T", &format!("2026-{month:02}-{day:02}T"));
        kubelet += &story.kubelet.replace("I1123 ", &format!("I{month:02}{day:02} "));
    }
    let logs = Logs::of(&kernel, &kubelet);
    let reported = logs.reported(&[]);
    assert_eq!(gist(&reported), alone.iter().cycle().take(2 * DAYS).cloned().collect::<Vec<_>>());
    let started: Vec<_> = reported.iter().map(|line| line["started"].as_str().expect("a time")).collect();
    assert!(started.is_sorted());
    let seqs: Vec<_> = reported.iter().map(|line| line["seq"].as_u64().expect("a number")).collect();
    assert!(seqs.is_sorted());

    // Two halves in two files, the later one given first.
    let middle = kubelet.match_indices('\n').nth(kubelet.lines().count() / 2).expect("lines").0 + 1;
    let halves = (Logs::of("", &kubelet[middle..]), Logs::of(&kernel, &kubelet[..middle]));
    let more = ["--kubelet-log", &halves.0.path("kubelet")];
    assert_eq!(gist(&halves.1.reported(&more)), gist(&reported));
}
