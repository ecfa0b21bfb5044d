use serde_json::json;

use super::{ID, OTHER_UID, SANDBOX, UID, filled, one, reader, said};

const PLEG_DIED: &str = r#""SyncLoop (PLEG): event for pod" pod="default/be-hog" event={"ID":"{UID}","Type":"ContainerDied","Data":"{ID}"}"#;
const PLEG_FINISHED: &str = r#""Generic (PLEG): container finished" podID="{UID}" containerID="{ID}" exitCode=137"#;

#[test]
fn a_death_is_reported_once_with_its_pod_and_its_exit_code_whichever_line_comes_first() {
    for lines in [format!("{PLEG_DIED}\n{PLEG_FINISHED}"), format!("{PLEG_FINISHED}\n{PLEG_DIED}")] {
        assert_eq!(
            said(&lines),
            [
                json!({"kind": "container", "action": "died", "pod": {"namespace": "default", "name": "be-hog", "uid": UID},
                "container": {"id": ID}, "sandbox": false, "exit_code": 137})
            ],
            "{lines}"
        );
    }
}

#[test]
fn events_of_the_pleg_are_read_in_all_three_forms() {
    for event in [
        r#""SyncLoop (PLEG): event for pod" pod="default/be-hog" event={"ID":"{UID}","Type":"ContainerDied","Data":"{ID}"}"#,
        r#""SyncLoop (PLEG): event for pod" pod="default/be-hog" event=&{ID:{UID} Type:ContainerDied Data:{ID}}"#,
        r#"SyncLoop (PLEG): "be-hog_default({UID})", event: &pleg.PodLifecycleEvent{ID:"{UID}", Type:"ContainerDied", Data:"{ID}"}"#,
    ] {
        assert_eq!(
            one(event),
            json!({"kind": "container", "action": "died", "pod": {"namespace": "default", "name": "be-hog", "uid": UID},
                "container": {"id": ID}}),
            "{event}"
        );
        assert_eq!(one(&event.replace("ContainerDied", "ContainerStarted"))["action"], "started");
        assert!(said(&event.replace("ContainerDied", "PodSync")).is_empty());
    }
}

#[test]
fn uids_are_read_with_and_without_quotes() {
    for uid in [format!("podID=\"{UID}\""), format!("podID={UID}")] {
        let said = one(&format!("\"Generic (PLEG): container finished\" {uid} containerID=\"{ID}\" exitCode=0"));
        assert_eq!((&said["pod"]["uid"], &said["exit_code"]), (&json!(UID), &json!(0)));
    }
    let static_pod = "df465823e70c8abfd71f22990142be6a";
    let said =
        one(&format!("\"Generic (PLEG): container finished\" podID=\"{static_pod}\" containerID=\"{ID}\" exitCode=1"));
    assert_eq!(said["pod"]["uid"], static_pod);
}

#[test]
fn a_sandbox_ends_without_an_exit_code_where_containers_have_one() {
    let sandbox = PLEG_DIED.replace("{ID}", "{SANDBOX}");
    let all = said(&format!("{PLEG_DIED}\n{PLEG_FINISHED}\n{sandbox}"));
    assert_eq!((&all[1]["container"]["id"], &all[1]["sandbox"]), (&json!(SANDBOX), &json!(true)));
    assert_eq!(one(&sandbox).get("sandbox"), None, "1.20 tells no exit code at all");
    let started = PLEG_DIED.replace("Died", "Started").replace("{ID}", "{SANDBOX}");
    let lines = format!("\"Created PodSandbox for pod\" podSandboxID=\"{SANDBOX}\" pod=\"default/be-hog\"\n{started}");
    assert_eq!(one(&lines)["sandbox"], true);
}

#[test]
fn half_of_a_death_waits_two_seconds_and_no_longer() {
    let head = |time: &str| format!("I1123 {time}     440 file.go:1] ");
    let mut log = filled(&format!("{}{PLEG_DIED}\n", head("23:24:42.000000")));
    log += &head("23:24:43.500000");
    log += "\"SyncLoop DELETE\" source=\"api\" pods=[\"default/other\"]\n";
    let (mut reader, mut reported) = (reader(), Vec::new());
    reader.push(log.as_bytes(), &mut reported);
    assert_eq!(reported.len(), 1);
    let late = format!("{}\"SyncLoop DELETE\" source=\"api\" pods=[\"default/another\"]\n", head("23:24:44.500000"));
    reader.push(late.as_bytes(), &mut reported);
    assert_eq!(reported.len(), 3);
    assert_eq!(super::at(&reported[1]), "2026-11-23T23:24:42Z", "when it died, not when it was reported");
}

