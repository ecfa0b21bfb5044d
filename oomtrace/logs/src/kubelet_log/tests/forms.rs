use serde_json::Value;

use super::{ID, UID, at, reader, reported};
use crate::{
    envelope::learnt::{Peeler, Plan},
    kubelet_log::{
        KubeletLines,
        form::{LineError, Unwrapped},
    },
};

const TEXT: &str = r#"I1123 23:24:42.998045     440 eviction_manager.go:381] "Eviction manager: attempting to reclaim" resourceName="memory""#;
const JSON: &str = r#"{"ts":1795476282998.045,"caller":"eviction/eviction_manager.go:381","msg":"Eviction manager: attempting to reclaim","v":0,"resourceName":"memory"}"#;

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("JSON")
}

fn wrapped(text: &str) -> Vec<(&'static str, String)> {
    let journal = format!(
        r#"{{"__REALTIME_TIMESTAMP":"1795476283001000","_PID":"440","SYSLOG_IDENTIFIER":"kubelet","MESSAGE":{}}}"#,
        quoted(text)
    );
    let docker =
        format!(r#"{{"log":{},"stream":"stderr","time":"2026-11-23T23:24:43.001Z"}}"#, quoted(&format!("{text}\n")));
    let bytes: Vec<_> = text.bytes().map(|byte| byte.to_string()).collect();
    vec![
        ("bare", text.to_owned()),
        ("short", format!("Nov 23 23:24:43 node1 kubelet[440]: {text}")),
        ("short-precise", format!("Nov 23 23:24:43.001000 node1 kubelet[440]: {text}")),
        ("short-iso", format!("2026-11-23T23:24:43+0000 node1 kubelet[440]: {text}")),
        ("short-iso-precise", format!("2026-11-23T23:24:43.001000+00:00 node1 kubelet[440]: {text}")),
        ("short-full", format!("Mon 2026-11-23 23:24:43 UTC node1 kubelet[440]: {text}")),
        ("short-full, another zone", format!("Mon 2026-11-23 23:24:43 CET node1 kubelet[440]: {text}")),
        ("short-unix", format!("1795476283.001000 node1 kubelet[440]: {text}")),
        ("short-monotonic", format!("[  153.158837] node1 kubelet[440]: {text}")),
        ("short-delta", format!("[  153.158837 <    0.000125 >] node1 kubelet[440]: {text}")),
        ("short-delta, the first line", format!("[  153.158837                ] node1 kubelet[440]: {text}")),
        ("with-unit", format!("Mon 2026-11-23 23:24:43 UTC node1 kubelet.service[440]: {text}")),
        ("verbose", format!("    MESSAGE={text}")),
        ("json-pretty", format!("\t\"MESSAGE\" : {},", quoted(text))),
        ("json-pretty, the last field", format!("\t\"MESSAGE\" : {}", quoted(text))),
        ("json-sse", format!("data: {journal}")),
        ("short, Chinese", format!("11月 23 23:24:43 node1 kubelet[440]: {text}")),
        ("short, French", format!("nov. 23 23:24:43 node1 kubelet[440]: {text}")),
        ("short, Russian", format!("ноя 23 23:24:43 node1 kubelet[440]: {text}")),
        ("no host", format!("Nov 23 23:24:43 kubelet[440]: {text}")),
        ("rsyslog", format!("2026-11-23T23:24:43.001000+00:00 node1 kubelet[440]: {text}")),
        ("RFC 5424", format!("<30>1 2026-11-23T23:24:43.001Z node1 kubelet 440 - - {text}")),
        ("RFC 5424 with data", format!(r#"<30>1 2026-11-23T23:24:43.001Z node1 kubelet 440 - [meta x="1"] {text}"#)),
        ("RFC 3164", format!("<30>Nov 23 23:24:43 node1 kubelet[440]: {text}")),
        ("k3s", format!("Nov 23 23:24:43 node1 k3s[440]: {text}")),
        ("MicroK8s", format!("Nov 23 23:24:43 node1 microk8s.daemon-kubelite[440]: {text}")),
        ("MicroK8s, 1.20", format!("Nov 23 23:24:43 node1 microk8s.daemon-kubelet[440]: {text}")),
        ("Charmed Kubernetes", format!("Nov 23 23:24:43 node1 kubelet.daemon[440]: {text}")),
        ("OpenShift", format!("Nov 23 23:24:43 node1 kubenswrapper[440]: {text}")),
        ("a path", format!("Nov 23 23:24:43 node1 /usr/bin/kubelet[440]: {text}")),
        (
            "k0s",
            format!(
                r#"Nov 23 23:24:43 node1 k0s[99]: time="2026-11-23 23:24:43" level=info msg={} component=kubelet stream=stderr"#,
                quoted(text)
            ),
        ),
        ("docker logs -t", format!("2026-11-23T23:24:43.001000000Z {text}")),
        ("talosctl logs", format!("10.0.0.2: {text}")),
        ("talosctl logs, IPv6", format!("2001:db8::2: {text}")),
        (
            "Fluent Bit",
            format!(r#"{{"time":"2026-11-23T23:24:43.001Z","stream":"stderr","_p":"F","log":{}}}"#, quoted(text)),
        ),
        ("CRI", format!("2026-11-23T23:24:43.001000000Z stderr F {text}")),
        (
            "CRI in two parts",
            format!(
                "2026-11-23T23:24:43.001Z stderr P {}\n2026-11-23T23:24:43.001Z stderr F {}",
                &text[..100],
                &text[100..]
            ),
        ),
        ("journal JSON", journal),
        (
            "journal JSON, bytes",
            format!(
                r#"{{"__REALTIME_TIMESTAMP":"1795476283001000","SYSLOG_IDENTIFIER":"kubelet","MESSAGE":[{}]}}"#,
                bytes.join(",")
            ),
        ),
        ("Docker in the journal", format!("Nov 23 23:24:43 node1 kubelet[7]: {docker}")),
        ("Docker", docker),
        (
            "export",
            format!(
                "__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1795476283001000\n_BOOT_ID=x\nMESSAGE={text}\nSYSLOG_IDENTIFIER=kubelet\n_PID=440\n"
            ),
        ),
    ]
}

#[test]
fn whatever_wraps_a_line_it_says_the_same_at_the_same_time() {
    for text in [TEXT, JSON] {
        for (form, log) in wrapped(text) {
            for log in [
                log.clone(),
                format!("{log}\n"),
                format!("{log}\r\n").replace("\r\n", if form == "export" { "\n\n" } else { "\r\n" }),
            ] {
                let reported = reported(log.as_bytes());
                assert_eq!(reported.len(), 1, "{form}: {log}");
                assert_eq!(at(&reported[0]), "2026-11-23T23:24:42.998045Z", "{form}: {log}");
            }
        }
    }
}

#[test]
fn a_month_may_begin_as_other_forms_do() {
    for month in ["dez", "déc.", "12月", " 1月", "1월"] {
        let line = format!("{month} 07 23:24:43 node1 kubelet[440]: text");
        let unwrapped = Unwrapped::read(line.as_bytes()).expect("a line");
        assert_eq!((unwrapped.identifier.as_deref(), &*unwrapped.text), (Some("kubelet"), "text"), "{line}");
    }
}

#[test]
fn microshift_says_whose_line_it_is() {
    let line = |component: &str| {
        reported(format!("Nov 23 23:24:43 node1 microshift[440]: {component} {TEXT}").as_bytes()).len()
    };
    assert_eq!(line("kubelet"), 1);
    assert_eq!(line("???"), 1);
    assert_eq!(line("kube-controller-manager"), 0);
}

#[test]
fn binary_fields_of_an_export_may_hold_anything() {
    let mut log = b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1795476283001000\nCOREDUMP\n".to_vec();
    let junk = b"\n\nMESSAGE=I1123 23:24:42.998045     440 f.go:1] \"Eviction manager: attempting to reclaim\"\n\n";
    log.extend((junk.len() as u64).to_le_bytes());
    log.extend(junk);
    log.extend(b"\nSYSLOG_IDENTIFIER=kubelet\nMESSAGE\n");
    log.extend((TEXT.len() as u64).to_le_bytes());
    log.extend(TEXT.as_bytes());
    log.extend(b"\n\n");
    let twice = [log.clone(), log].concat();
    assert_eq!(reported(&twice).len(), 2);
}

#[test]
fn others_in_a_mixed_journal_are_not_believed() {
    for who in ["app", "kubelets", "my-kubelet", "dockerd", "sshd", "kube-apiserver"] {
        for line in [
            format!("Nov 23 23:24:43 node1 {who}[440]: {TEXT}"),
            format!("2026-11-23T23:24:43+00:00 node1 {who}: {TEXT}"),
            format!("<30>1 2026-11-23T23:24:43Z node1 {who} 440 - - {TEXT}"),
            format!(r#"{{"SYSLOG_IDENTIFIER":"{who}","MESSAGE":{}}}"#, quoted(TEXT)),
        ] {
            assert!(reported(line.as_bytes()).is_empty(), "{line}");
        }
    }
    let mut quiet = reader();
    quiet.push(
        format!("Nov 23 23:24:43 node1 run-kubelet.sh[440]: {TEXT}\nNov 23 23:24:43 node1 app[7]: victed\n").as_bytes(),
        &mut Vec::new(),
    );
    assert_eq!(quiet.alike(), Some(("run-kubelet.sh", 1)), "who may be one is said");
    let calendar = super::super::Calendar { not_after: jiff::Timestamp::MAX, zone: jiff::tz::TimeZone::UTC };
    let mut reader = super::LogReader::new(calendar, vec!["my-kubelet".to_owned()]).expect("a reader");
    let mut reported = Vec::new();
    reader.push(format!("Nov 23 23:24:43 node1 my-kubelet[440]: {TEXT}\n").as_bytes(), &mut reported);
    assert_eq!(reported.len(), 1, "unless they are said to be one");
}

#[test]
fn systemd_oomd_in_a_journal_names_whom_it_killed() {
    let uid = UID.replace('-', "_");
    let path = format!(
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid}.slice/cri-containerd-{ID}.scope"
    );
    let pressure = "memory pressure for /kubepods.slice being 71.30% > 60.00% for > 20s with reclaim activity";
    let swap = "memory used (1) / total (2) and swap used (3) / total (4) being more than 90.00%";
    let said = |who: &str, text: &str| {
        let reported = reported(format!("Nov 23 23:25:23 node1 {who}[512]: {text}").as_bytes());
        reported
            .first()
            .map(|reported| (at(reported), super::known(serde_json::to_value(&reported.event).expect("JSON"))))
    };
    for (from, text) in [
        ("247", format!("Killed {path} due to {pressure}")),
        ("247", format!("Killed {path} due to {swap}")),
        ("later", format!("Marked {path} for killing due to {pressure}")),
    ] {
        let (at, event) = said("systemd-oomd", &text).expect(from);
        assert_eq!(at, "2026-11-23T23:25:23Z");
        assert_eq!((&event["signal"], &event["sender"]["role"]), (&"SIGKILL".into(), &"oomd".into()), "{event}");
        assert_eq!((&event["pod"]["uid"], &event["container"]["id"]), (&UID.into(), &ID.into()), "{event}");
        assert_eq!(
            (&event["sender"]["pid"], &event["target"]["container_init"]),
            (&512.into(), &true.into()),
            "{event}"
        );
        assert_eq!(said("app", &text), None, "anybody can say so");
        assert_eq!(said("kubelet", &text), None);
    }
    let (_, event) = said("systemd-oomd", &format!("Killed /user.slice/x.scope due to {pressure}")).expect("a kill");
    assert_eq!(
        (&event["pod"], &event["cgroup"]["path"]),
        (&Value::Null, &"/user.slice/x.scope".into()),
        "nobody's pod"
    );
}

#[test]
fn a_kubelet_that_is_quiet_is_known_by_any_line_of_its() {
    let reader = reader();
    for (line, expected) in [
        ("I1123 23:24:42.998045     440 kubelet.go:1] \"Starting\"", true),
        ("Nov 23 23:24:43 node1 kubelet[440]: I1123 23:24:42.998045     440 kubelet.go:1] \"Starting\"", true),
        ("MESSAGE=I1123 23:24:42.998045     440 kubelet.go:1] \"Starting\"", true),
        ("Nov 23 23:24:43 node1 app[440]: I1123 23:24:42.998045     440 kubelet.go:1] \"Starting\"", false),
        ("Nov 23 23:24:43 node1 kernel: text", false),
        ("", false),
    ] {
        assert_eq!(reader.is_of_kubelet(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn what_cannot_be_read_is_counted_with_its_reason() {
    for (line, error) in [
        (r#"{"MESSAGE":"Eviction manager: att"#, LineError::Json),
        (r#"{"MESSAGE":null,"SYSLOG_IDENTIFIER":"kubelet"}"#, LineError::NoMessage),
        ("\t\"MESSAGE\" : null,", LineError::NoMessage),
    ] {
        let (mut reader, mut reported) = (reader(), Vec::new());
        reader.push(line.as_bytes(), &mut reported);
        reader.finish(&mut reported);
        assert_eq!((reader.counts().unreadable, reader.counts().last_error), (1, Some(error)), "{line}");
    }
}

#[test]
fn journald_says_what_it_did_not_keep_of_the_kubelets() {
    for (line, count) in [
        ("Nov 23 23:24:43 node1 systemd-journald[203]: Suppressed 1234 messages from kubelet.service", Some(1234)),
        ("Nov 23 23:24:43 node1 systemd-journald[203]: Suppressed 9 messages from /system.slice/k3s.service", Some(9)),
        ("Nov 23 23:24:43 node1 systemd-journald[203]: Suppressed 9 messages from cron.service", None),
        ("Nov 23 23:24:43 node1 kubelet[203]: Suppressed 9 messages from kubelet.service", None),
    ] {
        let reported = reported(line.as_bytes());
        let said = reported.first().map(|reported| serde_json::to_value(&reported.event).expect("JSON"));
        let expected = count
            .map(|count| serde_json::json!({"kind": "lost", "from": "kubelet_log", "count": count, "output": null}));
        assert_eq!(said, expected, "{line}");
    }
}

#[test]
fn a_message_is_known_without_its_head_and_has_no_time() {
    for head in [
        "... eviction_manager.go:339] ",
        "... eviction_manager.go: ",
        "node-1 kubelet[7082]: I 7082 eviction_manager.go:339] ",
        "eviction_manager.go:629 ",
        "",
    ] {
        let line = format!("{head}\"Eviction manager: pod is evicted successfully\" pod=\"n/p\"\n");
        let reported = reported(line.as_bytes());
        assert_eq!(reported.len(), 1, "{line}");
        assert!(at(&reported[0]).starts_with("1970-01-01T00:00:00.000001"), "{line}");
    }
    for head in
        ["I1123 23:24:42.998045 eviction_manager.go:635] ", "I1123 23:24:42.998045     440 ", "I1123 23:24:42.998045 "]
    {
        let line = format!("{head}\"Eviction manager: pod is evicted successfully\" pod=\"n/p\"\n");
        assert_eq!(at(&reported(line.as_bytes())[0]), "2026-11-23T23:24:42.998045Z", "{line}");
    }
    // What stands before it has its time.
    let line = "Nov 23 23:24:43 node1 k3s: eviction_manager.go:629 \"Eviction manager: pod is evicted successfully\" pod=\"n/p\"\n";
    assert_eq!(at(&reported(line.as_bytes())[0]), "2026-11-23T23:24:43Z");
    for other in [
        // Of a head that is not known, and has klog's in it.
        format!("web-1 | {TEXT}\n"),
        "say: \"eviction_manager.go:339] eviction manager: attempting to reclaim memory\"\n".to_owned(),
        "eviction manager: attempting to reclaim memory\n".to_owned(),
    ] {
        assert!(reported(other.as_bytes()).is_empty(), "{other}");
    }
}

#[test]
fn a_runtimes_line_behind_a_prompt_is_read_and_its_others_teach_no_head() {
    let oom = format!(
        "$ Nov 23 23:24:42 node1 containerd[9]: time=\"2026-11-23T23:24:42Z\" level=info msg=\"TaskOOM event container_id:\\\"{ID}\\\"\""
    );
    let stop = format!(
        "$ Nov 23 23:24:44 node1 containerd[9]: time=\"2026-11-23T23:24:44Z\" level=info msg=\"StopPodSandbox for \\\"{ID}\\\"\""
    );
    let plan = Plan::learn(format!("{oom}\n\n{stop}\n").as_bytes(), &KubeletLines);
    let (mut reader, mut reported) = (reader(), Vec::new());
    let mut peeler = Peeler::new(plan, KubeletLines);
    for line in [oom, stop] {
        peeler.push(line.as_bytes(), |peeled| reader.read_line_of(&peeled.line, peeled.wall, &mut reported));
    }
    assert_eq!(reported.len(), 1);
}

#[test]
fn systemd_oomd_on_a_console_is_read_behind_indentation() {
    let log = "    [   77.740597] systemd-oomd[659]: Memory pressure for /system.slice is 85.03% > 80.00% for > 2s\n    [   77.749670] systemd-oomd[659]: Marked /system.slice/a.service for killing due to memory pressure for /system.slice being 85.03% > 80.00% for > 2s with reclaim activity\n";
    let (mut reader, mut reported) = (reader(), Vec::new());
    let mut peeler = Peeler::new(Plan::learn(log.as_bytes(), &KubeletLines), KubeletLines);
    for line in log.lines() {
        peeler.push(line.as_bytes(), |peeled| reader.read_line_of(&peeled.line, peeled.wall, &mut reported));
    }
    assert_eq!(reported.len(), 1);
}

#[test]
fn earlyoom_on_a_terminal_has_neither_a_name_nor_a_time() {
    let log = "low memory! at or below SIGTERM limits: mem 50 %, swap 10 %\nsending SIGTERM to process 126 \"python3\": badness 209, VmRSS 2891 MiB\n";
    let reported = reported(log.as_bytes());
    assert_eq!((reported.len(), at(&reported[0]).as_str()), (1, "1970-01-01T00:00:00.000001Z"));
}
