use serde_json::{Value, json};

use super::{OTHER_UID, UID, known, one, reader, said};

fn hog() -> Value {
    json!({"namespace": "default", "name": "be-hog"})
}

fn hog_with_uid() -> Value {
    json!({"namespace": "default", "name": "be-hog", "uid": UID})
}

fn multi() -> Value {
    json!({"namespace": "team-a", "name": "be-multi"})
}

#[test]
fn all_forms_of_pod_lists_give_the_same_pods_in_their_order() {
    for (kubelet, pods) in [
        ("1.21 to 1.25, 1.27", r"pods=[default/be-hog team-a/be-multi]"),
        ("1.26", r#"pods="[default/be-hog team-a/be-multi]""#),
        ("1.28 on", r#"pods=["default/be-hog","team-a/be-multi"]"#),
        ("as objects", r#"pods=[{"name":"be-hog","namespace":"default"},{"name":"be-multi","namespace":"team-a"}]"#),
    ] {
        for (message, phase) in [
            ("pods ranked for eviction", "ranked"),
            ("pods evicted, waiting for pod to be cleaned up", "awaiting_cleanup"),
            ("pods successfully cleaned up", "cleaned_up"),
            ("timed out waiting for pods to be cleaned up", "cleanup_timed_out"),
        ] {
            let said = one(&format!(r#""Eviction manager: {message}" {pods}"#));
            assert_eq!(said, json!({"kind": "eviction", "phase": phase, "pods": [hog(), multi()]}), "{kubelet}");
        }
    }
    let (a, b) = (format!("be-hog_default({UID})"), format!("be-multi_team-a({OTHER_UID})"));
    for (sentence, phase) in [
        (format!("pods ranked for eviction: {a}, {b}"), "ranked"),
        (format!("pods {a}, {b} evicted, waiting for pod to be cleaned up"), "awaiting_cleanup"),
        (format!("pods {a}, {b} successfully cleaned up"), "cleaned_up"),
        (format!("timed out waiting for pods {a}, {b} to be cleaned up"), "cleanup_timed_out"),
    ] {
        let said = one(&format!("eviction manager: {sentence}"));
        let multi = json!({"namespace": "team-a", "name": "be-multi", "uid": OTHER_UID});
        assert_eq!(said, json!({"kind": "eviction", "phase": phase, "pods": [hog_with_uid(), multi]}), "1.20");
    }
}

#[test]
fn each_step_is_reported_in_the_words_of_1_20_and_in_those_of_1_21_on() {
    let memory = |phase: &str| json!({"kind": "eviction", "phase": phase, "resource": "memory", "memory": true});
    let pod = |phase: &str, pod: Value| json!({"kind": "eviction", "phase": phase, "pod": pod});
    for (line, expected) in [
        (r#""Eviction manager: attempting to reclaim" resourceName="memory""#, memory("threshold_met")),
        ("eviction manager: attempting to reclaim memory", memory("threshold_met")),
        (r#""Eviction manager: must evict pod(s) to reclaim" resourceName="memory""#, memory("must_evict")),
        ("eviction manager: must evict pod(s) to reclaim memory", memory("must_evict")),
        (
            r#""Eviction manager: able to reduce resource pressure without evicting pods." resourceName="memory""#,
            memory("reclaimed"),
        ),
        ("eviction manager: able to reduce memory pressure without evicting pods.", memory("reclaimed")),
        (r#""Eviction manager: pod is evicted successfully" pod="default/be-hog""#, pod("evicted", hog())),
        ("eviction manager: pod be-hog_default({UID}) is evicted successfully", pod("evicted", hog_with_uid())),
        (r#""Eviction manager: cannot evict a critical pod" pod="default/be-hog""#, pod("critical_pod_spared", hog())),
        (
            "eviction manager: cannot evict a critical pod be-hog_default({UID})",
            pod("critical_pod_spared", hog_with_uid()),
        ),
        (
            r#""Eviction manager: unable to evict any pods from the node""#,
            json!({"kind": "eviction", "phase": "nothing_to_evict"}),
        ),
        (
            "eviction manager: unable to evict any pods from the node",
            json!({"kind": "eviction", "phase": "nothing_to_evict"}),
        ),
        (
            r#""Eviction manager: eviction thresholds have been met, but no pods are active to evict""#,
            json!({"kind": "eviction", "phase": "nothing_to_evict"}),
        ),
        (
            "eviction manager: eviction thresholds have been met, but no pods are active to evict",
            json!({"kind": "eviction", "phase": "nothing_to_evict"}),
        ),
    ] {
        assert_eq!(one(line), expected, "{line}");
    }
    for line in [
        r#""Eviction manager: pod failed to evict" err="timeout waiting to kill pod" pod="default/be-hog""#,
        "eviction manager: pod be-hog_default({UID}) failed to evict timeout waiting to kill pod",
    ] {
        let said = one(line);
        assert_eq!(
            (&said["phase"], &said["error"]),
            (&json!("failed"), &json!("timeout waiting to kill pod")),
            "{line}"
        );
        assert_eq!(said["pod"]["name"], "be-hog");
    }
}

#[test]
fn other_resources_than_memory_are_labelled() {
    for (resource, words) in [
        ("ephemeral-storage", r#""Eviction manager: attempting to reclaim" resourceName="ephemeral-storage""#),
        ("inodes", r#""Eviction manager: attempting to reclaim" resourceName="inodes""#),
        ("pids", r#""Eviction manager: attempting to reclaim" resourceName="pids""#),
        ("ephemeral-storage", "eviction manager: attempting to reclaim ephemeral-storage"),
    ] {
        let said = one(words);
        assert_eq!((&said["resource"], &said["memory"]), (&json!(resource), &json!(false)), "{words}");
    }
    let pass = said(
        r#""Eviction manager: attempting to reclaim" resourceName="ephemeral-storage"
           "Eviction manager: pods ranked for eviction" pods=["default/be-hog"]
           "Eviction manager: pod is evicted successfully" pod="default/be-hog"
           "Eviction manager: pods successfully cleaned up" pods=["default/be-hog"]
           "Eviction manager: pod is evicted successfully" pod="default/other""#,
    );
    let labels: Vec<_> = pass.iter().map(|step| step["memory"].clone()).collect();
    assert_eq!(labels, [json!(false), json!(false), json!(false), json!(false), Value::Null]);
}

#[test]
fn an_eviction_message_is_read_into_bytes() {
    let evicting =
        |message: &str| one(&format!(r#""Evicting pod" pod="default/be-hog" podUID="{UID}" message="{message}""#));
    let containers = |used: &[(&str, u64, u64)]| -> Value {
        used.iter()
            .map(|(name, usage, request)| {
                json!({"container": {"name": name}, "usage_bytes": usage, "request_bytes": request})
            })
            .collect()
    };

    let said = evicting(
        "The node was low on resource: memory. Threshold quantity: 1Gi, available: 889724Ki. Container leaky was using 514264Ki, request is 0, has larger consumption of memory. ",
    );
    assert_eq!(said["phase"], "evicting");
    assert_eq!(said["pod"], hog_with_uid());
    assert_eq!((&said["resource"], &said["memory"]), (&json!("memory"), &json!(true)));
    assert_eq!(said["threshold_bytes"], 1 << 30);
    assert_eq!(said["available_bytes"], 889_724 * 1024);
    assert_eq!(said["containers"], containers(&[("leaky", 514_264 * 1024, 0)]));

    let said = evicting(
        "The node was low on resource: memory. Container leaky was using 575052Ki, which exceeds its request of 100Mi. Container web was using 12Ki, which exceeds its request of 0. ",
    );
    assert_eq!(
        said["containers"],
        containers(&[("leaky", 575_052 * 1024, 100 << 20), ("web", 12 * 1024, 0)]),
        "to 1.25"
    );
    assert_eq!(said.get("threshold_bytes"), None);

    let said = evicting(
        "The node was low on resource: memory. Threshold quantity: 827608281, available: 755476Ki. Pod be-hog was using 600Mi, request is 512Mi, has larger consumption of memory. Container leaky was using 599Mi, request is 256Mi, has larger consumption of memory. ",
    );
    assert_eq!(said["threshold_bytes"], 827_608_281, "a share of the capacity");
    assert_eq!(
        (&said["pod_usage_bytes"], &said["pod_request_bytes"]),
        (&json!(600 << 20), &json!(512 << 20)),
        "1.34 on"
    );
    assert_eq!(said["containers"], containers(&[("leaky", 599 << 20, 256 << 20)]));

    let said = evicting("The node was low on resource: memory. Threshold quantity: 1Gi, available: 1042828Ki. ");
    assert_eq!(said.get("containers"), None, "a pod below its request, or without statistics");

    let said = evicting(
        "The node was low on resource: ephemeral-storage. Container leaky was using 3Gi, which exceeds its request of 0. ",
    );
    assert_eq!((&said["memory"], &said["resource"]), (&json!(false), &json!("ephemeral-storage")));
    for message in [
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
        r#"Container leaky exceeded its local ephemeral storage limit \"1Gi\". "#,
        r#"Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Gi\". "#,
    ] {
        assert_eq!(evicting(message)["memory"], false, "{message}");
    }
}

#[test]
fn the_event_of_an_eviction_is_its_message_before_1_25_and_no_second_one_after() {
    let event = r#""Event occurred" object="default/be-hog" kind="Pod" apiVersion="v1" type="Warning" reason="Evicted" message="The node was low on resource: memory. Container leaky was using 575052Ki, which exceeds its request of 0. ""#;
    let step = one(event);
    assert_eq!((&step["phase"], &step["pod"]), (&json!("evicting"), &hog()));
    let line = r#""Evicting pod" pod="default/be-hog" podUID="{UID}" message="The node was low on resource: memory. Container leaky was using 575052Ki, which exceeds its request of 0. ""#;
    assert_eq!(said(&format!("{line}\n{event}")).len(), 1);
}

#[test]
fn a_threshold_that_was_observed_is_the_one_that_is_met() {
    for observed in [
        r#""Eviction manager: threshold observed resource" log="thresholds - ignoring grace period" signal="allocatableMemory.available" resourceName="memory" quantity="1Gi" available="757248Ki""#,
        r#""Eviction manager: threshold observed resource" log="thresholds - ignoring grace period" signal="allocatableMemory.available" quantity="1Gi" resource="757248Ki""#,
        "eviction manager: thresholds - ignoring grace period: threshold [signal=allocatableMemory.available, quantity=1Gi] observed 757248Ki",
    ] {
        let pass = said(&format!(
            r#"{observed}
               {observed}
               "Eviction manager: attempting to reclaim" resourceName="memory"
               "Eviction manager: must evict pod(s) to reclaim" resourceName="memory"
               "Eviction manager: pods ranked for eviction" pods=["default/be-hog"]
               "Eviction manager: pod is evicted successfully" pod="default/be-hog"
               "Eviction manager: pods successfully cleaned up" pods=["default/be-hog"]
               "Eviction manager: attempting to reclaim" resourceName="memory""#
        ));
        assert_eq!(pass.len(), 7, "said twice, reported once");
        for step in &pass[..6] {
            assert_eq!(step["signal"], "allocatableMemory.available", "{step}");
            assert_eq!(step["threshold_bytes"], 1 << 30, "{step}");
            assert_eq!(step["available_bytes"], 757_248 * 1024, "{step}");
        }
        assert_eq!(pass[6].get("signal"), None, "the next pass has to be observed anew");
    }
}

#[test]
fn where_both_of_memorys_signals_are_crossed_the_one_compared_last_is_reclaimed_unless_what_was_available_tells() {
    let observed = r#""Eviction manager: threshold observed resource" log="thresholds - grace periods satisfied" signal="allocatableMemory.available" resourceName="memory" quantity="1Gi" available="757248Ki"
        "Eviction manager: threshold observed resource" log="thresholds - grace periods satisfied" signal="memory.available" resourceName="memory" quantity="1Gi" available="700000Ki"
        "Eviction manager: attempting to reclaim" resourceName="memory"
        "Evicting pod" pod="default/be-hog" podUID="{UID}" message="The node was low on resource: memory. Threshold quantity: 1Gi, available: 700000Ki. ""#;
    let pass = said(observed);
    assert_eq!(pass[2]["signal"], "memory.available");
    assert_eq!(pass[3]["signal"], "memory.available");
    let other = said(&observed.replace("available: 700000Ki", "available: 757248Ki"));
    assert_eq!(other[3]["signal"], "allocatableMemory.available");
}

#[test]
fn what_is_available_of_memory_is_reported_and_of_disks_is_not() {
    for line in [
        r#""Eviction manager:" log="observations" signal="memory.available" resourceName="memory" available="1756764Ki" capacity="2020528Ki" time="2026-11-23 23:19:42.322865881 +0000 UTC m=+27.174922802""#,
        r#""Eviction manager:" log="observations" signal="memory.available" resourceName="1756764Ki" capacity="2020528Ki" time="…""#,
        r#""Eviction manager:" log="observations" signal="memory.available" available="1756764Ki" capacity="2020528Ki""#,
        "eviction manager: observations: signal=memory.available, available: 1756764Ki, capacity: 2020528Ki, time: 2026-11-23 23:36:16.486695854 +0000 UTC",
    ] {
        assert_eq!(
            one(line),
            json!({"kind": "eviction", "phase": "observed", "resource": "memory", "memory": true, "signal": "memory.available",
                "available_bytes": 1_756_764 * 1024, "capacity_bytes": 2_020_528 * 1024}),
            "{line}"
        );
    }
    for line in [
        r#""Eviction manager:" log="observations" signal="nodefs.available" resourceName="ephemeral-storage" available="5064692Ki" capacity="6102624Ki""#,
        "eviction manager: observations: signal=pid.available, available: 4194116, capacity: 4194304, time: …",
    ] {
        assert!(said(line).is_empty(), "{line}");
    }
}

#[test]
fn a_soft_threshold_waits_for_its_grace_period() {
    let lines = r#""Eviction manager:" log="observations" signal="memory.available" resourceName="memory" available="755476Ki" capacity="2020528Ki"
        "Eviction manager: eviction criteria not yet met" threshold="threshold(signal=memory.available, operator=LessThan, value={<nil> 0.4}, gracePeriod=20s)" duration="10.5s""#;
    assert_eq!(
        said(lines)[1],
        json!({"kind": "eviction", "phase": "grace_period_not_met", "resource": "memory", "memory": true,
            "signal": "memory.available", "threshold_ratio": 0.4, "threshold_bytes": 827_608_281, "capacity_bytes": 2_020_528 * 1024,
            "grace_period_ms": 20_000, "met_for_ms": 10_500}),
        "the kubelet prints 827608281 itself, when it evicts"
    );
    for line in [
        r#""Eviction manager: eviction criteria not yet met" threshold="threshold(signal=memory.available, operator=LessThan, value={1536Mi 0}, gracePeriod=1m30s)" duration="0s""#,
        "eviction manager: eviction criteria not yet met for threshold(signal=memory.available, operator=LessThan, value={1536Mi 0}, gracePeriod=1m30s), duration: 0s",
    ] {
        assert_eq!(
            one(line),
            json!({"kind": "eviction", "phase": "grace_period_not_met", "resource": "memory", "memory": true,
                "signal": "memory.available", "threshold_bytes": 1536 << 20, "grace_period_ms": 90_000, "met_for_ms": 0}),
            "{line}"
        );
    }
}

#[test]
fn conditions_of_the_node_are_reported_when_they_change() {
    for (observed, held) in [
        (
            r#""Eviction manager: node conditions - observed" nodeCondition=["MemoryPressure"]"#,
            r#""Eviction manager: node conditions - transition period not met" nodeCondition=["MemoryPressure"]"#,
        ),
        (
            r#""Eviction manager: node conditions - observed" nodeCondition=[MemoryPressure]"#,
            r#""Eviction manager: node conditions - transition period not met" nodeCondition=[MemoryPressure]"#,
        ),
        (
            "eviction manager: node conditions - observed: [MemoryPressure]",
            "eviction manager: node conditions - transition period not met: [MemoryPressure]",
        ),
    ] {
        let said = said(&format!("{observed}\n{held}\n{held}"));
        assert_eq!(
            said,
            [
                json!({"kind": "eviction", "phase": "node_conditions", "memory": true, "node_conditions": ["MemoryPressure"]})
            ]
        );
    }
}

#[test]
fn a_pod_refused_for_memory_pressure_never_ran() {
    let refused = |line: &str| {
        let said = one(line);
        assert_eq!((&said["phase"], &said["memory"]), (&json!("admission_refused"), &json!(true)), "{line}");
        assert_eq!(said["node_conditions"], json!(["MemoryPressure"]), "{line}");
        said["pod"].clone()
    };
    assert_eq!(refused(r#""Failed to admit pod to node" pod="default/be-hog" nodeCondition=[MemoryPressure]"#), hog());
    assert_eq!(
        refused(r#""Failed to admit pod to node" pod="default/be-hog" nodeCondition=["MemoryPressure"]"#),
        hog()
    );
    assert_eq!(
        refused(
            r#""Pod admission denied" podUID="{UID}" pod="default/be-hog" reason="Evicted" message="The node had condition: [MemoryPressure]. " operation="add""#
        ),
        hog_with_uid()
    );
    assert_eq!(
        refused("Failed to admit pod be-hog_default({UID}) - node has conditions: [MemoryPressure]"),
        hog_with_uid()
    );
    let twice = r#""Failed to admit pod to node" pod="default/be-hog" nodeCondition=["MemoryPressure"]
        "Event occurred" object="default/be-hog" kind="Pod" reason="Evicted" message="The node had condition: [MemoryPressure]. ""#;
    assert_eq!(said(twice).len(), 1);
    let disk = one(r#""Failed to admit pod to node" pod="default/be-hog" nodeCondition=["DiskPressure"]"#);
    assert_eq!(disk["memory"], false);
    for other in [
        r#""Pod admission denied" podUID="{UID}" pod="default/be-hog" reason="NodeAffinity" message="Predicate NodeAffinity failed""#,
        r#""Failed to admit pod" pod="default/be-hog" message="Preemption failed""#,
        "Failed to admit pod be-hog_default({UID}) - Update plugin resources failed",
    ] {
        assert!(said(other).is_empty(), "{other}");
    }
}

#[test]
fn a_uid_that_a_line_lacks_comes_from_its_neighbours() {
    let lines = r#""SyncLoop (PLEG): event for pod" pod="default/be-hog" event={"ID":"{UID}","Type":"ContainerStarted","Data":"{SANDBOX}"}
        "Eviction manager: pods ranked for eviction" pods=["default/be-hog","team-a/be-multi"]
        "Eviction manager: pod is evicted successfully" pod="default/be-hog""#;
    let said = said(lines);
    assert_eq!(said[1]["pods"], json!([hog_with_uid(), multi()]));
    assert_eq!(said[2]["pod"], hog_with_uid());
}

#[test]
fn the_manager_says_when_it_fails_itself() {
    for line in [
        r#""Eviction manager: failed to get summary stats" err="failed to get node info""#,
        "eviction manager: failed to get summary stats: failed to get node info",
        r#""Eviction manager: unexpected error when attempting to reduce resource pressure" resourceName="memory" err="x""#,
        "eviction manager: unexpected error when attempting to reduce memory pressure: x",
        r#""Eviction manager: no ranking function for signal" threshold="memory.available""#,
    ] {
        let said = one(line);
        assert_eq!(said["phase"], "error", "{line}");
        assert!(said["error"].is_string(), "{line}");
    }
}

#[test]
fn the_ranks_of_a_large_node_are_all_reported() {
    let names: Vec<_> =
        (0..500).map(|number| format!("\"team-{}/pod-{number}-7c54cc6d8c-62ccl\"", number % 7)).collect();
    let said = one(&format!("\"Eviction manager: pods ranked for eviction\" pods=[{}]", names.join(",")));
    assert_eq!(said["pods"].as_array().map(Vec::len), Some(500));
    assert_eq!(said["pods"][499]["name"], "pod-499-7c54cc6d8c-62ccl");
}

#[test]
fn a_json_log_says_the_same_as_text() {
    let json = br#"{"ts":1795476282998.045,"caller":"eviction/eviction_manager.go:381","msg":"Eviction manager: threshold observed resource","v":3,"log":"thresholds - ignoring grace period","signal":"memory.available","resourceName":"memory","quantity":"1Gi","available":"757248Ki"}
{"ts":1795476282999.1,"caller":"eviction/eviction_manager.go:381","msg":"Eviction manager: attempting to reclaim","v":0,"resourceName":"memory"}
{"ts":1795476283066.109,"caller":"eviction/eviction_manager.go:410","msg":"Eviction manager: pods ranked for eviction","v":0,"pods":[{"name":"be-hog","namespace":"default"},{"name":"be-multi","namespace":"team-a"}]}
{"ts":1795476283070,"caller":"eviction/eviction_manager.go:616","msg":"Eviction manager: pod failed to evict","pod":{"name":"be-hog","namespace":"default"},"err":"timeout waiting to kill pod"}
{"ts":1795476283071,"caller":"eviction/eviction_manager.go:300","msg":"Eviction manager: node conditions - observed","v":3,"nodeCondition":["MemoryPressure"]}
"#;
    let (mut reader, mut reported) = (reader(), Vec::new());
    reader.push(json, &mut reported);
    reader.finish(&mut reported);
    assert_eq!(super::at(&reported[0]), "2026-11-23T23:24:42.998045Z");
    let said: Vec<_> =
        reported.into_iter().map(|reported| known(serde_json::to_value(reported.event).expect("JSON"))).collect();
    assert_eq!(said[1]["signal"], "memory.available");
    assert_eq!(said[2]["pods"], json!([hog(), multi()]));
    assert_eq!((&said[3]["error"], &said[3]["pod"]), (&json!("timeout waiting to kill pod"), &hog()));
    assert_eq!(said[4]["node_conditions"], json!(["MemoryPressure"]));
}

/// The start of a kubelet, with its configuration as Go prints it.
const GO: &str = "{RuntimeCgroupsName: CgroupRoot:/ NodeAllocatableConfig:{ReservedSystemCPUs: EnforceNodeAllocatable:map[pods:{}] KubeReserved:map[memory:{i:{value:2966421504 scale:0} d:{Dec:<nil>} s:2829Mi Format:BinarySI}] SystemReserved:map[] HardEvictionThresholds:[{Signal:nodefs.available Operator:LessThan Value:{Quantity:<nil> Percentage:0.1} GracePeriod:0s MinReclaim:<nil>} {Signal:memory.available Operator:LessThan Value:{MEMORY} GracePeriod:0s MinReclaim:<nil>}]} QOSReserved:map[] CPUCFSQuotaPeriod:100ms}";
const AS_JSON: &str = r#"{"NodeName":"node1","CgroupRoot":"/","EnforceNodeAllocatable":{"pods":{}},"KubeReserved":null,"HardEvictionThresholds":[{"Signal":"memory.available","Operator":"LessThan","Value":{MEMORY},"GracePeriod":0,"MinReclaim":null},{"Signal":"nodefs.available","Operator":"LessThan","Value":{"Quantity":null,"Percentage":0.1},"GracePeriod":0,"MinReclaim":null}],"QOSReserved":{}}"#;
const STARTS: &str = "Creating Container Manager object based on Node Config";

#[test]
fn a_kubelet_says_when_it_starts_at_which_thresholds_it_will_evict() {
    let lines = |go: &str, json: &str| {
        let (go, json) = (GO.replace("MEMORY", go), AS_JSON.replace("MEMORY", json));
        [format!("{STARTS}: {go}"), format!("\"{STARTS}\" nodeConfig={go}"), format!("\"{STARTS}\" nodeConfig={json}")]
    };
    let configured = json!({"kind": "eviction", "phase": "configured", "resource": "memory", "memory": true, "signal": "memory.available"});
    for line in lines("Quantity:100Mi Percentage:0", r#""Quantity":"100Mi","Percentage":0"#) {
        let mut expected = configured.clone();
        expected["threshold_bytes"] = (100 << 20).into();
        if line.contains("2829Mi") {
            expected["reserved_bytes"] = (2829_u64 << 20).into();
        }
        assert_eq!(one(&line), expected, "{line}");
    }
    for line in lines("Quantity:<nil> Percentage:0.05", r#""Quantity":null,"Percentage":0.05"#) {
        let mut expected = configured.clone();
        expected["threshold_ratio"] = 0.05.into();
        if line.contains("2829Mi") {
            expected["reserved_bytes"] = (2829_u64 << 20).into();
        }
        assert_eq!(one(&line), expected, "{line}");
    }
    let object = format!(r#"{{"ts":1795476961825.0369,"msg":"{STARTS}","v":0,"nodeConfig":{AS_JSON}}}"#)
        .replace("MEMORY", r#""Quantity":"1Gi","Percentage":0"#);
    let as_object = super::reported(format!("{object}\n").as_bytes());
    assert_eq!(serde_json::to_value(&as_object[0].event).expect("JSON")["threshold_bytes"], 1 << 30);
}

#[test]
fn a_kubelet_without_a_threshold_of_memory_says_so_and_one_whose_line_was_cut_says_nothing() {
    let none = json!({"kind": "eviction", "phase": "configured", "resource": "memory", "memory": true});
    for config in [
        "{CgroupRoot:/ NodeAllocatableConfig:{HardEvictionThresholds:[]} QOSReserved:map[]}",
        r#"{"HardEvictionThresholds":[],"QOSReserved":{}}"#,
        r#"{"HardEvictionThresholds":null}"#,
    ] {
        assert_eq!(one(&format!("\"{STARTS}\" nodeConfig={config}")), none, "{config}");
    }
    for config in [GO, AS_JSON] {
        let cut = &config[..config.find("nodefs").expect("a threshold")];
        assert!(said(&format!("\"{STARTS}\" nodeConfig={cut}")).is_empty(), "{cut}");
        assert!(said(&format!("{STARTS}: {cut}")).is_empty(), "{cut}");
    }
}
