use std::time::Duration;

use super::{Bounds, Index};
use crate::{
    event::{
        Cgroup, Container, ContainerAction, ContainerChange, ContainerId, ContainerRole, Event, GrownPod, Level, Pod,
        PodUid, Pressure, QosClass,
    },
    node::fact::{ContainerFact, Fact, NameSource, PodFact, SpecContainer},
};

const SECOND: u64 = 1_000_000_000;

fn uid(number: u32) -> PodUid {
    format!("{number:08x}-23d2-4099-bf62-d501a2753c91").parse().expect("a uid")
}

fn id(number: u32) -> ContainerId {
    format!("{number:064x}").parse().expect("an id")
}

fn index() -> Index {
    Index::new(Bounds { entries: 100, keep: Duration::from_mins(1) })
}

fn path(pod: u32, container: u32) -> String {
    format!("/kubepods/burstable/pod{}/{}", uid(pod), id(container))
}

fn pod(source: NameSource, number: u32, name: &str) -> Fact {
    Fact::Pod(PodFact {
        namespace: Some("shop".to_owned()),
        name: Some(name.to_owned()),
        ..PodFact::new(source, uid(number))
    })
}

fn container(source: NameSource, number: u32, pod: u32, name: &str) -> Fact {
    Fact::Container(ContainerFact {
        pod: Some(uid(pod)),
        name: Some(name.to_owned()),
        ..ContainerFact::new(source, id(number))
    })
}

/// An event as the kernel's side makes it: what the path reported, and no more.
fn reported(pod: Option<u32>, container: Option<u32>, cgroup_id: Option<u64>) -> Event {
    Event::Container(Box::new(ContainerChange {
        action: ContainerAction::Died,
        pod: pod.map(|number| Pod { uid: Some(uid(number)), ..Pod::default() }),
        container: container.map(|number| Container { id: Some(id(number)), ..Container::default() }),
        cgroup: Some(Cgroup { id: cgroup_id, ..Cgroup::default() }),
        sandbox: None,
        exit_code: None,
        reason: None,
        message: None,
        grace_period_ms: None,
    }))
}

/// `namespace/pod/container` as an event has them after filling, and whether a name was missing.
fn filled(index: &Index, mut event: Event) -> (String, bool) {
    let missing = index.fill(&mut event);
    let Event::Container(change) = event else { unreachable!("it stays what it is") };
    let pod = change.pod.unwrap_or_default();
    let container = change.container.unwrap_or_default();
    let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    (format!("{}/{}/{}", text(pod.namespace), text(pod.name), text(container.name)), missing)
}

#[test]
fn an_event_gets_the_names_that_are_known_and_says_whether_one_is_missing() {
    let mut index = index();
    assert_eq!(filled(&index, reported(Some(1), Some(2), None)), ("-/-/-".to_owned(), true));
    index.learn(pod(NameSource::PodLogs, 1, "web-0"), 0);
    assert_eq!(filled(&index, reported(Some(1), Some(2), None)), ("shop/web-0/-".to_owned(), true));
    index.learn(container(NameSource::Cri, 2, 1, "app"), 0);
    assert_eq!(filled(&index, reported(Some(1), Some(2), None)), ("shop/web-0/app".to_owned(), false));
    assert_eq!(
        filled(&index, reported(None, None, Some(7))),
        ("-/-/-".to_owned(), false),
        "a service has no pod to wait for"
    );
}

#[test]
fn a_cgroups_id_alone_gives_the_names_also_after_its_end() {
    let mut index = index();
    index.learn(Fact::Cgroup { id: 77, path: path(1, 2) }, 0);
    index.learn(pod(NameSource::Cri, 1, "web-0"), 0);
    index.learn(container(NameSource::Cri, 2, 1, "app"), 0);
    index.learn(Fact::CgroupGone { id: 77 }, SECOND);
    index.sweep(50 * SECOND);
    assert_eq!(filled(&index, reported(None, None, Some(77))), ("shop/web-0/app".to_owned(), false));
    index.sweep(62 * SECOND);
    assert_eq!(filled(&index, reported(None, None, Some(77))), ("-/-/-".to_owned(), false), "kept for a minute only");
    assert_eq!(index.containers(), 0);
}

