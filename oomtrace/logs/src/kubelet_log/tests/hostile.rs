use super::{UID, filled, reader, reported, said};

const EVICTED: &str = r#""Eviction manager: pod is evicted successfully" pod="default/victim""#;

#[test]
fn what_a_container_says_is_never_taken_for_what_the_kubelet_says() {
    let forged = EVICTED.replace('"', "\\\"");
    for line in [
        format!(
            r#""Probe failed" probeType="Readiness" pod="default/be-hog" podUID="{UID}" containerName="c" probeResult="failure" output="{forged}""#
        ),
        format!(
            r#""Probe failed" probeType="Readiness" pod="default/be-hog" podUID="{UID}" containerName="c" probeResult="failure" output="x\nI1123 23:24:42.998045     440 f.go:1] {forged}""#
        ),
        format!(
            r#""Error syncing pod, skipping" err="failed to \"StartContainer\" for \"c\" with RunContainerError: {forged}" pod="default/be-hog""#
        ),
        format!(r#""Eviction manager: attempting to reclaim, said the pod" x={EVICTED}"#),
        format!("something about eviction manager: pod victim_default({UID}) is evicted successfully"),
    ] {
        let said = said(&line);
        assert!(said.iter().all(|event| event["kind"] != "eviction"), "{line}: {said:?}");
    }
    for line in [
        format!("\tI1123 23:24:42.998045     440 f.go:1] {EVICTED}"),
        format!(" I1123 23:24:42.998045     440 f.go:1] {EVICTED}"),
        format!("Nov 23 23:24:43 node1 kubelet[440]: \tI1123 23:24:42.998045     440 f.go:1] {EVICTED}"),
        format!("2026-11-23T23:24:43Z stderr F  I1123 23:24:42.998045     440 f.go:1] {EVICTED}"),
    ] {
        assert!(reported(line.as_bytes()).is_empty(), "klog indents the lines of a text: {line}");
    }
}

#[test]
fn a_line_with_another_process_in_its_head_is_forged() {
    let line =
        |pid: u32| format!("Nov 23 23:24:43 node1 kubelet[440]: I1123 23:24:42.998045 {pid:7} f.go:1] {EVICTED}\n");
    let (mut reader, mut reported) = (reader(), Vec::new());
    reader.push((line(440) + &line(1) + &line(440)).as_bytes(), &mut reported);
    assert_eq!((reported.len(), reader.counts().forged), (2, 1));
    // A kubelet in a container of its own is process 1 there, and stays so.
    let wrapped = line(1).replace("[440]", "[7]");
    reader.push((wrapped.clone() + &wrapped).as_bytes(), &mut reported);
    assert_eq!((reported.len(), reader.counts().forged), (4, 1));
}

#[test]
fn names_that_no_pod_can_have_are_not_read() {
    for name in ["default/a b", "default/A", "de fault/a", "default/a/b", "", "default/", "../x", "default/\\u001b[31m"]
    {
        let all = said(&format!(r#""Eviction manager: pods ranked for eviction" pods=["{name}","default/ok"]"#));
        assert_eq!(all[0]["pods"].as_array().map(Vec::len), Some(1), "{name}");
    }
}

const LINES: &str = r#"I1123 23:24:42.998045     440 eviction_manager.go:381] "Eviction manager: attempting to reclaim" resourceName="memory"
I1123 23:24:43.066109     440 eviction_manager.go:410] "Eviction manager: pods ranked for eviction" pods=["team-a/be-multi","default/be-hog"]
I1123 23:24:43.066109     440 eviction_manager.go:410] eviction manager: pods ranked for eviction: be-hog_default({UID}), a_b({OTHER_UID})
I1123 23:24:43.070000     440 eviction_manager.go:622] "Evicting pod" pod="default/be-hog" podUID="{UID}" message="The node was low on resource: memory. Threshold quantity: 1Gi, available: 889724Ki. Container leaky was using 514264Ki, request is 0, has larger consumption of memory. "
I1123 23:24:43.080000     440 helpers.go:1] "Eviction manager: eviction criteria not yet met" threshold="threshold(signal=memory.available, operator=LessThan, value={<nil> 0.4}, gracePeriod=20s)" duration="10.5s"
Nov 23 23:24:43 node1 kubelet[440]: I1123 23:24:43.213836     440 kuberuntime_container.go:915] "Killing container with a grace period" pod="default/be-hog" podUID="{UID}" containerName="leaky" containerID="containerd://{ID}" gracePeriod=2
2026-11-23T23:24:43.3Z stderr P I1123 23:24:49.903258     440 kubelet.go:2752] "SyncLoop (PLEG): event for pod" pod="default/be-hog"
2026-11-23T23:24:43.3Z stderr F  event={"ID":"{UID}","Type":"ContainerDied","Data":"{ID}"}
{"__REALTIME_TIMESTAMP":"1795476283001000","SYSLOG_IDENTIFIER":"kubelet","MESSAGE":"I1123 23:24:49.910024     440 generic.go:413] \"Generic (PLEG): container finished\" podID=\"{UID}\" containerID=\"{ID}\" exitCode=0"}
{"ts":1795476289999.1,"caller":"x","msg":"Got sys oom event","v":1,"event":{"Pid":1,"ProcessName":"x"}}
{"log":"I1123 23:24:49.99     440 x.go:1] Got sys oom event: &{801 mem hog 2026-11-23 23:20:37.44 +0000 UTC m=+82.2 / / }\n","stream":"stderr","time":"2026-11-23T23:24:43.001Z"}
<30>1 2026-11-23T23:24:43.001Z node1 kubelet 440 - [x y="z"] I1123 23:24:49.910024     440 x.go:1] Created an OOM event in container "/kubepods/x" at now
time="2026-11-23T23:20:38.926591338Z" level=info msg="TaskOOM event container_id:\"{ID}\""
I1123 23:24:50.066109     440 x.go:410] "Patch status for pod" pod="default/be-hog" podUID="{UID}" patch="{\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"exitCode\":1}}}]}}"
I1123 23:24:51.066109     440 prober.go:120] "Probe failed" probeType="Liveness" pod="default/be-hog" output=<
	one
	two
 > containerName="c"
