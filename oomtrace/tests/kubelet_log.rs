//! What the kubelet's logs of real nodes say, in each of the forms that they were kept in.

use std::{fs::File, io::Read as _, path::Path};

use jiff::{Timestamp, tz::TimeZone};
use oomtrace::{
    event::{ContainerAction, ContainerChange, Event, EvictionPhase as Phase, Moment, Observation, Pod},
    source::kubelet_log::{Calendar, LogReader},
};

const CAPTURES: [&str; 3] = ["evict-1.20-systemd", "evict-1.36-systemd", "oomkill-1.36-systemd"];
const FORMS: [&str; 4] =
    ["kubelet.log", "kubelet.journal-short.log", "kubelet.journal-iso.log", "kubelet.journal.json"];

fn log(capture: &str, form: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(capture).join(format!("{form}.zst"));
    let file = File::open(&path).unwrap_or_else(|error| unreachable!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(file).expect("zstd").read_to_end(&mut bytes).expect("zstd");
    bytes
}

fn reader() -> LogReader {
    let not_after: Timestamp = "2026-11-24T06:00:00Z".parse().expect("a time");
    LogReader::new(Calendar { not_after, zone: TimeZone::UTC }, Vec::new()).expect("a reader")
}

fn read(bytes: &[u8]) -> Vec<Observation> {
    let (mut reader, mut observed) = (reader(), Vec::new());
    reader.push(bytes, &mut observed);
    reader.finish(&mut observed);
    assert_eq!((reader.counts().unreadable, reader.counts().undated, reader.counts().forged), (0, 0, 0));
    observed
}

fn printed(observed: &[Observation]) -> String {
    let mut out = String::new();
    for observed in observed {
        let Moment::Wall(at) = observed.at else { unreachable!("the kubelet tells wall time") };
        out.extend([at.to_string().as_str(), " ", &serde_json::to_string(&observed.event).expect("JSON"), "\n"]);
    }
    out
}

#[test]
fn each_form_of_the_same_log_tells_the_same_events() {
    for capture in CAPTURES {
        let expected = printed(&read(&log(capture, FORMS[0])));
        for form in &FORMS[1..] {
            let found = printed(&read(&log(capture, form)));
            assert!(found == expected, "{capture} {form}");
        }
    }
}

/// The steps of a phase, as `pod(s) signal threshold available`.
fn steps(observed: &[Observation], phase: Phase) -> Vec<String> {
    let name = |pod: &Pod| {
        let (namespace, name) = (pod.namespace.as_deref().unwrap_or("?"), pod.name.as_deref().unwrap_or("?"));
        format!("{namespace}/{name} {}", pod.uid.as_ref().map_or("?", |uid| uid.as_str()))
    };
    observed
        .iter()
        .filter_map(|observed| match &observed.event {
            Event::Eviction(step) if step.phase == phase => {
                let pods: Vec<_> = step.pod.iter().chain(&step.pods).map(name).collect();
                let amount = |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| bytes.to_string());
                let (threshold, available) = (amount(step.threshold_bytes), amount(step.available_bytes));
                Some(format!("{} {} {threshold} {available}", pods.join(", "), step.signal.as_deref().unwrap_or("?")))
            }
            _ => None,
        })
        .collect()
}

fn changes(observed: &[Observation], action: ContainerAction) -> Vec<&ContainerChange> {
    observed
        .iter()
        .filter_map(|observed| match &observed.event {
            Event::Container(change) if change.action == action => Some(&**change),
            _ => None,
        })
        .collect()
}

#[test]
fn kubelet_1_20_evicted_one_pod_and_refused_another() {
    let observed = read(&log("evict-1.20-systemd", "kubelet.log"));
    let hog = "default/be-hog 764172df-e505-4352-baf3-8d8bfa4598b0";
    let amounts = "allocatableMemory.available 1073741824 775421952";
    assert_eq!(steps(&observed, Phase::ThresholdMet), [format!(" {amounts}")]);
    assert_eq!(
        steps(&observed, Phase::Ranked),
        [format!(
            "{hog}, team-a/be-multi 27340009-8ade-4780-a577-006bebb9c696, team-a/bu-hog \
             88c0a2cf-58ff-49b2-b367-a9890c5e2090, default/gu-app 5a9f8da6-928b-4694-b0a5-4bc351f65158 {amounts}"
        )]
    );
    for phase in [Phase::Evicting, Phase::Evicted, Phase::AwaitingCleanup, Phase::CleanedUp] {
        assert_eq!(steps(&observed, phase), [format!("{hog} {amounts}")], "{phase:?}");
    }
    assert_eq!(
        steps(&observed, Phase::AdmissionRefused),
        ["default/late-besteffort 4639cfdb-a810-4631-b889-2bead2cd3df4 ? ? ?"]
    );
    let kills = changes(&observed, ContainerAction::Killing);
    assert!(kills.iter().all(|kill| kill.reason.as_deref() == Some("Evicted")));
}