#[test]
fn a_pod_that_was_made_again_under_its_name_is_another_pod() {
    let mut index = index();
    for (uid, cgroup) in [(1, 71), (2, 72)] {
        index.learn(Fact::Cgroup { id: cgroup, path: path(uid, uid + 10) }, 0);
        index.learn(pod(NameSource::Cri, uid, "db-0"), 0);
        index.learn(container(NameSource::Cri, uid + 10, uid, "db"), 0);
        index.learn(Fact::CgroupGone { id: cgroup }, SECOND);
    }
    let mut event = reported(None, None, Some(72));
    index.fill(&mut event);
    let Event::Container(change) = event else { unreachable!("it stays what it is") };
    assert_eq!(change.pod.and_then(|pod| pod.uid), Some(uid(2)));
    assert_eq!(change.container.and_then(|container| container.id), Some(id(12)));
}

#[test]
fn a_restart_is_reported_from_the_container_before_it() {
    let mut index = index();
    for (number, attempt) in [(2, 0), (3, 1)] {
        index.learn(
            Fact::Container(ContainerFact {
                pod: Some(uid(1)),
                name: Some("app".to_owned()),
                restart_count: Some(attempt),
                ..ContainerFact::new(NameSource::Cri, id(number))
            }),
            0,
        );
    }
    let restarts = |number| index.known(&id(number)).and_then(|known| known.container?.restart_count);
    assert_eq!((restarts(2), restarts(3)), (Some(0), Some(1)));
}

#[test]
fn a_line_about_memory_does_not_wait_for_the_names_of_pods_that_grew_nor_do_theirs_wait_behind_it() {
    let mut index = index();
    index.learn(pod(NameSource::Cri, 1, "web-0"), 0);
    let grown = [1, 2].map(|number| GrownPod {
        pod: Some(Pod { uid: Some(uid(number)), ..Pod::default() }),
        usage_bytes: 2,
        grown_bytes: 1,
        over_ms: 1000,
    });
    let mut event = Event::Pressure(Box::new(Pressure { grown: grown.to_vec(), ..Pressure::default() }));
    let (mut unnamed, mut about) = (Vec::new(), Vec::new());
    index.fill_noting(&mut event, &mut unnamed, &mut about);
    assert!(unnamed.is_empty() && about.is_empty());
    let Event::Pressure(pressure) = event else { unreachable!("it stays what it is") };
    let names: Vec<_> =
        pressure.grown.iter().map(|grown| grown.pod.as_ref().and_then(|pod| pod.name.as_deref())).collect();
    assert_eq!(names, [Some("web-0"), None]);
}

#[test]
fn a_sandbox_has_no_name_to_wait_for() {
    let mut index = index();
    index.learn(pod(NameSource::Cri, 1, "web-0"), 0);
    index.learn(
        Fact::Container(ContainerFact {
            pod: Some(uid(1)),
            role: Some(ContainerRole::Sandbox),
            ..ContainerFact::new(NameSource::Cri, id(9))
        }),
        0,
    );
    let mut event = reported(Some(1), Some(9), None);
    assert!(!index.fill(&mut event));
    let Event::Container(change) = event else { unreachable!("it stays what it is") };
    assert_eq!(change.sandbox, Some(true));
}

#[test]
fn what_a_better_source_said_stays() {
    let mut index = index();
    index.learn(container(NameSource::PodLogs, 2, 1, "from-logs"), 0);
    index.learn(container(NameSource::Cri, 2, 1, "from-cri"), 0);
    index.learn(container(NameSource::OciConfig, 2, 1, "from-oci"), 0);
    let known = index.known(&id(2)).expect("it is known");
    assert_eq!(known.container.and_then(|container| container.name).as_deref(), Some("from-cri"));
    assert_eq!(known.source, Some(NameSource::Cri));
}

#[test]
fn a_path_that_claims_another_pods_container_gets_no_container_names() {
    let mut index = index();
    index.learn(pod(NameSource::Cri, 1, "victim"), 0);
    index.learn(container(NameSource::Cri, 2, 1, "app"), 0);
    index.learn(pod(NameSource::Cri, 5, "attacker"), 0);
    assert_eq!(filled(&index, reported(Some(5), Some(2), None)).0, "shop/attacker/-");
}

#[test]
fn the_end_of_a_cgroup_inside_a_container_is_not_the_containers() {
    let mut index = index();
    index.learn(Fact::Cgroup { id: 70, path: path(1, 2) }, 0);
    index.learn(Fact::Cgroup { id: 71, path: format!("{}/system.slice", path(1, 2)) }, 0);
    index.learn(Fact::CgroupGone { id: 71 }, SECOND);
    assert!(!index.known(&id(2)).expect("it is known").ended);
    index.learn(Fact::CgroupGone { id: 70 }, 2 * SECOND);
    assert!(index.known(&id(2)).expect("it is known").ended);
}

