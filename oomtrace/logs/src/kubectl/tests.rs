use std::{collections::BTreeMap, path::Path};

use oomtrace_model::{
    ContainerRole::{App, Init, Sidecar},
    PodUid,
};

use super::*;

const UID: &str = "c8119223-23d2-4099-bf62-d501a2753c91";

fn read_text(text: &str) -> (Snapshot, Found) {
    let mut snapshot = Snapshot::default();
    let found = read(text.as_bytes(), &mut snapshot).expect("JSON");
    (snapshot, found)
}

#[test]
fn a_pod_of_the_api_server_has_containers_limits_and_ends() {
    let id = "1".repeat(64);
    let (snapshot, found) = read_text(&format!(
        r#"{{"kind":"List","items":[{{"metadata":{{"name":"web","namespace":"default","uid":"{UID}"}},
        "spec":{{"nodeName":"node1","containers":[{{"name":"app","resources":{{"limits":{{"memory":"64Mi"}}}}}}],"initContainers":[{{"name":"init"}},{{"name":"mesh","restartPolicy":"Always"}}]}},
        "status":{{"qosClass":"Burstable","containerStatuses":[{{"name":"app","restartCount":3,"containerID":"containerd://{id}",
        "lastState":{{"terminated":{{"containerID":"containerd://{id}","exitCode":137,"reason":"OOMKilled"}}}}}}]}}}}]}}"#
    ));
    assert_eq!((found.pods, snapshot.nodes), (1, vec!["node1".to_owned()]));
    let record = &snapshot.pods[&UID.parse().expect("a uid")];
    assert!(record.complete);
    let app = &record.containers["app"];
    assert_eq!((app.limit_bytes, app.restart_count), (Some(64 << 20), Some(3)));
    assert_eq!(app.ends[&id.parse().expect("an id")].reason.as_deref(), Some("OOMKilled"));
    let role = |name: &str| record.containers[name].role;
    assert_eq!([role("app"), role("init"), role("mesh")], [App, Init, Sidecar].map(Some));
}

#[test]
fn a_mirror_pod_is_known_by_the_hash_that_the_node_has() {
    let hash = "df465823e70c8abfd71f22990142be6a";
    let (snapshot, _) = read_text(&format!(
        r#"{{"metadata":{{"name":"s","namespace":"k","uid":"{UID}","annotations":{{"kubernetes.io/config.mirror":"{hash}"}}}},"spec":{{"containers":[]}}}}"#
    ));
    let (shown, hash) = (UID.parse().expect("a uid"), hash.parse().expect("a hash"));
    assert_eq!(snapshot.canonical(&shown), &hash);
    assert!(snapshot.pods.contains_key(&hash));
}

#[test]
fn an_evicted_pods_status_and_event_have_the_amounts_and_a_refused_ones_have_none() {
    let message = "The node was low on resource: memory. Threshold quantity: 1Gi, available: 977484Ki. Container web was using 102916Ki, request is 0, has larger consumption of memory. ";
    let (snapshot, found) = read_text(&format!(
        r#"[{{"reason":"Evicted","message":"{message}","involvedObject":{{"kind":"Pod","namespace":"n","name":"p","uid":"{UID}"}}}},
        {{"metadata":{{"uid":"{UID}"}},"spec":{{"containers":[]}},"status":{{"reason":"Evicted","message":"Pod was rejected: The node had condition: [MemoryPressure]. "}}}}]"#
    ));
    assert_eq!((found.events, found.pods), (1, 1));
    let [event, status] = &snapshot.evictions[..] else { unreachable!("{:?}", snapshot.evictions) };
    assert_eq!(
        (event.threshold_bytes, event.available_bytes, event.refused),
        (Some(1 << 30), Some(977_484 << 10), false)
    );
    assert_eq!(event.containers[0].usage_bytes, Some(102_916 << 10));
    assert!(status.refused);
}

