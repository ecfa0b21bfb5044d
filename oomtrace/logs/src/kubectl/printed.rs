//! What `kubectl get events`, `kubectl events`, `kubectl describe pod` and `kubectl describe node` print for people, as it is
//! pasted into reports.
//!
//! | printed | times in it |
//! |---|---|
//! | a table of events: `LAST SEEN   TYPE   REASON   OBJECT   MESSAGE`, with `-A` and `-o wide` more columns | ages |
//! | a description: `Name:`, `Containers:`, `Last State: Terminated`, a table of events without `OBJECT` | dates with a zone, and ages |
//! | a table of pods: `NAME   READY   STATUS   RESTARTS   AGE`, with `-A` and `-o wide` more columns | ages |
//! | parts of these: rows without their head, the end of a container, the message of an eviction | any of them |
//! | `docker events`, `docker ps -a`, `docker compose up` | with a zone, ages, none |
//!
//! (`printEvent` in `pkg/printers/internalversion/printers.go`, `describePod` in `kubectl/pkg/describe/describe.go`.) Ages count
//! back from when it was printed, which the text does not say: without [`Snapshot::printed`] what has an age has no time.

mod describe;
mod docker;
mod part;
mod row;
mod table;

use jiff::{Span, Timestamp};

use oomtrace_model::Pod;

use self::{describe::Description, part::Part, table::Table};
use super::{Snapshot, objects::Found};
use crate::envelope::learnt;

/// Whether a text has a part of any of these, wherever it stands: this is slower than [`is_printed`].
#[must_use]
pub fn has_part(text: &[u8]) -> bool {
    let text = &*learnt::uncoloured(text);
    part::may_be(text) && !read(text, &mut Snapshot::default()).is_empty()
}

/// Whether a line is a row of a table of events, whose message may be a line of the kernel's.
#[must_use]
pub fn is_event(line: &[u8]) -> bool {
    let may_be =
        memchr::memmem::find(line, b"OOMKilling").is_some() || memchr::memmem::find(line, b"SystemOOM").is_some();
    may_be && row::of_event(&String::from_utf8_lossy(line), &Pod::default(), &mut Snapshot::default())
}

/// Whether a text begins as one of these.
#[must_use]
pub fn is_printed(start: &[u8]) -> bool {
    let start = learnt::uncoloured(start);
    let text = String::from_utf8_lossy(&start);
    let mut name = false;
    let mut table = None::<Table>;
    text.lines().take(LINES).any(|line| {
        let text = line.trim_start();
        let described = name && ["Namespace:", "Roles:", "Role:"].iter().any(|key| text.starts_with(key));
        name = name && !text.is_empty() || text.starts_with("Name:");
        let of_node = table.as_ref().and_then(|table| table.row(line)).is_some_and(|row| row.is_of_node());
        table = Table::head(line).or(table.take());
        described || of_node || table.as_ref().is_some_and(Table::has_objects)
    })
}

/// So many lines may stand before: a prompt, a sentence.
const LINES: usize = 64;