#[test]
fn however_many_come_no_more_are_kept_than_there_is_room_for() {
    let mut index = index();
    for number in 0..10_000 {
        index.learn(Fact::Cgroup { id: u64::from(number), path: path(number, number) }, u64::from(number));
        index.learn(pod(NameSource::Cri, number, &format!("pod-{number}")), u64::from(number));
        index.learn(container(NameSource::Cri, number, number, "app"), u64::from(number));
    }
    assert!(index.containers() <= 100, "{}", index.containers());
    index.sweep(0);
    assert!(index.texts.len() <= 110, "{} texts of forgotten pods are kept", index.texts.len());
    assert_eq!(filled(&index, reported(Some(9_999), Some(9_999), None)).0, "shop/pod-9999/app");
}

#[test]
fn the_class_by_the_path_is_not_forgotten_when_a_source_does_not_tell_it() {
    let mut index = index();
    index.learn(Fact::Cgroup { id: 70, path: path(1, 2) }, 0);
    index.learn(pod(NameSource::Cri, 1, "web-0"), 0);
    assert_eq!(index.known_pod(&uid(1)).and_then(|known| known.pod?.qos), Some(QosClass::Burstable));
}

#[test]
fn a_pod_of_the_kubelets_log_gets_its_uid_only_where_one_pod_has_the_name() {
    let mut index = index();
    index.learn(pod(NameSource::Cri, 1, "web-0"), 0);
    let by_name = || Pod { namespace: Some("shop".to_owned()), name: Some("web-0".to_owned()), ..Pod::default() };
    let mut one = by_name();
    index.pod_of_kubelet(&mut one);
    assert_eq!(one.uid, Some(uid(1)));
    index.learn(pod(NameSource::Cri, 2, "web-0"), 0);
    let mut two = by_name();
    index.pod_of_kubelet(&mut two);
    assert_eq!(two.uid, None);
}

#[test]
fn packed_ids_read_back() {
    let hash: PodUid = "df465823e70c8abfd71f22990142be6a".parse().expect("a static pod's");
    for uid in [uid(7), hash] {
        assert_eq!(PodUid::from_packed(uid.packed()), uid);
    }
    assert_eq!(ContainerId::from_packed(&id(0xdead_beef).packed()), id(0xdead_beef));
}

#[test]
fn the_end_of_a_cgroup_inside_a_pod_is_not_the_pods() {
    let mut index = index();
    let pods = format!("/kubepods/burstable/pod{}", uid(1));
    index.learn(Fact::Cgroup { id: 10, path: pods.clone() }, 0);
    index.learn(Fact::Cgroup { id: 11, path: format!("{pods}/crio-conmon-{}.scope", id(2)) }, 0);
    index.learn(Fact::CgroupGone { id: 11 }, SECOND);
    assert!(index.known_pod(&uid(1)).is_some_and(|pod| !pod.ended), "the pod lives on");
    index.learn(Fact::CgroupGone { id: 10 }, SECOND);
    assert!(index.known_pod(&uid(1)).is_some_and(|pod| pod.ended), "its own cgroup's end is its end");
}

#[test]
fn a_reading_of_memory_has_what_the_specification_requests() {
    let mut index = index();
    let spec = |name: &str, role, request_bytes| SpecContainer {
        name: name.to_owned(),
        role,
        limit_bytes: None,
        request_bytes,
    };
    let specs = vec![
        spec("app", ContainerRole::App, Some(100)),
        spec("proxy", ContainerRole::Sidecar, Some(20)),
        spec("setup", ContainerRole::Init, Some(5000)),
    ];
    index.learn(Fact::Cgroup { id: 7, path: path(1, 1) }, 0);
    index.learn(container(NameSource::Kubelet, 1, 1, "app"), 0);
    let uid_of = Some(Pod { uid: Some(uid(1)), ..Pod::default() });
    let read = |index: &Index, container: Option<u32>, level| {
        let mut event = Event::Pressure(Box::new(Pressure {
            pod: uid_of.clone(),
            container: container.map(|number| Container { id: Some(id(number)), ..Container::default() }),
            level: Some(level),
            ..Pressure::default()
        }));
        index.fill(&mut event);
        let Event::Pressure(read) = event else { unreachable!("it was a reading") };
        read.request_bytes
    };
    assert_eq!(read(&index, Some(1), Level::Container), None, "nobody has said so yet");
    let fact = PodFact { containers: Some(specs), ..PodFact::new(NameSource::Kubelet, uid(1)) };
    index.learn(Fact::Pod(fact), 0);
    assert_eq!(read(&index, Some(1), Level::Container), Some(100));
    assert_eq!(read(&index, None, Level::Pod), Some(120), "init containers have ended when the others run");
    assert_eq!(read(&index, None, Level::Node), None);
}
