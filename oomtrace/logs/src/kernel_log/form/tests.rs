//! Lines in all forms.

use super::{Caller, Line, LineError, LineReader, LocalTime, Message, Skipped, Wall, When};

fn message(line: &[u8]) -> Message<'_> {
    match LineReader::new().read(line) {
        Line::Kernel(message) | Line::Killer(message) => message,
        Line::Skipped(why) => unreachable!("{why:?}: {}", String::from_utf8_lossy(line)),
    }
}

fn skipped(reader: &mut LineReader, line: &[u8]) -> Option<Skipped> {
    match reader.read(line) {
        Line::Skipped(why) => Some(why),
        Line::Kernel(_) | Line::Killer(_) => None,
    }
}

const fn boot(micros: u64) -> When {
    When { boot_ns: Some(micros * 1000), wall: None }
}

fn utc(text: &str) -> When {
    When { boot_ns: None, wall: Some(Wall::Absolute(text.parse().expect("a time"))) }
}

#[test]
fn a_record_of_dev_kmsg_has_number_time_caller_and_escapes() {
    let read = message(b"4,500,153158837,-,caller=T1090;java \\x28\\x0a\\x5c\\xff invoked\n");
    assert_eq!((read.when, read.sequence, read.caller), (boot(153_158_837), Some(500), Some(Caller::Task(1090))));
    assert_eq!(read.text, "java (\n\\\u{fffd} invoked");
    assert_eq!(message(b"6,1,2,c,caller=C3,next=thing;a;b").caller, Some(Caller::Cpu(3)));
    assert_eq!(message(b"6,1,2,-;\\x4 \\xg0 \\y").text, "\\x4 \\xg0 \\y");
    let mut reader = LineReader::new();
    let _ = reader.read(b"6,1,2,-;pci 0000:00:01.0: [8086:7000]");
    assert_eq!(skipped(&mut reader, b" SUBSYSTEM=pci"), Some(Skipped::Property));
}

#[test]
fn what_a_process_writes_into_the_kernels_log_is_not_the_kernels() {
    // Facility 3 is a daemon's: systemd's own lines. 1 is what any other gets.
    for line in [
        b"30,1,2,-;systemd[1]: Out of memory: Killed process 1 (a) total-vm:0kB".as_slice(),
        b"12,1,2,-;Killed process",
        b"<12>[    1.000000] Killed process",
        b"user  :warn  : [    1.000000] Killed process",
    ] {
        assert_eq!(skipped(&mut LineReader::new(), line), Some(Skipped::NotKernel));
    }
}

#[test]
fn dmesg_tells_the_boot_time_or_a_local_time_and_sometimes_the_caller() {
    assert_eq!(message(b"[  153.158837] a: b"), message(b"[153.158837] a: b\r\n"));
    assert_eq!(message(b"[  153.158837] a").when, boot(153_158_837));
    assert_eq!(message(b"[  153.158837] a"), message(b"[  153.158837 <    0.000125>] a"));
    assert_eq!(message(b"[Tue Nov  3 23:20:37 2026] a"), message(b"[Tue Nov  3 23:20:37 2026 <    0.000125>] a"));
    assert_eq!(message(b"[12345678.000001]  oom_kill+0x1").text, " oom_kill+0x1");
    for line in [b"[    1.000000][ T1090] a".as_slice(), b"[    1.000000] [ T1090] a", b"<4>[    1.000000] [T1090] a"] {
        let read = message(line);
        assert_eq!((&*read.text, read.caller), ("a", Some(Caller::Task(1090))));
    }
    let local = LocalTime { year: Some(2026), month: 11, day: 3, hour: 23, minute: 20, second: 37, nanosecond: 0 };
    let read = message(b"[Tue Nov  3 23:20:37 2026] [  108] 1 2 3 tail");
    assert_eq!((read.when.wall, &*read.text), (Some(Wall::Local(local)), "[  108] 1 2 3 tail"));
    for head in ["二 11月  3", "mar. nov.  3", "Di Nov  3", "вт ноя  3"] {
        assert_eq!(
            message(format!("[{head} 23:20:37 2026] a").as_bytes()).when.wall,
            Some(Wall::Local(local)),
            "{head}"
        );
    }
    assert_eq!(message(b"2026-11-24T00:11:45,234567+01:00 a").when, utc("2026-11-23T23:11:45.234567Z"));
    assert_eq!(message(b"[    1.000000] a\\x1b\\xc3\\xa9\\x41\\").text, "a\u{1b}\u{e9}\\x41\\");
    assert_eq!(message(b"[  +0.000123] a"), message(b"[Nov23 23:20] a"));
    assert_eq!(message(b"[<    0.000123>] a"), message(b"[Nov23 23:20] a"));
    assert_eq!(
        message(b"\x1b[32m[    2.000005] \x1b[0m\x1b[33mOut of memory: \x1b[0m\x1b[31mKilled\x1b[0m").text,
        "Out of memory: Killed"
    );
}