/// Reads all of it.
pub(super) fn read(text: &[u8], into: &mut Snapshot) -> Found {
    let text = learnt::uncoloured(text);
    let text = String::from_utf8_lossy(&text);
    let mut found = Found::default();
    let (mut table, mut pod) = (None::<Table>, None::<Description>);
    let (mut asked, mut part) = (Pod::default(), Part::default());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(head) = Table::head(line) {
            table = Some(head);
        } else if Description::begins(line) {
            found.pods += part.end(&asked, into);
            found.pods += usize::from(pod.take().is_some_and(|pod| pod.enter(into)));
            (table, pod) = (None, Some(Description::new(line)));
        } else if let Some(columns) = &table {
            match columns.row(line) {
                Some(row) if row.is_rule() => {}
                Some(row) => {
                    let described = pod.as_ref().map(|pod| &pod.pod).or(asked.name.is_some().then_some(&asked));
                    row.enter(described, into);
                    found.events += 1;
                    continue;
                }
                None => table = None,
            }
        }
        if table.is_some() {
            continue;
        }
        if let Some(of_command) = part::asked(line) {
            found.pods += part.end(&asked, into);
            asked = of_command;
        } else if row::of_pods(line, into) {
            found.pods += 1;
        } else if row::of_event(line, &asked, into) || part::system_oom(line, into) {
            found.events += 1;
        } else if docker::event(line, into) || docker::end(line, into) {
            found.runtime += 1;
        } else if let Some(pod) = pod.as_mut().filter(|pod| pod.takes(line)) {
            pod.line(line);
        } else if let Some(message) = part::eviction(line, &mut lines) {
            found.events += usize::from(part.evicted(&message, &asked, into));
        } else {
            found.pods += part.line(line, &asked, into);
        }
    }
    found.pods += part.end(&asked, into);
    found.pods += usize::from(pod.is_some_and(|pod| pod.enter(into)));
    drop_rows_of_described(into);
    found
}

/// What a table of pods says of one that is described, too, is said twice; tables of one namespace do not name it.
fn drop_rows_of_described(into: &mut Snapshot) {
    let is_described =
        |name: &str| into.described.keys().any(|(namespace, other)| other == name && !namespace.is_empty());
    let rows: Vec<_> =
        into.described.keys().filter(|(namespace, name)| namespace.is_empty() && !name.is_empty()).cloned().collect();
    for key in rows.into_iter().filter(|(_, name)| is_described(name)).collect::<Vec<_>>() {
        into.described.remove(&key);
    }
}

