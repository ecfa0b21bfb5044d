//! What holds where several sources say something.

use std::fs;

use super::*;

const FILE: &str = "kind: KubeletConfiguration\nevictionHard: {memory.available: 500Mi, nodefs.available: 10%}\n\
                    kubeReserved: {memory: 1Gi, cpu: 100m}\nenforceNodeAllocatable: [pods]\n";

fn layer(from: &str, text: &str) -> Layer {
    Layer::of_config(from, text).expect("a configuration")
}

fn process(arguments: &[&str]) -> KubeletProcess {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    KubeletProcess { folder: PathBuf::from("/proc/812"), arguments }
}

fn node(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
    let root = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, text).expect("a file");
    }
    let host = Host::at(root.path());
    (root, host)
}

fn hard(settings: &Settings) -> Option<String> {
    settings.entry("evictionHard", "memory.available").value
}

#[test]
fn a_flag_replaces_the_whole_map_and_a_drop_in_merges_key_by_key() {
    let files = [
        ("/etc/kubelet.yaml", FILE),
        ("/etc/kubelet.d/20-more.conf", "evictionHard: {memory.available: 700Mi}\n"),
        ("/etc/kubelet.d/10-first.conf", "evictionHard: {memory.available: 600Mi}\nkubeReserved: {memory: null}\n"),
        ("/etc/kubelet.d/30-not.yaml", "evictionHard: {memory.available: 800Mi}\n"),
    ];
    let (_root, host) = node(&files);
    let with = |flags: &[&str]| {
        let arguments =
            [&["/usr/bin/kubelet", "--config=/etc/kubelet.yaml", "--config-dir=/etc/kubelet.d"], flags].concat();
        Settings::read(&host, Some(&process(&arguments)), None)
    };
    let settings = with(&[]);
    let found = settings.entry("evictionHard", "memory.available");
    assert_eq!((found.value.as_deref(), found.from.as_deref()), (Some("700Mi"), Some("/etc/kubelet.d/20-more.conf")));
    let others: Vec<_> = found.others.iter().map(|other| (other.value.as_str(), other.from.as_str())).collect();
    assert_eq!(others, [("600Mi", "/etc/kubelet.d/10-first.conf"), ("500Mi", "/etc/kubelet.yaml")]);
    assert_eq!(settings.entry("evictionHard", "nodefs.available").value.as_deref(), Some("10%"));
    assert_eq!(settings.entry("kubeReserved", "memory").value, None, "null takes an entry away");
    assert_eq!(settings.entry("kubeReserved", "cpu").value.as_deref(), Some("100m"));
    // A flag without the entry leaves the node without it.
    let settings = with(&["--eviction-hard=nodefs.available<5%", "--kube-reserved", "memory=2Gi"]);
    let found = settings.entry("evictionHard", "memory.available");
    assert_eq!((found.value, found.from.as_deref()), (None, Some("kubelet's command line (pid 812)")));
    assert_eq!(settings.entry("kubeReserved", "memory").value.as_deref(), Some("2Gi"));
    assert!(settings.trouble.is_empty(), "{:?}", settings.trouble);
}

#[test]
fn default_thresholds_hold_only_where_the_file_has_none_at_all() {
    assert_eq!(hard(&Settings::of(vec![layer("f", "kind: KubeletConfiguration\n")])).as_deref(), Some("100Mi"));
    assert_eq!(hard(&Settings::of(vec![layer("f", "evictionHard: {nodefs.available: 5%}\n")])), None);
    let merged = "mergeDefaultEvictionSettings: true\nevictionHard: {nodefs.available: 5%}\n";
    assert_eq!(hard(&Settings::of(vec![layer("f", merged)])).as_deref(), Some("100Mi"));
    // Without a file there are no defaults (from 1.25), and of an unknown node nothing is known.
    let flags = command_line::of_flags("flags", ["--fail-swap-on=false"].into_iter()).expect("a flag");
    assert_eq!(hard(&Settings::of(vec![flags])), None);
    let unknown = Settings::of(Vec::new());
    assert!(!unknown.is_known());
    assert_eq!(unknown.text("enforceNodeAllocatable"), Found { value: None, from: None, others: Vec::new() });
}

#[test]
fn configz_is_believed_over_files_and_lacks_what_has_its_default() {
    let configz = br#"{"kubeletconfig":{"evictionHard":{"memory.available":"100Mi"},"kubeReserved":{"memory":"2Gi"}}}"#;
    let configz = Layer::of_configz("https://node:10250/configz", configz).expect("an answer");
    let settings = Settings::of(vec![configz, layer("/f", FILE)]);
    let found = settings.entry("kubeReserved", "memory");
    assert_eq!((found.value.as_deref(), found.from.as_deref()), (Some("2Gi"), Some("https://node:10250/configz")));
    assert_eq!(found.others, [Other { value: "1Gi".to_owned(), from: "/f".to_owned() }]);
    assert_eq!(settings.text("failSwapOn").value.as_deref(), Some("true"));
    assert_eq!(settings.entry("evictionHard", "nodefs.available").value, None);
    assert!(Layer::of_configz("x", b"{}").is_err() && Layer::of_configz("x", b"404").is_err());
}