#[test]
fn the_runtimes_answers_are_read_in_both_spellings_and_whatever_follows_does_not_spoil_them() {
    let (sandbox, container) = ("a".repeat(64), "b".repeat(64));
    let labels = |container: &str| {
        format!(
            r#"{{"io.kubernetes.pod.name":"p","io.kubernetes.pod.namespace":"n","io.kubernetes.pod.uid":"{UID}"{container}}}"#
        )
    };
    let name = r#","io.kubernetes.container.name":"app""#;
    let snake = format!(
        r#"{{"containers":[{{"id":"{container}","pod_sandbox_id":"{sandbox}","labels":{}}}],"sandboxes":[{{"id":"{sandbox}","labels":{}}}]}} <nil>"#,
        labels(name),
        labels("")
    );
    let camel = format!(
        r#"{{"status":{{"id":"{container}","labels":{},"finishedAt":"2026-11-23T23:21:01Z","exitCode":137,"reason":"OOMKilled","resources":{{"linux":{{"memoryLimitInBytes":"67108864"}}}}}}}}"#,
        labels(name)
    );
    let (mut snapshot, found) = read_text(&snake);
    assert_eq!(found.runtime, 2);
    read(camel.as_bytes(), &mut snapshot).expect("JSON");
    let record = &snapshot.pods[&UID.parse().expect("a uid")];
    assert_eq!(record.sandboxes, [sandbox.parse().expect("an id")]);
    let app = &record.containers["app"];
    assert_eq!(app.limit_bytes, Some(64 << 20));
    assert_eq!(app.ends.values().next().and_then(|end| end.reason.as_deref()), Some("OOMKilled"));
    assert!(!record.complete, "the runtime knows what runs, not what is specified");
}

#[test]
fn what_is_no_json_is_an_error_and_json_of_nothing_is_said() {
    assert!(read(b"NAME READY STATUS\n", &mut Snapshot::default()).is_err());
    let (_, found) = read_text(r#"{"hello":["world"]}"#);
    assert!(found.is_empty());
}

#[test]
fn folders_of_logs_name_pods_and_links_name_containers() {
    let mut snapshot = Snapshot::default();
    let folder = format!("team-a_oom-burstable_{UID}");
    assert!(log_dir::enter_pod(&folder, ["app", "sidecar"].into_iter(), &mut snapshot));
    assert!(!log_dir::enter_pod("lost+found", std::iter::empty(), &mut snapshot));
    let id = "c".repeat(64);
    let link = format!("oom-burstable_team-a_app-{id}.log");
    assert!(log_dir::enter_link(&link, None, &mut snapshot));
    let record = &snapshot.pods[&UID.parse().expect("a uid")];
    assert_eq!(record.pod.namespace.as_deref(), Some("team-a"));
    assert_eq!(record.containers["app"].ids, BTreeMap::from([(id.parse().expect("an id"), None)]));
}

#[test]
fn each_life_of_a_container_has_the_restart_count_of_its_time() {
    let (before, now) = ("1".repeat(64), "2".repeat(64));
    let count = |snapshot: &Snapshot, id: &str| {
        let id = id.parse().expect("an id");
        snapshot.container(&id).and_then(|(_, _, container)| container.ids[&id])
    };
    let (snapshot, _) = read_text(&format!(
        r#"{{"metadata":{{"uid":"{UID}"}},"spec":{{"containers":[]}},"status":{{"containerStatuses":[{{"name":"app","restartCount":3,"containerID":"containerd://{now}",
        "lastState":{{"terminated":{{"containerID":"containerd://{before}","exitCode":137}}}}}}]}}}}"#
    ));
    assert_eq!([count(&snapshot, &before), count(&snapshot, &now)], [Some(2), Some(3)]);
    let container = |id: &str, count: u8| {
        format!(
            r#"{{"id":"{id}","image":{{"image":"docker.io/library/nginx:1"}},"annotations":{{"io.kubernetes.container.restartCount":"{count}"}},
            "labels":{{"io.kubernetes.container.name":"app","io.kubernetes.pod.uid":"{UID}"}}}}"#
        )
    };
    let (snapshot, _) = read_text(&format!("[{},{}]", container(&now, 1), container(&before, 0)));
    assert_eq!([count(&snapshot, &before), count(&snapshot, &now)], [Some(0), Some(1)]);
    // Before the kubelet's own word for the image was there.
    let image = snapshot.pods.values().next().and_then(|pod| pod.containers["app"].image.as_deref());
    assert_eq!(image, Some("docker.io/library/nginx:1"));
}