/// The instant that is so long before: `5m22s`, `2d3h`; `5s (x3 over 10m)` is the last time of several.
fn before(printed: Option<Timestamp>, age: &str) -> Option<Timestamp> {
    let age = age.split_whitespace().next()?;
    if let Ok(at) = age.parse() {
        return Some(at);
    }
    // Years and days are of so many hours, as kubectl makes them (`duration.HumanDuration`).
    let mut seconds = 0_i64;
    let mut number = String::new();
    for c in age.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            'y' => 365 * 24 * 3600,
            'd' => 24 * 3600,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(std::mem::take(&mut number).parse::<i64>().ok()?.checked_mul(unit)?)?;
    }
    if !number.is_empty() {
        return None;
    }
    printed?.checked_sub(Span::new().try_seconds(seconds).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use oomtrace_model::Event;

    use super::{super::lines, *};

    const PRINTED: &str = "2026-06-12T10:00:00Z";

    fn read_text(text: &str, printed: Option<&str>) -> (Snapshot, Found) {
        let printed = printed.map(|at| at.parse().expect("a time"));
        let mut snapshot = Snapshot { printed, ..Snapshot::default() };
        let found = read(text.as_bytes(), &mut snapshot);
        (snapshot, found)
    }

    const EVENTS: &str = "\
NAMESPACE   LAST SEEN   TYPE      REASON      OBJECT               MESSAGE
shop        5m22s       Warning   Evicted     pod/cart-5           The node was low on resource: memory. Threshold quantity: 500Mi, available: 409600Ki. Container cart was using 900Mi, request is 200Mi, has larger consumption of memory. 
shop        <unknown>   Normal    Scheduled   pod/cart-6           Successfully assigned shop/cart-6 to worker-7
default     2d3h        Warning   SystemOOM   node/worker-8        System OOM encountered, victim process: ruby, pid: 812
default     46s         Warning   evictPodSuccess   pod/be-pod-demo   evict Pod:be-pod-demo, reason: EvictPodByNodeMemoryUsage, message: killAndEvictBEPods for node(n1), need to release memory: 8077889699
";

    #[test]
    fn a_table_of_events_has_evictions_and_kills_and_times_where_it_is_known_when_it_was_printed() {
        let (snapshot, found) = read_text(EVENTS, Some(PRINTED));
        assert_eq!(found.events, 4);
        let [evicted] = &snapshot.evictions[..] else { unreachable!("{:?}", snapshot.evictions) };
        assert_eq!((evicted.pod.namespace.as_deref(), evicted.pod.name.as_deref()), (Some("shop"), Some("cart-5")));
        assert_eq!((evicted.resource.as_deref(), evicted.available_bytes), (Some("memory"), Some(400 << 20)));
        assert_eq!(evicted.ts.as_deref(), Some("2026-06-12T09:54:38Z"));
        let happened = lines::lines(&snapshot);
        assert_eq!((happened.lines.len(), happened.untimed), (3, 0));
        assert_eq!(happened.lines[0].node, "worker-8");
        assert!(happened.lines.iter().any(|line| matches!(&line.event, Event::Signal(signal) if signal.sender.task.comm.as_deref() == Some("koordlet"))));
        let (snapshot, _) = read_text(EVENTS, None);
        assert_eq!(lines::lines(&snapshot).untimed, 3);
    }

    #[test]
    fn a_wide_table_says_which_node_it_was_on() {
        let message = "The node was low on resource: memory. Threshold quantity: 500Mi, available: 409600Ki.";
        let row = |seen: &str, kind: &str, reason: &str, object: &str, source: &str, message: &str, rest: &str| {
            format!("{seen:<12}{kind:<10}{reason:<10}{object:<13}{:<12}{source:<19}{message:<100}{rest}\n", "")
        };
        let head = row("LAST SEEN", "TYPE", "REASON", "OBJECT", "SOURCE", "MESSAGE", "FIRST SEEN   COUNT   NAME");
        let event = row(
            "5m22s",
            "Warning",
            "Evicted",
            "pod/cart-5",
            "kubelet, worker-7",
            message,
            "5m22s        1       cart-5.1",
        );
        let head = head.replacen(&format!("{:<12}SOURCE", ""), &format!("{:<12}SOURCE", "SUBOBJECT"), 1);
        let wide = format!("{head}{event}");
        let (snapshot, _) = read_text(&wide, None);
        let [evicted] = &snapshot.evictions[..] else { unreachable!("{:?}", snapshot.evictions) };
        assert_eq!((evicted.node.as_deref(), evicted.available_bytes), (Some("worker-7"), Some(400 << 20)));
    }

    const DESCRIBED: &str = "\
Name:             cart-5
Namespace:        shop
Node:             worker-7/10.0.0.7
Start Time:       Fri, 12 Jun 2026 09:00:00 +0200
Status:           Running
Controlled By:    ReplicaSet/cart-6f7d
Init Containers:
  setup:
    State:          Terminated
      Reason:       Completed
      Exit Code:    0
      Finished:     Fri, 12 Jun 2026 09:00:01 +0200
Containers:
  cart:
    Container ID:   containerd://c0ffee5555555555555555555555555555555555555555555555555555555555
    Image:          shop/cart:1
    Args:
      -Xmx512m
      serve
    State:          Waiting
      Reason:       CrashLoopBackOff
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
      Started:      Fri, 12 Jun 2026 09:58:00 +0200
      Finished:     Fri, 12 Jun 2026 09:59:30 +0200
    Ready:          False
    Restart Count:  3
    Limits:
      memory:  256Mi
    Requests:
      memory:  128Mi
    Environment:
      JAVA_TOOL_OPTIONS:  -Dkey=secret -XX:MaxRAMPercentage=80
    Mounts:         <none>
QoS Class:          Burstable
Events:
  Type     Reason   Age                From     Message
  ----     ------   ----               ----     -------
  Warning  BackOff  3s (x12 over 10m)  kubelet  Back-off restarting failed container cart in pod cart-5_shop(0f6d2a71-54f2-4f0a-9c1b-7a5e3d9b8c10)
";

    #[test]
    fn a_description_of_a_pod_says_how_its_containers_ended() {
        let indented: Vec<_> = DESCRIBED.lines().map(|line| format!("    {line}")).collect();
        for text in [DESCRIBED.to_owned(), indented.join("\n")] {
            let (snapshot, found) = read_text(&text, None);
            assert_eq!((found.pods, found.events), (1, 1));
            let record = &snapshot.described[&("shop".to_owned(), "cart-5".to_owned())];
            assert_eq!(record.node.as_deref(), Some("worker-7"));
            assert_eq!(record.pod.owner.as_ref().map(|owner| owner.name.as_str()), Some("cart-6f7d"));
            let cart = &record.containers["cart"];
            assert_eq!(
                (cart.limit_bytes, cart.request_bytes, cart.restart_count),
                (Some(256 << 20), Some(128 << 20), Some(3))
            );
            assert_eq!(cart.heap_settings, ["-Xmx512m", "JAVA_TOOL_OPTIONS=-XX:MaxRAMPercentage=80"]);
            let happened = lines::lines(&snapshot);
            let [line] = &happened.lines[..] else { unreachable!("{:?}", happened.lines) };
            assert_eq!((&line.ts[..19], line.node.as_str()), ("2026-06-12T07:59:30", "worker-7"));
            let Event::Container(change) = &line.event else { unreachable!("{line:?}") };
            assert_eq!((change.exit_code, change.reason.as_deref()), (Some(137), Some("OOMKilled")));
            let container = change.container.as_ref().expect("a container");
            assert_eq!(
                (container.name.as_deref(), &container.id, container.restart_count),
                (Some("cart"), &None, Some(2))
            );
        }
    }

    const NODE: &str = "\
Name:               worker-8
Roles:              <none>
Events:
  Type     Reason      Age    From                       Message
  ----     ------      ----   ----                       -------
  Warning  SystemOOM   17m    kubelet, worker-8          System OOM encountered, victim process: ruby, pid: 812
  Warning  OOMKilling  9m44s  kernel-monitor, worker-8  (combined from similar events): Memory cgroup out of memory: Killed process 813 (ruby) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB
";

    #[test]
    fn a_description_of_a_node_has_its_kills_and_so_has_its_table_alone() {
        let table = NODE.lines().skip(3).collect::<Vec<_>>().join("\n");
        for text in [NODE, table.as_str()] {
            let (snapshot, found) = read_text(text, Some(PRINTED));
            assert_eq!((found.pods, found.events), (0, 2), "{text}");
            let [oom] = &snapshot.system_ooms[..] else { unreachable!("{:?}", snapshot.system_ooms) };
            assert_eq!(
                (oom.node.as_deref(), oom.comm.as_deref(), oom.pid),
                (Some("worker-8"), Some("ruby"), Some(812))
            );
            assert_eq!(snapshot.kernel_lines.len(), 1);
            assert_eq!(snapshot.kernel_lines[0].node.as_deref(), Some("worker-8"));
            assert!(snapshot.kernel_lines[0].text.starts_with("Memory cgroup"), "{text}");
        }
        assert!(!is_printed(b"Type  Reason  Age  From  Message\nWarning  BackOff  3s  kubelet  Back-off\n"));
    }

    #[test]
    fn a_pod_that_was_evicted_says_so() {
        let text = "Name: cart-5\nNamespace: shop\nStatus: Failed\nReason: Evicted\nMessage: The node was low on resource: memory. Threshold quantity: 100Mi, available: 88252Ki. \nContainers:\n  cart:\n    State: Waiting\n";
        let (snapshot, _) = read_text(text, None);
        assert_eq!(snapshot.evictions.len(), 1);
        let evicted = &snapshot.evictions[0];
        assert_eq!((evicted.threshold_bytes, evicted.available_bytes), (Some(100 << 20), Some(88_252 << 10)));
    }

    fn evicted(text: &str) -> (Vec<(String, String)>, Snapshot) {
        let mut snapshot = Snapshot::default();
        super::super::read(text.as_bytes(), &mut snapshot).expect("something of use");
        let name = |pod: &Pod| pod.name.clone().unwrap_or_default();
        let resource = |resource: &Option<String>| resource.clone().unwrap_or_default();
        let evicted = snapshot.evictions.iter().map(|notice| (name(&notice.pod), resource(&notice.resource)));
        (evicted.collect(), snapshot)
    }

    fn one(name: &str, resource: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), resource.to_owned())]
    }

    #[test]
    fn the_message_of_an_eviction_is_enough() {
        let message =
            "The node was low on resource: memory. Container a was using 300Mi, which exceeds its request of 0.";
        for (text, name) in [
            (message.to_owned(), ""),
            (format!("**kubectl -n shop describe pods cart-7\nMessage:   {message}**\n"), "cart-7"),
            (
                format!(
                    "`kubectl describe pod/cart-7 --namespace=shop` ends with\n\nReason: Evicted\nMessage: {message}\n"
                ),
                "cart-7",
            ),
            (format!("cart-7\t\tEvicted\t\t{message}\n"), "cart-7"),
            (format!("  Warning  Evicted  6m28s  kubelet, worker-7   {message}\n"), ""),
            (format!("4m11s   Warning   Evicted   pod/cart-7    {message}\n"), "cart-7"),
            (
                format!(
                    "At 2026-07-12 15:49:58 +0000 UTC - event for cart-7: {{kubelet worker-7}} Evicted: {message}\n"
                ),
                "cart-7",
            ),
            (message.replacen("exceeds", "exc\needs", 1), ""),
            (message.replacen(" Container", "\n     Container", 1), ""),
        ] {
            assert!(has_part(text.as_bytes()), "{text}");
            let (found, snapshot) = evicted(&text);
            assert_eq!(found, one(name, "memory"), "{text}");
            let used = &snapshot.evictions[0].containers[0];
            assert_eq!((used.usage_bytes, used.request_bytes), (Some(300 << 20), Some(0)), "{text}");
        }
    }

    #[test]
    fn one_eviction_is_one_however_often_it_is_printed() {
        let message = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 0.";
        let text = format!(
            "cart-7   0/1   Evicted   0   3h\n\nName: cart-7\nNamespace: shop\nNode: worker-7/\nStatus: Failed\nReason: Evicted\nMessage: {message}\nContainers:\n  cart:\n    State: Waiting\nEvents:\n  Type     Reason   Age  From     Message\n  ----     ------   ---- ----     -------\n  Warning  Evicted  10m  kubelet  {message}\n"
        );
        let (found, snapshot) = evicted(&text);
        assert_eq!(found, one("cart-7", "ephemeral-storage"));
        let notice = &snapshot.evictions[0];
        assert_eq!((notice.pod.namespace.as_deref(), notice.node.as_deref()), (Some("shop"), Some("worker-7")));
        assert_eq!((notice.threshold_bytes, notice.available_bytes), (Some(1 << 30), Some(0)));
    }

    #[test]
    fn a_table_of_pods_says_who_was_evicted_and_who_was_killed() {
        let text = "\
NAME     READY   STATUS                   RESTARTS        AGE    IP          NODE       NOMINATED NODE
cart-7   0/1     Evicted                  0               3h     <none>      worker-7   <none>
ads-1    1/2     OOMKilled                4 (2m31s ago)   3d     10.42.0.1   worker-8   <none>
ads-2    0/1     Init:ExitCode:137        0               5m     10.42.0.2   worker-8   <none>
ads-3    0/1     ContainerStatusUnknown   1               3d     10.42.0.3   worker-8   <none>
ads-4    0/1     CrashLoopBackOff         9 (1m ago)      3d     10.42.0.4   worker-8   <none>
";
        let (found, snapshot) = evicted(text);
        assert_eq!(found, one("cart-7", ""));
        assert_eq!(snapshot.evictions[0].node.as_deref(), Some("worker-7"));
        let ends: Vec<_> = snapshot
            .described
            .values()
            .flat_map(|record| record.containers.values().flat_map(|container| &container.unnamed_ends))
            .map(|end| (end.exit_code, end.reason.as_deref()))
            .collect();
        assert_eq!(ends, [(None, Some("OOMKilled")), (Some(137), None)]);
        assert!(
            evicted("shop   cart-7   0/2   Evicted   0   2m4s\n").1.evictions[0].pod.namespace.as_deref()
                == Some("shop")
        );
    }

    #[test]
    fn the_end_of_a_container_is_read_without_its_pod() {
        for (text, ends) in [
            (
                "Last State: Terminated\nReason: OOMKilled\nExit Code: 137\nFinished: Fri, 12 Jun 2026 09:59:30 +0200\n",
                1,
            ),
            (
                "  cart:\n    State:          Running\n      Started:      Fri, 12 Jun 2026 09:59:40 +0200\n    Last State:     Terminated\n      Reason:       OOMKilled\n      Exit Code:    137\n      Finished:     Fri, 12 Jun 2026 09:59:30 +0200\n    Ready:          True\n    Limits:\n      memory:  64Mi\n",
                1,
            ),
            (
                "    State: Terminated\n      Reason: Error\n      Exit Code: 139\n    Last State: Terminated\n      Reason: Error\n      Exit Code: 139\n",
                2,
            ),
            (
                "\"lastState\": {\"terminated\": {\"exitCode\": 137, \"reason\": \"OOMKilled\", \"finishedAt\": \"2026-06-12T07:59:30Z\"}},\n",
                1,
            ),
            (
                "  containerStatuses:\n  - name: cart\n    lastState:\n      terminated:\n        exitCode: 137\n        reason: OOMKilled\n        finishedAt: \"2026-06-12T07:59:30Z\"\n",
                1,
            ),
            // It is not known how it ended.
            ("    State: Terminated\n      Reason: ContainerStatusUnknown\n      Exit Code: 137\n", 0),
        ] {
            let mut snapshot = Snapshot::default();
            super::super::read(text.as_bytes(), &mut snapshot).expect("something of use");
            let happened = lines::lines(&snapshot);
            assert_eq!(happened.lines.len(), ends, "{text}");
            if let Some(Event::Container(change)) = happened.lines.first().map(|line| &line.event) {
                assert!(change.pod.is_none() && matches!(change.exit_code, Some(137 | 139)), "{change:?}");
            }
        }
    }

    #[test]
    fn a_status_without_its_pod_says_that_it_was_evicted() {
        let text = " status:\n  phase: Failed\n  message: >-\n    The node was low on resource: memory. Container a was using\n    300Mi, which exceeds its request of 0. Container b was using 9736Ki,\n    which exceeds its request of 0. \n  reason: Evicted\n";
        let (found, snapshot) = evicted(text);
        assert_eq!(found, one("", "memory"));
        assert_eq!(snapshot.evictions[0].containers.len(), 2);
    }

    #[test]
    fn dockers_events_say_who_was_killed() {
        let id = "5".repeat(64);
        let text = format!(
            "2026-06-12T10:00:05.000000000Z container oom {id} (image=app:1, name=web)\n2026-06-12T10:00:05.100000000Z container die {id} (exitCode=137, image=app:1, name=web)\n"
        );
        assert!(has_part(text.as_bytes()));
        let (snapshot, found) = read_text(&text, None);
        assert_eq!(found.runtime, 2);
        let happened = lines::lines(&snapshot);
        let [line] = &happened.lines[..] else { unreachable!("{:?}", happened.lines) };
        let Event::Container(change) = &line.event else { unreachable!("{line:?}") };
        assert_eq!((change.exit_code, change.reason.as_deref()), (Some(137), Some("OOMKilled")));
        assert!(change.pod.is_none());
    }

    #[test]
    fn docker_says_with_which_code_a_container_exited() {
        let text = "\
CONTAINER ID   IMAGE     COMMAND      CREATED       STATUS                       PORTS     NAMES
5f4e3d2c1b0a   app:1     \"serve\"      3 hours ago   Exited (137) 2 hours ago               web
5f4e3d2c1b0b   app:2     \"serve\"      3 hours ago   Up 2 hours                             db
ERROR: container cache exited with code 139
";
        assert!(has_part(text.as_bytes()));
        let (snapshot, found) = read_text(text, None);
        assert_eq!(found.runtime, 2);
        let ends: Vec<_> = lines::lines(&snapshot)
            .lines
            .into_iter()
            .filter_map(|line| if let Event::Container(change) = line.event { Some(*change) } else { None })
            .map(|change| (change.container.and_then(|container| container.name), change.exit_code))
            .collect();
        assert_eq!(ends, [(Some("cache".to_owned()), Some(139)), (Some("web".to_owned()), Some(137))]);
        assert!(!has_part(b"the job web exited with code 137 | retried\n"));
    }

    #[test]
    fn events_of_a_node_are_its_own() {
        let description = "Events:\n  Type     Reason     Age    From     Message\n  ----     ------     ----   ----     -------\n  Warning  SystemOOM  5m24s  kubelet  System OOM encountered, victim process: ld-musl., pid: 11415\n";
        let custom = "default   Warning   worker-8.164b5861   2026-11-27T19:01:09+08:00   SystemOOM   System OOM encountered, victim process: ld-musl., pid: 11415\n";
        for text in [description, custom] {
            let (snapshot, _) = read_text(text, None);
            let [oom] = &snapshot.system_ooms[..] else { unreachable!("{:?}", snapshot.system_ooms) };
            assert_eq!((oom.comm.as_deref(), oom.pid), (Some("ld-musl."), Some(11_415)), "{text}");
        }
        // kubectl to 1.12.
        let text = "\
LAST SEEN   FIRST SEEN   COUNT     NAME                    KIND      SUBOBJECT   TYPE      REASON    SOURCE                 MESSAGE
1h          1h           1         web-1.15a9f2c3d4e5f6a7   Pod                   Warning   Evicted   kubelet, worker-7   The node was low on resource: memory.
";
        let (found, snapshot) = evicted(text);
        assert_eq!(found, one("web-1", "memory"));
        assert_eq!(snapshot.evictions[0].node.as_deref(), Some("worker-7"));
    }

    #[test]
    fn text_that_is_cut_anywhere_is_no_panic() {
        let hostile = format!(
            "{EVENTS}{DESCRIBED}LAST SEEN  TYPE  REASON  OBJECT  MESSAGE\n\u{feff}\u{e9}\u{1f980} \u{e9}  \u{e9}\n"
        );
        for end in 0..hostile.len() {
            let _ = read(&hostile.as_bytes()[..end], &mut Snapshot::default());
            let _ = read(&hostile.as_bytes()[end..], &mut Snapshot::default());
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "Name: x\n",
            "TYPE REASON MESSAGE\n",
            "Dear all,\nName: a\n\nNamespace: b\n",
            "apiVersion: v1\nkind: Pod\n",
        ] {
            assert!(!is_printed(text.as_bytes()) && !has_part(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn an_age_counts_back_from_when_it_was_printed() {
        let printed: Timestamp = PRINTED.parse().expect("a time");
        for (age, at) in [
            ("46s", Some("2026-06-12T09:59:14Z")),
            ("5m22s (x3 over 10m)", Some("2026-06-12T09:54:38Z")),
            ("2d3h", Some("2026-06-10T07:00:00Z")),
            ("<unknown>", None),
            ("5", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(before(Some(printed), age).map(|at| at.to_string()).as_deref(), at, "{age}");
            assert_eq!(before(None, age), None);
        }
    }
}
