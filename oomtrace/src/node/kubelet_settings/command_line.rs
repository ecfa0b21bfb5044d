//! Settings from flags: the kubelet's own, those that K3s passes on, and those of a question "what if".

use serde_json::{Map, Value, json};

use super::{Kind, Layer};
use crate::node::kubelet_process::KubeletProcess;

/// Flags that concern memory, the setting each is, and the form of its value.
const FLAGS: [(&str, &str, Form); 22] = [
    ("kube-reserved", "kubeReserved", Form::Map('=')),
    ("system-reserved", "systemReserved", Form::Map('=')),
    ("eviction-hard", "evictionHard", Form::Map('<')),
    ("eviction-soft", "evictionSoft", Form::Map('<')),
    ("eviction-soft-grace-period", "evictionSoftGracePeriod", Form::Map('=')),
    ("eviction-minimum-reclaim", "evictionMinimumReclaim", Form::Map('=')),
    ("eviction-pressure-transition-period", "evictionPressureTransitionPeriod", Form::Text),
    ("eviction-max-pod-grace-period", "evictionMaxPodGracePeriod", Form::Text),
    ("enforce-node-allocatable", "enforceNodeAllocatable", Form::Text),
    ("kube-reserved-cgroup", "kubeReservedCgroup", Form::Text),
    ("system-reserved-cgroup", "systemReservedCgroup", Form::Text),
    ("cgroup-root", "cgroupRoot", Form::Text),
    ("cgroup-driver", "cgroupDriver", Form::Text),
    ("cgroups-per-qos", "cgroupsPerQOS", Form::Flag),
    ("fail-swap-on", "failSwapOn", Form::Flag),
    ("feature-gates", "featureGates", Form::Map('=')),
    ("qos-reserved", "qosReserved", Form::Map('=')),
    ("memory-manager-policy", "memoryManagerPolicy", Form::Text),
    ("reserved-memory", "reservedMemory", Form::Text),
    ("kernel-memcg-notification", "kernelMemcgNotification", Form::Flag),
    ("experimental-allocatable-ignore-eviction", "experimentalAllocatableIgnoreEviction", Form::Flag),
    ("protect-kernel-defaults", "protectKernelDefaults", Form::Flag),
];

#[derive(Clone, Copy)]
enum Form {
    /// `a=1,b=2`, or with `<`.
    Map(char),
    Text,
    /// `--name` is `true`.
    Flag,
}

/// Options that the kubelet would be given.
#[derive(Clone, Debug, Default)]
pub struct WhatIf {
    /// Flags and their values: `eviction-hard`, `memory.available=1Gi`.
    pub flags: Vec<(&'static str, String)>,
}

impl WhatIf {
    pub(super) fn layers(&self) -> Vec<Layer> {
        let of_flag = |(name, text): &(&str, String)| {
            let (_, key, form) = FLAGS.iter().find(|(flag, ..)| flag == name)?;
            let values = Map::from_iter([((*key).to_owned(), value(*form, text))]);
            // Reservations of processors stay as they are; thresholds are replaced, as the flag's are.
            let kind = if name.starts_with("eviction") { Kind::Flags } else { Kind::DropIn };
            Some(Layer { from: format!("--{name}, if it were given"), values, kind })
        };
        self.flags.iter().filter_map(of_flag).collect()
    }
}

impl Layer {
    /// The flags of the kubelet's process. Of K3s and RKE2: what they pass on, and below that what they always do.
    pub(super) fn of_command_line(process: &KubeletProcess) -> Vec<Self> {
        let pid = process.pid().map_or_else(String::new, |pid| format!(" (pid {pid})"));
        let program = process.program();
        let from = format!("{program}'s command line{pid}");
        if !program.starts_with("k3s") && program != "rke2" {
            return of_flags(&from, process.arguments.iter().skip(1).map(String::as_str)).into_iter().collect();
        }
        let passed_on = process.arguments.iter().enumerate().filter_map(|(place, argument)| {
            match argument.strip_prefix("--kubelet-arg")? {
                "" => process.arguments.get(place + 1).map(String::as_str),
                rest => rest.strip_prefix('='),
            }
        });
        let given = of_flags(&from, passed_on);
        let own = of_flags(
            &format!("{program}'s own arguments for the kubelet"),
            ["eviction-hard=imagefs.available<5%,nodefs.available<5%"].into_iter(),
        );
        given.into_iter().chain(own).collect()
    }
}

/// `kubelet-arg` of a configuration of K3s or RKE2: a list, or one.
pub(super) fn of_kubelet_arg(from: &str, value: Option<&Value>) -> Option<Layer> {
    let arguments: Vec<&str> = match value? {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        Value::String(one) => vec![one],
        _ => return None,
    };
    of_flags(from, arguments.into_iter())
}

/// A layer of flags with or without their dashes: `--name=value`, `--name value`, `name=value`. `None` where none of them
/// concerns memory.
pub(super) fn of_flags<'a>(from: &str, arguments: impl Iterator<Item = &'a str>) -> Option<Layer> {
    let mut values = Map::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let bare = argument.trim_start_matches('-');
        let (name, given) = bare.split_once('=').map_or((bare, None), |(name, value)| (name, Some(value)));
        let Some((_, key, form)) = FLAGS.iter().find(|(flag, ..)| *flag == name) else { continue };
        let text = match (given, form) {
            (Some(text), _) => text,
            (None, Form::Flag) => "true",
            (None, _) => arguments.next_if(|next| !next.starts_with("--")).unwrap_or_default(),
        };
        values.insert((*key).to_owned(), value(*form, text.trim_matches('"')));
    }
    (!values.is_empty()).then(|| Layer { from: from.to_owned(), values, kind: Kind::Flags })
}

fn value(form: Form, text: &str) -> Value {
    match form {
        Form::Text => json!(text),
        Form::Flag => json!(text == "true"),
        Form::Map(between) => {
            let entries = text.split(',').filter_map(|entry| {
                // `memory.available=1Gi` is how people write it, and how a file does.
                let (name, value) = entry.split_once(between).or_else(|| entry.split_once(['=', ':']))?;
                Some((name.trim().to_owned(), json!(value.trim())))
            });
            Value::Object(entries.collect())
        }
    }
}