#[test]
fn a_kill_has_its_grace_period() {
    let expected = |seconds: u64| {
        json!({"kind": "container", "action": "killing", "pod": {"namespace": "default", "name": "be-hog", "uid": UID},
            "container": {"name": "leaky", "id": ID}, "grace_period_ms": seconds * 1000})
    };
    for uid in [r#"podUID="{UID}""#, "podUID={UID}"] {
        let line = format!(
            r#""Killing container with a grace period" pod="default/be-hog" {uid} containerName="leaky" containerID="containerd://{ID}" gracePeriod=2"#
        );
        assert_eq!(one(&line), expected(2));
    }
    let old = format!(
        "{}\nKilling container \"containerd://{{ID}}\" with a 30 second grace period",
        PLEG_DIED.replace("Died", "Started")
    );
    let kill = &said(&old)[1];
    assert_eq!(
        (&kill["grace_period_ms"], &kill["pod"]["name"]),
        (&json!(30_000), &json!("be-hog")),
        "1.20 names the id alone"
    );
    let docker = one(&format!("Killing container \"docker://{ID}\" with a 0 second grace period"));
    assert_eq!(docker["container"]["id"], ID);
}

#[test]
fn a_kill_with_another_grace_period_is_reported_once_whichever_lines_tell_it() {
    let line = |words: &str, id: &str, seconds: u32| {
        format!(
            r#""Killing container with a grace period{words}" pod="default/be-hog" podUID={{UID}} containerName="leaky" containerID="containerd://{id}" gracePeriod={seconds}"#
        )
    };
    let grace = |lines: &[String]| -> Vec<serde_json::Value> {
        let said = said(&lines.join("\n")).into_iter();
        said.filter(|said| said["action"] == "killing").map(|said| said["grace_period_ms"].clone()).collect()
    };
    let (id, other) = ("{ID}", "{SANDBOX}");
    // 1.21 at V(2), at V(3); others at V(3): two containers of a pod at once.
    assert_eq!(grace(&[line(" override", id, 2)]), [json!(2000)]);
    assert_eq!(grace(&[line(" override", id, 0), line(" override", id, 2)]), [json!(2000)]);
    let two = [line(" override", id, 1), line(" override", other, 1), line("", id, 2), line("", other, 30)];
    assert_eq!(grace(&two), [json!(2000), json!(30_000)]);
    let reason = r#""SyncLoop DELETE" source="api" pods=["default/be-hog"]"#;
    let all = said(&[reason.to_owned(), line(" override", id, 2)].join("\n"));
    assert_eq!(all[1]["reason"], "PodDeleted");
}