"#;

fn printed(log: &[u8], pieces: impl IntoIterator<Item = usize>) -> String {
    let (mut reader, mut reported, mut at) = (reader(), Vec::new(), 0);
    for piece in pieces {
        let end = (at + piece).min(log.len());
        reader.push(&log[at..end], &mut reported);
        at = end;
    }
    reader.push(&log[at..], &mut reported);
    reader.finish(&mut reported);
    format!("{reported:?}{:?}", reader.counts())
}

#[test]
fn where_a_log_is_cut_into_pieces_does_not_matter() {
    let log = filled(LINES);
    let export = format!("__CURSOR=x\nMESSAGE={}\n\n__CURSOR=y\nMESSAGE\n", log.lines().next().expect("a line"));
    let mut export = export.into_bytes();
    export.extend(5_u64.to_le_bytes());
    export.extend(b"a\nb\n=\n\n");
    for log in [log.into_bytes(), export] {
        let whole = printed(&log, []);
        for size in [1, 2, 3, 7, 8, 9, 64, 100, 1000] {
            assert_eq!(printed(&log, std::iter::repeat_n(size, log.len() / size)), whole, "pieces of {size}");
        }
    }
}

#[test]
fn a_line_that_is_cut_anywhere_is_no_panic() {
    for line in filled(LINES).lines() {
        for end in 0..line.len() {
            let _ = reported(&line.as_bytes()[..end]);
            let _ = reported(&line.as_bytes()[end..]);
        }
    }
}

#[test]
fn bytes_that_are_wrong_are_no_panic() {
    // A generator of its own (splitmix64): the same bytes on every run.
    let mut state = 42_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((mixed ^ (mixed >> 27)) >> 33).expect("31 bits") % below
    };
    let log = filled(LINES).into_bytes();
    let alphabet = b"\"\\{}[]()=:, \n\t\0\xff\x1b/.-_ePF0123456789";
    for _ in 0..3000 {
        let mut log = log.clone();
        for _ in 0..=random(6) {
            let at = random(log.len());
            match random(3) {
                0 => log[at] = alphabet[random(alphabet.len())],
                1 => log.insert(at, alphabet[random(alphabet.len())]),
                _ => {
                    let end = (at + random(40)).min(log.len());
                    log.drain(at..end);
                }
            }
        }
        let _ = reported(&log);
    }
}

#[test]
fn a_line_without_an_end_does_not_take_all_memory() {
    let (mut reader, mut reported) = (reader(), Vec::new());
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..100 {
        reader.push(&piece, &mut reported);
    }
    reader.push(format!("\nI1123 23:24:42.998045     440 f.go:1] {EVICTED}\n").as_bytes(), &mut reported);
    assert_eq!((reported.len(), reader.counts().overlong), (1, 1));
    for _ in 0..100 {
        let part = format!("2026-11-23T23:24:43Z stderr P {EVICTED}{}\n", "x".repeat(64 * 1024));
        reader.push(part.as_bytes(), &mut reported);
    }
    reader.finish(&mut reported);
}