#[test]
fn server_sent_events_are_json() {
    let entry = r#"{"_TRANSPORT":"kernel","MESSAGE":"a","__REALTIME_TIMESTAMP":"1795476038248961"}"#;
    assert_eq!(message(format!("data: {entry}").as_bytes()), message(entry.as_bytes()));
    assert_eq!(skipped(&mut LineReader::new(), b""), Some(Skipped::Blank));
}

#[test]
fn behind_a_head_that_is_not_known_a_line_is_found() {
    for head in [
        "1:",
        "kern.log:1:",
        "kern.log:1: ",
        "> ",
        "\t",
        "    ",
        "kern.log:",
        "[pod/x/y] ",
        "56870] ",
        "kern-1  | ",
        "2026/11/23 23:20:37 ",
        "** 2 printk messages dropped ** ",
    ] {
        let mut reader = LineReader::new();
        for micros in [206_418_908, 206_418_909] {
            let line = format!("{head}[  206.{}] a: b", micros - 206_000_000);
            let Line::Kernel(read) = reader.read(line.as_bytes()) else { unreachable!("{line}") };
            assert_eq!((&*read.text, read.when, read.continues), ("a: b", boot(micros), false), "{line}");
        }
    }
    let syslog = message(b"Nov  3 23:20:37 node1 kernel: a");
    for head in ["1:", "/var/log/kern.log:", "> "] {
        assert_eq!(message(format!("{head}Nov  3 23:20:37 node1 kernel: a").as_bytes()), syslog);
    }
    let mut reader = LineReader::new();
    let _ = reader.read(b"Nov  3 23:20:37 node1 kernel: a");
    for line in ["x|app: [12.5 s] Killed", "a (b [  206.418908] c", "1:Nov  3 23:20:37 node1 app[7]: [ 1.5 Killed"] {
        assert!(skipped(&mut reader, line.as_bytes()).is_some(), "{line}");
    }
    assert_eq!(message("\u{feff}[  206.418908] a".as_bytes()), message(b"[  206.418908] a\r\r\n"));
}

#[test]
fn other_syslogs_tell_facility_or_year_or_no_zone() {
    let known = message(b"Nov 23 23:20:37 node1 kernel: [  206.418908] a");
    let dated = LocalTime { year: Some(2026), month: 11, day: 23, hour: 23, minute: 20, second: 37, nanosecond: 0 };
    let with_year = Message { when: When { wall: Some(Wall::Local(dated)), ..known.when }, ..known.clone() };
    assert_eq!(message(b"Nov 23 23:20:37 node1 kern.warn kernel: [  206.418908] a"), known);
    for head in [
        "Mon Nov 23 23:20:37 2026 kern.warn",
        "2026-11-23 23:20:37 node1",
        "2026-11-23T23:20:37 node1",
        "Nov 23 2026 23:20:37 node1",
    ] {
        assert_eq!(message(format!("{head} kernel: [  206.418908] a").as_bytes()), with_year, "{head}");
    }
    let rfc = b"1 2026-11-23T23:20:38.248961Z node1 kernel - - - a";
    assert_eq!(message(rfc).when, utc("2026-11-23T23:20:38.248961Z"));
    for line in ["Mon Nov 23 23:20:37 2026 daemon.info app: a", "Nov 23 23:20:37 node1 daemon.warn kernel: a"] {
        assert_eq!(skipped(&mut LineReader::new(), line.as_bytes()), Some(Skipped::NotKernel));
    }
}