#[test]
fn a_kill_has_its_reason_where_another_line_gives_it() {
    let kill = r#""Killing container with a grace period" pod="default/be-hog" podUID="{UID}" containerName="leaky" containerID="containerd://{ID}" gracePeriod=30"#;
    for (before, reason) in [
        (
            r#""Message for Container of pod" containerName="leaky" containerStatusID={"Type":"containerd","ID":"{ID}"} pod="default/be-hog" containerMessage="Container leaky failed liveness probe, will be restarted""#,
            "LivenessProbe",
        ),
        (
            r#""Message for Container of pod" containerName="leaky" containerStatusID={Type:containerd ID:{ID}} pod="default/be-hog" containerMessage="Container leaky failed startup probe, will be restarted""#,
            "StartupProbe",
        ),
        (
            r#"Container "leaky" ({"containerd" "{ID}"}) of pod be-hog_default({UID}): Container leaky failed liveness probe, will be restarted"#,
            "LivenessProbe",
        ),
        (r#""SyncLoop DELETE" source="api" pods=["default/be-hog"]"#, "PodDeleted"),
        (r#""SyncLoop DELETE" source="api" pods=[default/be-hog]"#, "PodDeleted"),
        (r#"SyncLoop (DELETE, "api"): "be-hog_default({UID})""#, "PodDeleted"),
        (r#""Shutdown manager killing pod with gracePeriod" pod="default/be-hog" gracePeriod=10"#, "NodeShutdown"),
        (
            r#""Eviction manager: pods ranked for eviction" pods=["kube-system/critical","default/be-hog"]
               "Eviction manager: cannot evict a critical pod" pod="kube-system/critical""#,
            "Evicted",
        ),
    ] {
        let all = said(&format!("{before}\n{kill}"));
        let kill = all.last().expect("the kill");
        assert_eq!(kill["reason"], reason, "{before}");
    }
    for added in
        [r#""SyncLoop ADD" source="api" pods=["default/be-hog"]"#, r#"SyncLoop (ADD, "api"): "be-hog_default({UID})""#]
    {
        let deleted = r#""SyncLoop DELETE" source="api" pods=["default/be-hog"]"#;
        let all = said(&format!("{deleted}\n{added}\n{kill}"));
        assert_eq!(all[1].get("reason"), None, "a pod of the same name has come");
    }
    let another = format!("\"Eviction manager: pods ranked for eviction\" pods=[\"team-a/be-multi\"]\n{kill}");
    assert_eq!(said(&another)[1].get("reason"), None);
}

#[test]
fn a_pod_that_is_deleted_is_reported_once() {
    let line = r#""SyncLoop DELETE" source="api" pods=["default/be-hog"]"#;
    assert_eq!(
        said(&format!("{line}\n{line}")),
        [json!({"kind": "container", "action": "pod_deleted", "pod": {"namespace": "default", "name": "be-hog"}})]
    );
}

#[test]
fn a_probe_that_fails_is_reported_with_its_output() {
    let said = one(
        r#""Probe failed" probeType="Liveness" pod="default/be-hog" podUID="{UID}" containerName="leaky" probeResult="failure" output="HTTP probe failed with statuscode: 500""#,
    );
    assert_eq!((&said["action"], &said["reason"]), (&json!("probe_failed"), &json!("Liveness")));
    assert_eq!((&said["container"]["name"], &said["pod"]["uid"]), (&json!("leaky"), &json!(UID)));
    assert_eq!(said["message"], "HTTP probe failed with statuscode: 500");
    let old =
        one(r#"Liveness probe for "be-hog_default({UID}):leaky" failed (failure): cat: can't open '/tmp/healthy'"#);
    assert_eq!((&old["container"]["name"], &old["pod"]["name"]), (&json!("leaky"), &json!("be-hog")));
    assert_eq!(old["message"], "cat: can't open '/tmp/healthy'");
}

#[test]
fn a_crash_loop_is_reported_in_both_words() {
    let expected = json!({"kind": "container", "action": "back_off", "pod": {"namespace": "default", "name": "be-hog", "uid": UID},
        "container": {"name": "leaky"}, "reason": "CrashLoopBackOff",
        "message": format!("back-off 10s restarting failed container=leaky pod=be-hog_default({UID})")});
    for line in [
        r#""Error syncing pod, skipping" err="failed to \"StartContainer\" for \"leaky\" with CrashLoopBackOff: \"back-off 10s restarting failed container=leaky pod=be-hog_default({UID})\"" pod="default/be-hog" podUID="{UID}""#,
        r#"Error syncing pod {UID} ("be-hog_default({UID})"), skipping: failed to "StartContainer" for "leaky" with CrashLoopBackOff: "back-off 10s restarting failed container=leaky pod=be-hog_default({UID})""#,
    ] {
        assert_eq!(one(line), expected, "{line}");
    }
    let image = r#""Error syncing pod, skipping" err="failed to \"StartContainer\" for \"c\" with ImagePullBackOff: \"Back-off pulling image\"" pod="default/be-hog" podUID="{UID}""#;
    assert!(said(image).is_empty());
}

#[test]
fn a_container_that_its_limit_does_not_let_start_was_out_of_memory() {
    let killed = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: container init was OOM-killed (memory limit too low?): unknown";
    let start = format!(r#""StartContainer from runtime service failed" err="rpc error: {killed}" containerID="{ID}""#);
    let sync = format!(
        r#""Error syncing pod, skipping" err="failed to \"StartContainer\" for \"app\" with RunContainerError: \"{killed}\"" pod="default/be-hog" podUID="{UID}""#
    );
    let pod = json!({"namespace": "default", "name": "be-hog", "uid": UID});
    let expected = |container: serde_json::Value| json!({"kind": "container", "action": "oom_noticed", "pod": pod, "container": container});
    assert_eq!(said(&format!("{start}\n{sync}")), [expected(json!({"name": "app", "id": ID}))]);
    assert_eq!(one(&sync), expected(json!({"name": "app"})));
    let printed = format!(
        "StartContainer \"{ID}\" from runtime service failed: rpc error: {killed}\nError syncing pod {UID} (\"be-hog_default({UID})\"), skipping: failed to \"StartContainer\" for \"app\" with RunContainerError: \"{killed}\""
    );
    assert_eq!(said(&printed), [expected(json!({"name": "app", "id": ID}))]);
    assert!(said(&sync.replace(killed, "no such file")).is_empty());
}

#[test]
fn a_name_belongs_to_the_container_that_runs() {
    let kill = r#""Killing container with a grace period" pod="default/be-hog" podUID="{UID}" containerName="leaky" containerID="containerd://{ID}" gracePeriod=2"#;
    let back_off = r#""Error syncing pod, skipping" err="failed to \"StartContainer\" for \"leaky\" with CrashLoopBackOff: \"x\"" pod="default/be-hog" podUID="{UID}""#;
    let all = said(&format!("{kill}\n{PLEG_DIED}\n{PLEG_FINISHED}\n{back_off}"));
    assert_eq!(
        all[1]["container"],
        json!({"name": "leaky", "id": ID}),
        "the death has the name that the kill reported"
    );
    assert_eq!(all[2]["container"], json!({"name": "leaky"}), "whose id is another one by now");
}

#[test]
fn an_oom_of_the_whole_node_has_its_victim() {
    for line in [
        r#""Got sys oom event" event={"Pid":801,"ProcessName":"mem hog","TimeOfDeath":"2026-11-23T23:20:37Z","ContainerName":"/","VictimContainerName":"/","Constraint":""}"#,
        r#""Got sys oom event" event=&{Pid:801 ProcessName:mem hog TimeOfDeath:2026-11-23 23:20:37.44 +0000 UTC m=+82.2 ContainerName:/ VictimContainerName:/ Constraint:}"#,
        "Got sys oom event: &{801 mem hog 2026-11-23 23:20:37.44 +0000 UTC m=+82.2 / / }",
        r"Got sys oom event: &{Pid:801 ProcessName:mem hog TimeOfDeath:2026-11-23 23:20:37.44 +0000 UTC ContainerName:/}",
    ] {
        let of_any_limit = line.starts_with("Got");
        let expected = json!({"kind": "system_oom", "pid": 801, "comm": "mem hog", "of_any_limit": of_any_limit});
        assert_eq!(one(line), expected, "{line}");
    }
}

#[test]
fn a_kill_that_a_restarted_kubelet_logs_again_is_one() {
    let oom =
        |pid, died: &str| format!("Got sys oom event: &{{{pid} memhog 2026-11-23 {died} +0000 UTC m=-82.2 / / }}");
    let ooms = |lines: &[String]| said(&lines.join("\n")).iter().filter(|said| said["kind"] == "system_oom").count();
    // It counts from when the node booted, which it works out anew.
    let again = [oom(801, "23:20:37.44"), oom(802, "23:20:38.1"), oom(801, "23:20:36.95"), oom(802, "23:20:37.7")];
    assert_eq!(ooms(&again), 2);
    assert_eq!(ooms(&[oom(801, "23:20:37.44"), oom(801, "23:22:37.44")]), 2, "the pid is another process's by then");
}

#[test]
fn an_oom_of_any_limit_is_reported_once_where_a_status_tells_it_better() {
    let oom = "Got sys oom event: &{801 memhog 2026-11-23 23:24:42.44 +0000 UTC m=+82.2 / / }";
    let patch = |reason: &str, finished: &str| {
        let ended = format!(
            r#"{{"terminated":{{"containerID":"containerd://{ID}","exitCode":137,"reason":"{reason}","finishedAt":"{finished}"}}}}"#
        );
        let patch = format!(r#"{{"status":{{"containerStatuses":[{{"name":"leaky","state":{ended}}}]}}}}"#);
        format!(r#"Patch status for pod "be-hog_default({UID})" with {}"#, serde_json::to_string(&patch).expect("JSON"))
    };
    let kinds = |lines: &str| said(lines).iter().map(|said| said["kind"].clone()).collect::<Vec<_>>();
    let now = "2026-11-23T23:24:42Z";
    assert_eq!(kinds(&format!("{oom}\n{}", patch("OOMKilled", now))), ["container"]);
    let second = oom.replace("801", "802");
    assert_eq!(kinds(&format!("{oom}\n{second}\n{}", patch("OOMKilled", now))), ["container", "system_oom"]);
    assert_eq!(kinds(&format!("{oom}\n{}", patch("Error", now))), ["container", "system_oom"]);
    // A status has ends of days ago, too.
    let long_ago = patch("OOMKilled", "2026-11-20T23:20:37Z");
    assert_eq!(kinds(&format!("{oom}\n{long_ago}")), ["container", "system_oom"]);
}

#[test]
fn cadvisor_names_the_cgroup_of_an_oom() {
    let uid = UID.replace('-', "_");
    let path = format!(
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid}.slice/cri-containerd-{ID}.scope"
    );
    let said = one(&format!(
        "Created an OOM event in container \"{path}\" at 2026-11-23 23:20:37.44731017 +0000 UTC m=+82.299366634"
    ));
    assert_eq!(said["action"], "oom_noticed");
    assert_eq!(said["cgroup"], json!({"path": path}));
    assert_eq!((&said["pod"]["uid"], &said["container"]["id"]), (&json!(UID), &json!(ID)));
}

#[test]
fn a_status_tells_how_containers_ended_and_each_end_is_reported_once() {
    let patch = |current: &str, state: &str, count: u32| {
        let patch = format!(
            r#"{{"metadata":{{"uid":"{UID}"}},"status":{{"containerStatuses":[{{"containerID":"containerd://{current}","image":"localhost/memhog:1","name":"leaky","restartCount":{count},"{state}":{{"terminated":{{"containerID":"containerd://{ID}","exitCode":137,"finishedAt":"2026-11-23T23:20:38Z","reason":"OOMKilled"}}}}}}]}}}}"#
        );
        (serde_json::to_string(&patch).expect("JSON"), patch)
    };
    let (now, later) = (patch(ID, "state", 2).0, patch(super::SANDBOX, "lastState", 3).0);
    let said_of = |line: String| one(&line);
    let expected = json!({"kind": "container", "action": "reported", "pod": {"namespace": "default", "name": "be-hog", "uid": UID},
        "container": {"name": "leaky", "id": ID, "image": "localhost/memhog:1", "restart_count": 2, "role": "app"}, "sandbox": false,
        "exit_code": 137, "reason": "OOMKilled"});
    let structured =
        |patch: &str| format!(r#""Patch status for pod" pod="default/be-hog" podUID="{UID}" patch={patch}"#);
    assert_eq!(said_of(structured(&now)), expected);
    assert_eq!(said_of(structured(&later)), expected, "seen when it is started again");
    assert_eq!(said_of(format!(r#"Patch status for pod "be-hog_default({UID})" with {now}"#)), expected, "1.20");
    assert_eq!(said(&format!("{}\n{}", structured(&now), structured(&later))).len(), 1);
}

#[test]
fn of_a_container_that_waits_to_be_started_again_the_last_end_counts_no_restart_yet() {
    let patch = |current: &str| {
        let patch = format!(
            r#"{{"status":{{"containerStatuses":[{{"containerID":"containerd://{current}","name":"leaky","restartCount":3,"state":{{"waiting":{{"reason":"CrashLoopBackOff"}}}},"lastState":{{"terminated":{{"containerID":"containerd://{ID}","exitCode":137,"reason":"OOMKilled"}}}}}}]}}}}"#
        );
        let patch = serde_json::to_string(&patch).expect("JSON");
        one(&format!(r#""Patch status for pod" pod="default/be-hog" podUID="{UID}" patch={patch}"#))
    };
    assert_eq!(patch(ID)["container"]["restart_count"], 3, "it waits");
    assert_eq!(patch(super::SANDBOX)["container"]["restart_count"], 2, "another one is there by now");
}

#[test]
fn a_pod_that_goes_for_a_critical_one_is_preempted() {
    let kill = r#""Killing container with a grace period" pod="default/be-hog" podUID="{UID}" containerName="leaky" containerID="containerd://{ID}" gracePeriod=30"#;
    let attempt = r#""Attempting to evict pods in order to free up resources" pods=["default/be-hog"] insufficientResources="[(res: memory, q: 209715200), (res: cpu, q: 100), ]""#;
    let structured = said(&[attempt, kill, r#""Pod evicted successfully" pod="default/be-hog""#, kill].join("\n"));
    let reasons: Vec<_> = structured.iter().map(|said| (said["reason"].as_str(), said["message"].as_str())).collect();
    let words = "no room for a critical pod's request of memory and cpu";
    assert_eq!(reasons, [(Some("Preempting"), Some(words)), (None, None)], "once");
    let printed = one(
        "preemption: attempting to evict pods [&Pod{...}], in order to free up resources: [(res: memory, q: 209715200), ]\npreemption: pod be-hog_default({UID}) evicted successfully",
    );
    assert_eq!((&printed["action"], &printed["reason"]), (&json!("killing"), &json!("Preempting")));
    assert_eq!(
        (&printed["message"], &printed["pod"]["uid"]),
        (&json!("no room for a critical pod's request of memory"), &json!(UID))
    );
}

#[test]
fn containerd_notices_an_oom() {
    let line = format!(r#"time="2026-11-23T23:20:38.926591338Z" level=info msg="TaskOOM event container_id:\"{ID}\"""#);
    for line in [
        line.clone(),
        format!("Nov 23 23:20:39 node1 containerd[420]: {line}"),
        format!(
            r#"time="2026-11-23T23:20:38.926591338Z" level=info msg="TaskOOM event &TaskOOM{{ContainerID:{ID},XXX_unrecognized:[],}}""#
        ),
    ] {
        let mut reported = super::reported(line.as_bytes());
        assert_eq!(reported.len(), 1, "{line}");
        let reported = reported.remove(0);
        assert_eq!(super::at(&reported), "2026-11-23T23:20:38.926591338Z");
        let said = super::known(serde_json::to_value(reported.event).expect("JSON"));
        assert_eq!(said, json!({"kind": "container", "action": "oom_noticed", "container": {"id": ID}}));
    }
}

#[test]
fn what_was_learnt_can_be_asked_for() {
    let line = r#""Killing container with a grace period" pod="default/be-hog" podUID="{UID}" containerName="leaky" containerID="containerd://{ID}" gracePeriod=2"#;
    let (mut reader, mut reported) = (reader(), Vec::new());
    reader.push(filled(&format!("I1123 23:24:42.998045     440 file.go:1] {line}\n")).as_bytes(), &mut reported);
    let (uid, id) = (UID.parse().expect("a uid"), ID.parse().expect("an id"));
    let names = reader.names();
    assert_eq!(names.pod(&uid).and_then(|pod| pod.name).as_deref(), Some("be-hog"));
    assert_eq!(names.uid_of("default", "be-hog"), Some(&uid));
    assert_eq!(names.pod_of(&id), Some(&uid));
    assert_eq!(names.container(&id).and_then(|container| container.name).as_deref(), Some("leaky"));
    assert_eq!(names.pod(&OTHER_UID.parse().expect("a uid")), None);
}

#[test]
fn names_are_forgotten_before_memory_grows() {
    let (mut reader, mut reported) = (reader(), Vec::new());
    for number in 0..20_000_u32 {
        let line = format!(
            "I1123 23:24:42.998045     440 f.go:1] \"Killing container with a grace period\" pod=\"default/p-{number}\" podUID=\"{number:08x}-c402-4c21-94aa-38e722342611\" containerName=\"c\" containerID=\"containerd://{number:064x}\" gracePeriod=2\n"
        );
        reader.push(line.as_bytes(), &mut reported);
    }
    let uid = |number: u32| format!("{number:08x}-c402-4c21-94aa-38e722342611").parse().expect("a uid");
    assert!(reader.names().pod(&uid(19_999)).is_some());
    assert!(reader.names().pod(&uid(0)).is_none());
}