#[test]
fn a_sandbox_without_the_kubelets_labels_has_its_pod_in_its_metadata() {
    let id = "a".repeat(64);
    let (snapshot, found) = read_text(&format!(
        r#"{{"items":[{{"id":"{id}","metadata":{{"name":"web","uid":"{UID}","namespace":"d","attempt":0}},"labels":{{}}}}]}}"#
    ));
    assert_eq!(found.runtime, 1);
    let record = &snapshot.pods[&UID.parse().expect("a uid")];
    assert_eq!((record.pod.name.as_deref(), &record.sandboxes[..]), (Some("web"), &[id.parse().expect("an id")][..]));
}

#[test]
fn a_link_is_of_the_pod_that_it_leads_to() {
    let other = "13988cfa-3f13-431a-b298-a4694750cf27";
    let mut snapshot = Snapshot::default();
    for uid in [UID, other] {
        assert!(log_dir::enter_pod(&format!("db_pg-0_{uid}"), ["postgres"].into_iter(), &mut snapshot));
    }
    let id = "c".repeat(64);
    let link = format!("pg-0_db_postgres-{id}.log");
    assert!(!log_dir::enter_link(&link, None, &mut snapshot), "two pods have the name");
    let target = format!("/var/log/pods/db_pg-0_{UID}/postgres/3.log");
    assert!(log_dir::enter_link(&link, Some(Path::new(&target)), &mut snapshot));
    let id = id.parse().expect("an id");
    let (pod, _, container) = snapshot.container(&id).expect("a container");
    assert_eq!((pod.pod.uid.as_ref().map(PodUid::as_str), container.ids[&id]), (Some(UID), Some(3)));
}

#[test]
fn statuses_and_events_say_what_happened_and_when_in_json_and_in_yaml() {
    let id = "1".repeat(64);
    let yaml = format!(
        "kind: List\nitems:\n- metadata: {{name: web, namespace: default, uid: {UID}}}\n  spec:\n    nodeName: node1\n    \
         containers:\n    - name: app\n      args: [java, -Xmx96m]\n      env: [{{name: GOGC, value: '50'}}, {{name: KEY, value: x}}]\n  \
         status:\n    containerStatuses:\n    - name: app\n      lastState:\n        terminated: {{exitCode: 137, reason: \
         OOMKilled, finishedAt: '2026-03-04T05:06:07Z', containerID: containerd://{id}}}\n---\nreason: SystemOOM\n\
         message: 'System OOM encountered, victim process: a, b, pid: 30'\nlastTimestamp: '2026-03-04T06:06:07Z'\n\
         involvedObject: {{kind: Node, name: node2}}\n"
    );
    let (snapshot, found) = read_text(&yaml);
    assert_eq!((found.pods, found.events), (1, 1));
    let app = &snapshot.pods[&UID.parse().expect("a uid")].containers["app"];
    assert_eq!(app.heap_settings, ["-Xmx96m", "GOGC=50"]);
    let lines::Happened { lines, untimed, .. } = lines::lines(&snapshot);
    let seen: Vec<_> = lines.iter().map(|line| (line.node.as_str(), &line.ts[..19])).collect();
    assert_eq!((seen, untimed), (vec![("node1", "2026-03-04T05:06:07"), ("node2", "2026-03-04T06:06:07")], 0));
    let [_, oom] = &lines[..] else { unreachable!("{lines:?}") };
    assert!(
        matches!(&oom.event, oomtrace_model::Event::SystemOom(oom) if oom.pid == Some(30) && oom.comm.as_deref() == Some("a, b"))
    );
    assert!(read(b"\tno: [yaml", &mut Snapshot::default()).is_err());
}