#[test]
fn a_zone_without_a_name_is_a_number() {
    for head in ["Mon 2026-11-23 20:20:38 -03", "Tue 2026-11-24 04:50:38 +0530"] {
        let read = message(format!("{head} node1 kernel: a").as_bytes()).when;
        assert_eq!(read, utc("2026-11-23T23:20:38Z"), "{head}");
    }
}

#[test]
fn a_line_is_read_out_of_what_collectors_make_of_it() {
    let at = utc("2026-11-23T23:20:38.248961Z");
    for json in [
        r#"{"jsonPayload":{"MESSAGE":"a","_TRANSPORT":"kernel","_HOSTNAME":"n"},"timestamp":"2026-11-23T23:20:38.248961Z"}"#,
        r#"{"textPayload":"a","timestamp":"2026-11-23T23:20:38.248961Z"}"#,
        r#"{"host":"n","ident":"kernel","message":"a","timestamp":1795476038248961}"#,
        r#"{"labels":{"job":"k"},"line":"a","timestamp":"1795476038248961000"}"#,
        r#"{"_source":{"@timestamp":"2026-11-23T23:20:38.248961Z","message":"a"}}"#,
        r#"{"log":"a\n","stream":"stdout","time":"2026-11-23T23:20:38.248961Z"}"#,
    ] {
        let read = message(json.as_bytes());
        assert_eq!((&*read.text, read.when), ("a", at), "{json}");
    }
    // What the line itself tells counts.
    let inner =
        message(br#"{"@timestamp":"2026-11-23T23:20:38.248961Z","message":"Nov  3 23:20:37 n kernel: [  1.5] a"}"#);
    assert_eq!(inner, message(b"Nov  3 23:20:37 n kernel: [  1.5] a"));
    let cri = message(b"2026-11-23T23:20:38.248961Z stdout F [  153.158837] a");
    assert_eq!((&*cri.text, cri.when), ("a", When { wall: at.wall, ..boot(153_158_837) }));
    let other = br#"{"jsonPayload":{"MESSAGE":"Killed process 1","SYSLOG_IDENTIFIER":"app"}}"#;
    assert_eq!(skipped(&mut LineReader::new(), other), Some(Skipped::NotKernel));
}

#[test]
fn an_object_over_several_lines_is_read_as_one() {
    let mut reader = LineReader::new();
    let pretty = "{\n \"events\": [\n  {\n   \"timestamp\": 1795476038248,\n   \"message\": \"a\",\n   \"x\": {\n    \"y\": 1\n   }\n  },\n  {\n   \"message\": \"b\"\n  }\n ]\n}\n{\n\t\"_TRANSPORT\" : \"kernel\",\n\t\"MESSAGE\" : \"c\",\n\t\"SYSLOG_IDENTIFIER\" : \"kernel\"\n}\n{\n[  1.5] d";
    let mut texts = Vec::new();
    for line in pretty.lines() {
        if let Line::Kernel(read) = reader.read(line.as_bytes()) {
            texts.push(read.text.into_owned());
        }
    }
    assert_eq!(texts, ["a", "b", "c", "d"]);
}

#[test]
fn an_object_that_an_app_logged_in_a_journal_is_not_read() {
    for head in ["Nov 23 23:20:36 node1 kernel: [  100.000000] a", "[  100.000000] a"] {
        let mut reader = LineReader::new();
        let _ = reader.read(head.as_bytes());
        let _ = reader.read(b"Nov 23 23:20:37 node1 app[7]: b");
        for line in ["      {", "       \"MESSAGE\": \"[  153.1] Killed\"", "      }"] {
            assert_eq!(skipped(&mut reader, line.as_bytes()), Some(Skipped::NotKernel), "{line}");
        }
    }
}

#[test]
fn a_message_of_bytes_is_read_also_over_many_lines() {
    let mut reader = LineReader::new();
    let pretty = "{\n\t\"_TRANSPORT\" : \"kernel\",\n\t\"MESSAGE\" : [\n\t\t98,\n\t\t1,\n\t\t100\n\t],\n\t\"SYSLOG_IDENTIFIER\" : \"kernel\"";
    for line in pretty.lines() {
        assert_eq!(skipped(&mut reader, line.as_bytes()), Some(Skipped::Property), "{line}");
    }
    assert!(matches!(reader.read(b"}"), Line::Kernel(read) if read.text == "b\u{1}d"));
}

#[test]
fn a_line_inside_of_endless_others_is_not_looked_for() {
    let wrapped = |times: usize| "2026-11-23T23:20:37Z stdout F ".repeat(times) + "[  1.5] a";
    assert_eq!(message(wrapped(2).as_bytes()).text, "a");
    assert_eq!(skipped(&mut LineReader::new(), wrapped(2000).as_bytes()), Some(Skipped::NotKernel));
}

#[test]
fn behind_prose_a_line_is_what_somebody_says() {
    let mut reader = LineReader::new();
    let _ = reader.read(b"[  100.000000] eth0: up");
    for head in ["2026/11/23 23:20:37 [evil] app says: ", "app says: ", "app ", "a (b): "] {
        for line in ["Nov 23 23:20:37 node1 kernel: a", "[  206.418908] a"] {
            let line = format!("{head}{line}");
            assert_eq!(skipped(&mut reader, line.as_bytes()), Some(Skipped::Unreadable(LineError::NoHead)), "{line}");
        }
    }
}

#[test]
fn a_first_line_that_alone_is_indented_is_disowned() {
    let mut reader = LineReader::new();
    let mut disowned = |line: &str| {
        let _ = reader.read(line.as_bytes());
        reader.disowns_first()
    };
    let lines = ["    [  100.000000] a", "Nov 23 23:20:37 node1 app[1]: b", "", "Nov 23 23:20:38 node1 kernel: c"];
    assert_eq!(lines.map(&mut disowned), [false, true, false, false]);
    // What is indented goes on again.
    assert!(matches!(reader.read(b"    [  100.000000] d"), Line::Kernel(read) if read.continues));
    // `journalctl` indents by the width of its heads.
    let far = format!("{}[  100.000000] a", " ".repeat(32));
    assert_eq!(skipped(&mut LineReader::new(), far.as_bytes()), Some(Skipped::Unreadable(LineError::NoHead)));
}

#[test]
fn a_table_row_is_no_time() {
    // Lines without a head: `journalctl -o cat`.
    for line in ["[    108]     0   108    48894 tail", "[  pid  ]   uid  tgid", " dump_stack+0x6b/0x83", "free:612"] {
        assert_eq!(message(line.as_bytes()).text, line);
    }
}

#[test]
fn journal_and_syslog_tell_wall_time_host_and_identifier() {
    let second = |when: When| match when.wall {
        Some(Wall::Local(time)) => (time.year, time.month, time.day, time.second, time.nanosecond),
        other => unreachable!("{other:?}"),
    };
    assert_eq!(second(message(b"Nov 23 23:20:37 node1 kernel: a").when), (None, 11, 23, 37, 0));
    assert_eq!(second(message(b"Nov  3 23:20:37.000042 node1 kernel: a").when), (None, 11, 3, 37, 42_000));
    let mut reader = LineReader::new();
    for _ in 0..2 {
        let Line::Kernel(read) = reader.read(" 1月 03 23:20:37 node1 kernel: a".as_bytes()) else { unreachable!() };
        assert_eq!((second(read.when), read.continues), ((None, 1, 3, 37, 0), false));
    }
    assert_eq!(second(message("11月 03 23:20:37 node1 kernel: a".as_bytes()).when), (None, 11, 3, 37, 0));
    assert_eq!(second(message(b"Mon 2026-11-23 23:20:37 CET node1 kernel: a").when), (Some(2026), 11, 23, 37, 0));
    let at = utc("2026-11-23T23:20:38.248961Z");
    assert_eq!(message(b"2026-11-23T23:20:38.248961+00:00 node1 kernel: a").when, at);
    assert_eq!(message(b"2026-11-24T04:50:38.248961+0530 node1 kernel: a").when, at);
    assert_eq!(message(b"1795476038.248961 node1 kernel: a").when, at);
    for line in [
        b"[  153.158837 <    0.000125 >] node1 kernel: a".as_slice(),
        b"[  153.158837                ] node1 kernel: a",
    ] {
        assert_eq!(message(line), message(b"[  153.158837] node1 kernel: a"));
    }
    let read = message(b"May 15 23:01:53 ubuntu kernel: [  152.700479] [T7] Memory cgroup out of memory: a");
    assert_eq!((read.when.boot_ns, read.caller), (Some(152_700_479_000), Some(Caller::Task(7))));
    assert_eq!(read.text, "Memory cgroup out of memory: a");
}

#[test]
fn only_what_the_kernel_logs_is_the_kernels() {
    for line in [
        "Nov 23 23:20:37 node1 kubelet[442]: kernel: Killed process 1 (a)",
        "Nov 23 23:20:37 node1 kernel-tool: a",
        "Nov 23 23:20:37 kernel systemd[1]: a",
        "Nov 23 23:20:37 node1 no identifier",
        "2026-11-23T23:20:38+00:00 node1 containerd[1]: time=\"…\" kernel: a",
    ] {
        assert_eq!(skipped(&mut LineReader::new(), line.as_bytes()), Some(Skipped::NotKernel), "{line}");
    }
    let mut reader = LineReader::new();
    assert_eq!(skipped(&mut reader, b"-- Boot 2d2f3db61ac04566ac083baf40c46441 --"), Some(Skipped::Marker));
    assert_eq!(skipped(&mut reader, b""), Some(Skipped::Blank));
    assert_eq!(skipped(&mut reader, b"Nov 23 23:20:37 node1 kernel: [57B blob data]"), Some(Skipped::Blob));
    assert_eq!(skipped(&mut reader, b"d process 12 (x)"), Some(Skipped::Unreadable(LineError::NoHead)));
}

#[test]
fn a_monotonic_journal_is_reported_from_dmesg_by_its_host() {
    let mut reader = LineReader::new();
    assert!(matches!(reader.read(b"[    0.000000] node1 kernel: Linux"), Line::Kernel(read) if read.text == "Linux"));
    assert_eq!(skipped(&mut reader, b"[   68.994466] node1 systemd[1]: Started"), Some(Skipped::NotKernel));
    assert_eq!(message(b"[   68.994466] usb 1-1: new device").text, "usb 1-1: new device");
}

#[test]
fn a_record_of_several_lines_goes_on_indented() {
    // evict-1.20-systemd, and 5.10's statistics in a journal.
    let mut reader = LineReader::new();
    let first = b"Nov 23 23:33:35 node1 kernel: calibrate_delay_direct() failed";
    let Line::Kernel(first) = reader.read(first) else { unreachable!("the kernel's") };
    let Line::Kernel(next) = reader.read(b"                               Probably due to") else {
        unreachable!("the kernel's")
    };
    assert_eq!((next.when, &*next.text, next.continues), (first.when, " Probably due to", true));
    let _ = reader.read(b"Nov 23 23:33:35 node1 app[7]: first");
    assert_eq!(skipped(&mut reader, b"                       Killed process 1 (a)"), Some(Skipped::NotKernel));
}

#[test]
fn a_journal_in_json_is_trusted_by_its_transport() {
    let kernel = br#"{"_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","SYSLOG_IDENTIFIER":"kernel","__REALTIME_TIMESTAMP":"1795476038248961","_SOURCE_MONOTONIC_TIMESTAMP":"153158837","MESSAGE":"a \"b\"\n c"}"#;
    let read = message(kernel);
    assert_eq!(&*read.text, "a \"b\"\n c");
    assert_eq!(read.when, When { wall: utc("2026-11-23T23:20:38.248961Z").wall, ..boot(153_158_837) });
    // Bytes where it is not text; a field given twice.
    let bytes = br#"{"_TRANSPORT":"kernel","MESSAGE":[75,255,10]}"#;
    assert_eq!(message(bytes).text, "K\u{fffd}\n");
    assert_eq!(message(br#"{"_TRANSPORT":"kernel","MESSAGE":["first","second"]}"#).text, "first");

    let why = |line: &[u8]| skipped(&mut LineReader::new(), line);
    // `logger -t kernel`, and what systemd writes to /dev/kmsg early.
    assert_eq!(why(br#"{"_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"kernel","MESSAGE":"a"}"#), Some(Skipped::NotKernel));
    let early = br#"{"_TRANSPORT":"kernel","SYSLOG_FACILITY":"3","SYSLOG_IDENTIFIER":"systemd","MESSAGE":"kernel"}"#;
    assert_eq!(why(early), Some(Skipped::NotKernel));
    assert_eq!(why(br#"{"_TRANSPORT":"kernel","MESSAGE":null}"#), Some(Skipped::Unreadable(LineError::NoMessage)));
    assert_eq!(why(&kernel[..80]), Some(Skipped::Unreadable(LineError::Json)));
    assert_eq!(why(b"{\"MESSAGE\":\"\xff\"}"), Some(Skipped::Unreadable(LineError::Json)));
    let others = include_bytes!("../../../../tests/data/kernel-log/kubelet.journal.json");
    for line in others.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        assert_eq!(why(line), Some(Skipped::NotKernel));
    }
}

#[test]
fn the_time_between_two_lines_needs_a_common_clock() {
    let seconds = |to: &str, from: &str| {
        message(to.as_bytes()).when.since(&message(from.as_bytes()).when).map(|nanos| nanos / 1_000_000_000)
    };
    assert_eq!(seconds("[   12.5] a", "[    2.5] a"), Some(10));
    assert_eq!(seconds("Nov 23 23:20:37 h kernel: a", "Nov 23 23:19:37 h kernel: a"), Some(60));
    assert_eq!(seconds("[Mon Nov 23 23:20:37 2026] a", "[Mon Nov 23 23:20:36 2026] a"), Some(1));
    assert_eq!(seconds("2026-11-23T00:00:00Z h kernel: a", "2026-11-23T00:00:00+01:00 h kernel: a"), Some(3600));
    assert_eq!(seconds("Nov 23 23:20:37 h kernel: a", "[    2.5] a"), None);
    assert_eq!(seconds("a", "a"), None);
}

#[test]
fn the_hosts_of_a_log_are_those_that_its_lines_name() {
    let mut reader = LineReader::new();
    for line in [
        "Nov 23 23:20:37 node-1.example kernel: [    1.000000] a",
        "Nov 23 23:20:37 node-2 kernel: [    1.000000] a",
        "Nov 23 23:20:38 node-1.example kernel: [    1.000000] b",
        "2026-11-23T23:20:37Z kn\u{f6}ten kernel: c",
        "[    1.000000] nobody",
    ] {
        let _ = reader.read(line.as_bytes());
    }
    assert_eq!(reader.hosts(), ["node-1.example", "node-2", "kn\u{f6}ten"]);
}