#[test]
fn k3s_never_evicts_for_memory_unless_it_is_reported_to() {
    let (_root, host) = node(&[]);
    let settings = Settings::read(&host, Some(&process(&["/usr/local/bin/k3s server"])), None);
    assert_eq!(hard(&settings), None);
    assert_eq!(settings.entry("evictionHard", "nodefs.available").value.as_deref(), Some("5%"));
    let (_root, host) =
        node(&[("/etc/rancher/k3s/config.yaml", "kubelet-arg:\n- eviction-hard=memory.available<300Mi\n")]);
    let settings = Settings::read(&host, None, None);
    assert_eq!(hard(&settings).as_deref(), Some("300Mi"));
    let given = process(&["k3s", "agent", "--kubelet-arg", "eviction-hard=memory.available<1Gi"]);
    let settings = Settings::read(&host, Some(&given), None);
    assert_eq!(hard(&settings).as_deref(), Some("1Gi"));
}

#[test]
fn what_cannot_be_parsed_is_named_and_the_rest_is_read() {
    let files = [
        ("/etc/kubelet.yaml", FILE),
        ("/etc/kubelet.d/10-broken.conf", "evictionHard: [\n"),
        ("/etc/kubelet.d/20-list.conf", "- 1\n"),
    ];
    let (_root, host) = node(&files);
    let process = process(&["kubelet", "--config=/etc/kubelet.yaml", "--config-dir", "/etc/kubelet.d"]);
    let settings = Settings::read(&host, Some(&process), None);
    assert_eq!(hard(&settings).as_deref(), Some("500Mi"));
    assert_eq!(settings.trouble.len(), 2, "{:?}", settings.trouble);
    assert!(settings.trouble[0].contains("10-broken.conf") && settings.trouble[1].contains("20-list.conf"));
}

#[test]
fn what_if_replaces_thresholds_and_reserves_beside_what_is_reserved() {
    let settings = Settings::of(vec![layer("/f", FILE)]);
    let flags = vec![
        ("eviction-hard", "memory.available=1Gi".to_owned()),
        ("kube-reserved", "memory=2Gi".to_owned()),
        ("enforce-node-allocatable", "none".to_owned()),
    ];
    let changed = settings.what_if(&WhatIf { flags });
    assert_eq!(hard(&changed).as_deref(), Some("1Gi"));
    assert_eq!(changed.entry("evictionHard", "nodefs.available").value, None);
    assert_eq!(changed.entry("kubeReserved", "memory").value.as_deref(), Some("2Gi"));
    assert_eq!(changed.entry("kubeReserved", "cpu").value.as_deref(), Some("100m"));
    assert_eq!(changed.text("enforceNodeAllocatable").value.as_deref(), Some("none"));
    let changed = settings.what_if(&WhatIf { flags: vec![("eviction-hard", "memory.available<5%".to_owned())] });
    assert_eq!(hard(&changed).as_deref(), Some("5%"));
}

#[test]
fn a_configuration_that_is_not_mounted_is_read_through_the_kubelets_own_root() {
    let (root, host) = node(&[]);
    let (proc, _) = node(&[("/812/root/etc/kubelet.yaml", FILE)]);
    let process =
        KubeletProcess { folder: proc.path().join("812"), ..process(&["kubelet", "--config=/etc/kubelet.yaml"]) };
    let settings = Settings::read(&host, Some(&process), None);
    assert_eq!(hard(&settings).as_deref(), Some("500Mi"));
    assert!(settings.trouble.is_empty() && root.path().is_dir(), "{:?}", settings.trouble);
}

#[test]
fn without_the_file_of_the_command_line_only_what_flags_say_is_known() {
    let (_root, host) = node(&[]);
    let process = process(&["kubelet", "--config=/gone.yaml", "--kube-reserved=memory=1Gi"]);
    let settings = Settings::read(&host, Some(&process), None);
    assert!(!settings.is_known() && settings.trouble.iter().any(|trouble| trouble.contains("/gone.yaml")));
    assert_eq!(settings.entry("kubeReserved", "memory").value.as_deref(), Some("1Gi"));
    let hard = settings.entry("evictionHard", "memory.available");
    assert_eq!(hard, Found { value: None, from: None, others: Vec::new() }, "not known, rather than none");
    assert_eq!(settings.text("failSwapOn").from, None);
}