#[test]
fn an_evicted_pod_whose_containers_exited_with_0_has_the_condition_alone() {
    // kubernetes#105467.
    let (snapshot, found) = read_text(&format!(
        r#"{{"metadata":{{"uid":"{UID}","name":"p"}},"spec":{{"nodeName":"node1","containers":[]}},"status":{{"phase":"Succeeded","conditions":[
        {{"type":"DisruptionTarget","reason":"TerminationByKubelet","lastTransitionTime":"2026-06-12T07:30:02Z","message":"The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 898240Ki. "}}]}}}}"#
    ));
    assert_eq!(found.pods, 1);
    let [notice] = &snapshot.evictions[..] else { unreachable!("{:?}", snapshot.evictions) };
    assert_eq!((notice.ts.as_deref(), notice.threshold_bytes), (Some("2026-06-12T07:30:02Z"), Some(1 << 30)));
    let lines = lines::lines(&snapshot).lines;
    let [evicted] = &lines[..] else { unreachable!("{lines:?}") };
    assert_eq!(evicted.node, "node1", "the notice names no node, the pod's status does");
}

#[test]
fn a_pod_that_was_posted_without_its_uid_is_known_by_its_name() {
    let (snapshot, found) = read_text(
        r#"{"metadata":{"name":"p","namespace":"n"},"spec":{"nodeName":"node1","containers":[{"name":"app","resources":{"limits":{"memory":"64Mi"}}}]},
        "status":{"containerStatuses":[{"name":"app","restartCount":1,"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]}}"#,
    );
    assert_eq!(found.pods, 1);
    let app = &snapshot.described[&("n".to_owned(), "p".to_owned())].containers["app"];
    assert_eq!((app.limit_bytes, app.unnamed_ends.len()), (Some(64 << 20), 1));
}

#[test]
fn dockers_own_description_of_a_container_says_how_it_ended() {
    let id = "5".repeat(64);
    let text = format!(
        r#"[{{"Id":"{id}","Name":"/web","RestartCount":2,"Config":{{"Image":"app:1","Labels":{{}}}},"HostConfig":{{"Memory":536870912}},
        "State":{{"Status":"exited","Running":false,"OOMKilled":true,"ExitCode":137,"FinishedAt":"2026-06-12T08:05:05.5Z"}}}}]"#
    );
    let (snapshot, found) = read_text(&text);
    assert_eq!(found.runtime, 1);
    let web = &snapshot.described[&(String::new(), String::new())].containers["web"];
    let end = &web.ends[&id.parse().expect("an id")];
    assert_eq!(
        (end.exit_code, end.reason.as_deref(), web.limit_bytes),
        (Some(137), Some("OOMKilled"), Some(512 << 20))
    );
    let happened = lines::lines(&snapshot);
    assert_eq!(happened.lines.len(), 1);
}

#[test]
fn a_status_is_read_in_a_quote_and_between_fences_however_deep() {
    let part =
        "\"State\": {\n  \"OOMKilled\": false,\n  \"ExitCode\": 137,\n  \"FinishedAt\": \"2016-02-01T21:50:51Z\"\n},\n";
    let bare = read_text(part).1;
    assert!(!bare.is_empty());
    let quoted = |mark: &str, text: &str| text.lines().flat_map(|line| [mark, line, "\n"]).collect::<String>();
    let fenced = format!("So it ends:\n\n```json\n{part}```\n\nWhy?\n");
    for text in [quoted("> ", part), quoted("> > ", part), fenced.clone(), quoted("> ", &fenced)] {
        assert_eq!(read_text(&text).1, bare, "{text}");
    }
    // Marks of quotes without end.
    let mut snapshot = Snapshot::default();
    assert!(read(">".repeat(1 << 20).as_bytes(), &mut snapshot).is_ok_and(|found| found.is_empty()));
}