#[test]
fn kubelet_1_36_evicted_two_pods_and_its_log_does_not_say_for_which_signal() {
    let observed = read(&log("evict-1.36-systemd", "kubelet.log"));
    let multi = "team-a/be-multi 5c0a9e21-a404-4987-b625-62e3ee967a54";
    let hog = "default/be-hog 1ab823cb-c402-4c21-94aa-38e722342611";
    let rest =
        "team-a/bu-hog 8a39171a-10ef-4e5d-b0c2-445e43e3d7fc, default/gu-app 96b2e47c-cde9-4ab2-83a7-d8d7ce48e0dd";
    assert_eq!(
        steps(&observed, Phase::Ranked),
        [format!("{multi}, {hog}, {rest} ? ? ?"), format!("{hog}, {rest} ? ? ?")]
    );
    for phase in [Phase::Evicted, Phase::AwaitingCleanup, Phase::CleanedUp] {
        assert_eq!(steps(&observed, phase), [format!("{multi} ? ? ?"), format!("{hog} ? ? ?")], "{phase:?}");
    }
    let evictions = observed.iter().filter_map(|observed| match &observed.event {
        Event::Eviction(step) if step.phase != Phase::Error => Some(step.memory),
        _ => None,
    });
    assert!(evictions.into_iter().all(|memory| memory == Some(true)));
    let names = |action| -> Vec<_> {
        changes(&observed, action)
            .iter()
            .filter(|change| change.sandbox != Some(true))
            .map(|c| name_and_code(c))
            .collect()
    };
    assert_eq!(names(ContainerAction::Killing), ["cache ?", "web ?", "leaky ?"]);
    assert_eq!(names(ContainerAction::Died), ["cache 0", "web 0", "leaky 0"], "evicted containers may end with 0");
}

fn name_and_code(change: &ContainerChange) -> String {
    let name = change.container.as_ref().and_then(|container| container.name.as_deref()).unwrap_or("?");
    format!("{name} {}", change.exit_code.map_or("?".to_owned(), |code| code.to_string()))
}

#[test]
fn kubelet_1_36_saw_seven_oom_kills_and_kubernetes_calls_two_of_them_errors() {
    let observed = read(&log("oomkill-1.36-systemd", "kubelet.log"));
    assert!(steps(&observed, Phase::ThresholdMet).is_empty());
    assert_eq!(changes(&observed, ContainerAction::OomNoticed).len(), 7);
    let ends: Vec<_> = changes(&observed, ContainerAction::Died)
        .into_iter()
        .filter(|change| change.exit_code == Some(137))
        .map(|change| change.pod.as_ref().and_then(|pod| pod.name.clone()).unwrap_or_default())
        .collect();
    let burstable = "oom-burstable";
    assert_eq!(
        ends,
        ["oom-init", burstable, burstable, "oom-guaranteed", burstable, burstable, burstable],
        "each kill once, with the name of its pod"
    );
    let reported: Vec<_> = changes(&observed, ContainerAction::Reported)
        .into_iter()
        .filter(|change| change.exit_code == Some(137))
        .map(|change| format!("{} {}", name_and_code(change), change.reason.as_deref().unwrap_or("?")))
        .collect();
    assert_eq!(reported.iter().filter(|reported| reported.ends_with("OOMKilled")).count(), 5, "{reported:?}");
    assert_eq!(reported.iter().filter(|reported| reported.ends_with("Error")).count(), 2, "{reported:?}");
    let deleted = changes(&observed, ContainerAction::PodDeleted);
    assert_eq!(deleted.len(), 1);
    let kills = changes(&observed, ContainerAction::Killing);
    let sidecar = kills.iter().find(|kill| name_and_code(kill) == "sidecar ?").expect("the sidecar was told to end");
    assert_eq!(sidecar.reason.as_deref(), Some("PodDeleted"));
}

#[test]
fn containerd_noticed_the_five_that_kubernetes_calls_oomkilled() {
    let observed = read(&log("oomkill-1.36-systemd", "containerd.log"));
    assert_eq!(changes(&observed, ContainerAction::OomNoticed).len(), 5);
}
