//! The thread that asks, with a node's files in a folder of the test's own.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::mpsc, time::timeout};

use super::{Asker, Options, start};
use crate::node::{
    cgroup_path::ContainerId,
    fact::{ContainerFact, Fact},
    names::{Heard, Host, cri},
};

/// An event waits half a second for names (`--name-wait`), and a busy machine is given a little more; what is looked at once a
/// second only is reported too late.
const IN_TIME: Duration = Duration::from_millis(800);
/// However busy the machine is.
const AT_ALL: Duration = Duration::from_secs(20);
const BUNDLES: &str = "run/containerd/io.containerd.runtime.v2.task";

struct Node {
    root: TempDir,
    runtime: Runtime,
    asker: Asker,
    heard: mpsc::Receiver<Heard>,
}

impl Node {
    /// A node that has these folders, and is asked.
    fn with(folders: &[&str]) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        for folder in folders {
            fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        let (reported, heard) = mpsc::channel(100);
        let options = Options {
            host: Host::at(root.path()),
            cgroup_root: root.path().to_path_buf(),
            cri: cri::Access { endpoint: Some(PathBuf::from("/nowhere.sock")), events: false },
            kubelet: None,
            kubelet_degradation: crate::degradation::Degradation::default(),
            sees_cgroups: true,
        };
        let asker = start(options, reported).expect("a thread");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        // What there was to be read at the start is read.
        thread::sleep(Duration::from_millis(100));
        Self { root, runtime, asker, heard }
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        let new = path.with_extension("new");
        fs::write(&new, content).expect("a file");
        fs::rename(new, path).expect("it is replaced");
    }

    /// What is reported of a container, with its name.
    fn reported_within(&mut self, time: Duration, id: &ContainerId) -> Option<ContainerFact> {
        let Self { runtime, heard, .. } = self;
        let reported = async {
            loop {
                match heard.recv().await.expect("the thread lives") {
                    Heard::Fact(Fact::Container(fact)) if fact.id == *id && fact.name.is_some() => return fact,
                    _ => {}
                }
            }
        };
        runtime.block_on(async { timeout(time, reported).await.ok() })
    }
}

fn id(number: u32) -> ContainerId {
    format!("{number:064x}").parse().expect("an id")
}

#[test]
fn a_container_that_only_its_logs_link_names_is_named_before_an_event_has_waited_too_long() {
    let mut node = Node::with(&["var/log/pods", "var/log/containers"]);
    // Several, for the folders are also looked at once a second.
    for number in 0..6 {
        let pod = format!("var/log/pods/shop_web-{number}_{number:08x}-23d2-4099-bf62-d501a2753c91");
        fs::create_dir_all(node.root.path().join(&pod)).expect("a folder");
        let link = format!("var/log/containers/web-{number}_shop_app-{}.log", id(number));
        symlink(Path::new("/").join(pod).join("app/3.log"), node.root.path().join(link)).expect("a link");
        node.asker.ask(id(number));
        let reported = node.reported_within(IN_TIME, &id(number)).expect("it is reported in time");
        assert_eq!((reported.name.as_deref(), reported.restart_count), (Some("app"), Some(3)));
    }
}

#[test]
fn a_container_of_podman_is_named_in_time_whatever_its_driver_and_its_list() {
    let mut node = Node::with(&["var/lib/containers/storage"]);
    let lists = [
        "var/lib/containers/storage/overlay-containers/containers.json",
        "var/lib/containers/storage/overlay-containers/volatile-containers.json",
        "var/lib/containers/storage/vfs-containers/containers.json",
        "run/containers/storage/overlay-containers/volatile-containers.json",
    ];
    for (number, list) in (0..).zip(lists) {
        node.write(list, &format!(r#"[{{"id":"{}","names":["cache-{number}"],"metadata":"{{}}"}}]"#, id(number)));
        node.asker.ask(id(number));
        let reported = node.reported_within(IN_TIME, &id(number)).expect(list);
        assert_eq!(reported.name, Some(format!("cache-{number}")), "{list}");
    }
}

#[test]
fn a_runtimes_folder_for_a_container_is_read_though_nobody_asks_about_the_container() {
    let mut node = Node::with(&[&format!("{BUNDLES}/k8s.io")]);
    let config = |name: &str| format!(r#"{{"annotations":{{"io.kubernetes.cri.container-name":"{name}"}}}}"#);
    node.write(&format!("{BUNDLES}/k8s.io/{}/config.json", id(1)), &config("first"));
    assert_eq!(node.reported_within(AT_ALL, &id(1)).and_then(|reported| reported.name).as_deref(), Some("first"));
    // A namespace that comes later, as containerd's first container does.
    node.write(&format!("{BUNDLES}/moby/{}/config.json", id(2)), &config("second"));
    assert_eq!(node.reported_within(AT_ALL, &id(2)).and_then(|reported| reported.name).as_deref(), Some("second"));
    node.write(&format!("{BUNDLES}/moby/{}/config.json", id(3)), &config("third"));
    assert_eq!(node.reported_within(AT_ALL, &id(3)).and_then(|reported| reported.name).as_deref(), Some("third"));
}

#[test]
fn a_runtime_that_comes_later_is_found_by_its_folders() {
    let mut node = Node::with(&[]);
    let config = r#"{"annotations":{"io.kubernetes.cri.container-name":"app"}}"#;
    node.write(&format!("{BUNDLES}/k8s.io/{}/config.json", id(1)), config);
    let reported = node.reported_within(AT_ALL, &id(1));
    assert_eq!(reported.and_then(|reported| reported.name).as_deref(), Some("app"));
}
