//! The kubelet's configuration that concerns memory, layer by layer, with where each value was read.
//!
//! Weakest first: the kubelet's defaults, the file of `--config`, the files of `--config-dir` in their order, the command
//! line (`kubeletConfigFlagPrecedence`, `cmd/kubelet/app/server.go`). `/configz` is the result that the running kubelet goes by,
//! and is believed over all of them: a file may be newer than the kubelet's start.

mod command_line;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use self::command_line::WhatIf;
use super::{
    kubelet_process::{CONFIGS, KubeletProcess},
    names::Host,
};

/// Deeper folders in a drop-in folder are not looked into.
const MOST_DEPTH: usize = 8;
/// Where K3s and RKE2 keep options of their own.
const RANCHER: [&str; 2] = ["/etc/rancher/k3s/config.yaml", "/etc/rancher/rke2/config.yaml"];
/// The drop-in folder that K3s and RKE2 give the kubelet inside them (K3s 1.32 and later).
const RANCHER_DROP_INS: [&str; 2] =
    ["/var/lib/rancher/k3s/agent/etc/kubelet.conf.d", "/var/lib/rancher/rke2/agent/etc/kubelet.conf.d"];

/// One source of settings, in the form of a `KubeletConfiguration`.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Where it was read: a path, an address, the command line.
    pub from: String,
    values: Map<String, Value>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The running kubelet's answer: what it lacks has its default.
    Configz,
    /// A map replaces the ones below it.
    Flags,
    /// A map is merged with the ones below it, key by key.
    DropIn,
    File,
    Defaults,
}

/// A value, where it was read, and what weaker sources say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found<T> {
    /// The value that holds; `null` where it is not set.
    pub value: Option<T>,
    /// Where it was read, or what says that it is not set; `null` where no source could be read.
    pub from: Option<String>,
    /// What other sources say that it does not follow.
    pub others: Vec<Other<T>>,
}

/// A value that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other<T> {
    /// The value.
    pub value: T,
    /// Where it was read.
    pub from: String,
}

impl<T> Found<T> {
    /// The same with values of another type; those that `make` does not understand are dropped.
    pub fn and_then<U>(self, make: impl Fn(T) -> Option<U>) -> Found<U> {
        let others = self.others.into_iter();
        Found {
            value: self.value.and_then(&make),
            from: self.from,
            others: others.filter_map(|Other { value, from }| Some(Other { value: make(value)?, from })).collect(),
        }
    }
}

/// All layers of a node's kubelet.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Strongest first.
    layers: Vec<Layer>,
    /// Whether the file of `--config` could not be read: what no flag says is not known then.
    incomplete: bool,
    /// What could not be read, and why.
    pub trouble: Vec<String>,
}

impl Layer {
    /// A `KubeletConfiguration` in YAML or JSON.
    ///
    /// # Errors
    ///
    /// Fails where it is neither, or no map.
    pub fn of_config(from: &str, text: &str) -> Result<Self, String> {
        let values: Value = serde_yaml_ng::from_str(text).map_err(|error| format!("{from}: {error}"))?;
        match values {
            Value::Object(values) => Ok(Self { from: from.to_owned(), values, kind: Kind::File }),
            Value::Null => Ok(Self { from: from.to_owned(), values: Map::new(), kind: Kind::File }),
            _ => Err(format!("{from}: not a map of settings")),
        }
    }

    /// An answer of `/configz`.
    ///
    /// # Errors
    ///
    /// Fails where it is something else.
    pub fn of_configz(from: &str, answer: &[u8]) -> Result<Self, String> {
        let mut answer: Value = serde_json::from_slice(answer).map_err(|error| format!("{from}: {error}"))?;
        match answer.get_mut("kubeletconfig").map(Value::take) {
            Some(Value::Object(values)) => Ok(Self { from: from.to_owned(), values, kind: Kind::Configz }),
            _ => Err(format!("{from}: there is no kubeletconfig in it")),
        }
    }

    /// Whether a map here replaces the ones below it.
    fn replaces_maps(&self) -> bool {
        matches!(self.kind, Kind::Configz | Kind::Flags)
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }
}

impl Settings {
    /// The layers given, strongest first, and the kubelet's defaults below them.
    #[must_use]
    pub fn of(mut layers: Vec<Layer>) -> Self {
        layers.push(defaults(&layers));
        Self { layers, incomplete: false, trouble: Vec::new() }
    }

    /// Reads all layers of the node's kubelet: from its command line, where its process is seen, and its files.
    #[must_use]
    pub fn read(host: &Host, process: Option<&KubeletProcess>, configz: Option<Layer>) -> Self {
        let mut trouble = Vec::new();
        let has_result = configz.is_some();
        let mut layers: Vec<Layer> = configz.into_iter().collect();
        let mut config = None;
        let mut folders = Vec::new();
        if let Some(process) = process {
            layers.extend(Layer::of_command_line(process));
            config = process.option("--config").map(PathBuf::from);
            folders.extend(process.option("--config-dir").map(PathBuf::from));
        } else {
            trouble
                .push("the kubelet's command line: no process of a kubelet is seen (in a container: hostPID)".into());
        }
        layers.extend(rancher(host, &mut trouble));
        folders.extend(RANCHER_DROP_INS.map(PathBuf::from));
        let mut drop_ins: Vec<_> = folders.iter().flat_map(|folder| drop_ins(host, folder, &mut trouble)).collect();
        // The last file is the strongest.
        drop_ins.reverse();
        layers.extend(drop_ins);
        let file = config_file(host, config.as_deref(), process, &mut trouble);
        let incomplete = config.is_some() && file.is_none() && !has_result;
        layers.extend(file);
        Self { incomplete, trouble, ..Self::of(layers) }
    }

    /// The same, with options that the kubelet would be given.
    #[must_use]
    pub fn what_if(&self, what_if: &WhatIf) -> Self {
        let mut layers = what_if.layers();
        layers.extend(self.layers.iter().cloned());
        Self { layers, incomplete: self.incomplete, trouble: Vec::new() }
    }

    /// Whether the sources of this node could be read: what is not set in them is not set.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.layers.len() > 1 && !self.incomplete
    }

    /// Where settings were read, strongest first, without the defaults.
    #[must_use]
    pub fn sources(&self) -> Vec<&str> {
        self.layers.iter().filter(|layer| layer.kind != Kind::Defaults).map(|layer| layer.from.as_str()).collect()
    }

    /// A setting as text: `cgroupDriver`; lists are joined with commas.
    #[must_use]
    pub fn text(&self, key: &str) -> Found<String> {
        self.find(|layer| layer.get(key).map(|value| Some(written(value))))
    }

    /// An entry of a setting that is a map: `kubeReserved`, `memory`.
    #[must_use]
    pub fn entry(&self, key: &str, entry: &str) -> Found<String> {
        self.find(|layer| {
            let map = layer.get(key)?;
            match map.get(entry) {
                // JSON merge patch: `null` takes an entry away.
                Some(Value::Null) => Some(None),
                Some(value) => Some(Some(written(value))),
                None if map.is_null() || layer.replaces_maps() => Some(None),
                None => None,
            }
        })
    }

    /// Whether something is on: a feature gate's entry, a flag.
    #[must_use]
    pub fn is_on(&self, found: &Found<String>) -> bool {
        found.value.as_deref() == Some("true")
    }

    /// `look` answers `Some(None)` for a layer that says that there is none.
    fn find(&self, look: impl Fn(&Layer) -> Option<Option<String>>) -> Found<String> {
        let mut found: Option<(Option<String>, String)> = None;
        let mut others = Vec::new();
        let layers = self.layers.iter().filter(|layer| layer.kind != Kind::Defaults || !self.incomplete);
        for layer in layers {
            let Some(said) = look(layer) else {
                // `/configz` has all that is set; what it lacks has its default.
                if layer.kind == Kind::Configz && found.is_none() {
                    let default = self.layers.last().and_then(&look).flatten();
                    found = Some((default, layer.from.clone()));
                }
                continue;
            };
            match &found {
                None => found = Some((said, layer.from.clone())),
                Some((held, _)) if layer.kind != Kind::Defaults && said.is_some() && said != *held => {
                    others.extend(said.map(|value| Other { value, from: layer.from.clone() }));
                }
                Some(_) => {}
            }
        }
        let known = self.layers.iter().find(|layer| layer.kind != Kind::Defaults).map(|layer| layer.from.clone());
        let known_absent = known.clone().filter(|_| !self.incomplete);
        match found {
            // Of a node of which nothing could be read, the defaults say nothing.
            Some((value, from)) if known.is_some() => Found { value, from: Some(from), others },
            _ => Found { value: None, from: known_absent, others },
        }
    }
}

fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(written).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// What stands in `from` of a default.
pub const DEFAULTS: &str = "the kubelet's default";

/// The default hard thresholds (`DefaultEvictionHard`, `pkg/kubelet/eviction/defaults_linux.go`).
fn default_thresholds() -> Value {
    json!({
        "memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%",
        "imagefs.inodesFree": "5%"
    })
}

/// The defaults below these layers.
///
/// Thresholds have theirs only where a configuration file has none at all (`loadConfigFile`, `cmd/kubelet/app/server.go`), or
/// where they are to be merged in.
fn defaults(layers: &[Layer]) -> Layer {
    let mut values = Map::new();
    for (key, value) in [
        ("enforceNodeAllocatable", json!(["pods"])),
        ("cgroupsPerQOS", json!(true)),
        ("failSwapOn", json!(true)),
        ("memorySwap", json!({ "swapBehavior": "NoSwap" })),
        ("memoryThrottlingFactor", json!(0.9)),
        ("memoryReservationPolicy", json!("None")),
        ("memoryManagerPolicy", json!("None")),
        ("evictionPressureTransitionPeriod", json!("5m0s")),
        ("singleProcessOOMKill", json!(false)),
    ] {
        values.insert(key.to_owned(), value);
    }
    let merged = layers.iter().find_map(|layer| layer.get("mergeDefaultEvictionSettings")) == Some(&Value::Bool(true));
    let main = layers.iter().find(|layer| layer.kind == Kind::File);
    if merged || main.is_some_and(|main| main.get("evictionHard").is_none_or(Value::is_null)) {
        values.insert("evictionHard".to_owned(), default_thresholds());
    }
    Layer { from: DEFAULTS.to_owned(), values, kind: Kind::Defaults }
}

/// The file of `--config`; where the command line is not seen, the first of the usual ones that is there.
fn config_file(
    host: &Host,
    asked: Option<&Path>,
    process: Option<&KubeletProcess>,
    trouble: &mut Vec<String>,
) -> Option<Layer> {
    let usual = CONFIGS.iter().map(Path::new).filter(|path| process.is_none() && !path.starts_with("/etc/rancher"));
    // A container that has not the file mounted may still see it through the kubelet's own root.
    let through = |path: &Path| Some(process?.folder.join("root").join(path.strip_prefix("/").ok()?));
    let read = |path: &Path| {
        let error = match fs::read_to_string(host.path(path)) {
            Ok(text) => return Ok(text),
            Err(error) => error,
        };
        through(path).and_then(|path| fs::read_to_string(path).ok()).ok_or(error)
    };
    let mut last = None;
    for path in asked.into_iter().chain(usual) {
        match read(path) {
            Ok(text) => {
                let read = Layer::of_config(&path.display().to_string(), &text);
                return read.map_err(|error| trouble.push(format!("the kubelet's configuration: {error}"))).ok();
            }
            Err(error) => last = Some(format!("{}: {error}", path.display())),
        }
    }
    trouble.extend(last.map(|error| format!("the kubelet's configuration: {error}")));
    None
}

/// The files of a drop-in folder, in their order: those that end in `.conf`, sub-folders included.
fn drop_ins(host: &Host, folder: &Path, trouble: &mut Vec<String>) -> Vec<Layer> {
    let mut paths = Vec::new();
    list(host, folder, 0, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.display().to_string();
        let text = fs::read_to_string(host.path(path)).map_err(|error| format!("{name}: {error}"))?;
        Layer::of_config(&name, &text).map(|layer| Layer { kind: Kind::DropIn, ..layer })
    };
    paths
        .iter()
        .filter_map(|path| read(path).map_err(|error| trouble.push(format!("a drop-in: {error}"))).ok())
        .collect()
}

fn list(host: &Host, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(host.path(folder)).into_iter().flatten().flatten() {
        let path = folder.join(entry.file_name());
        if host.path(&path).is_dir() && depth < MOST_DEPTH {
            list(host, &path, depth + 1, found);
        } else if path.extension().is_some_and(|extension| extension == "conf") {
            found.push(path);
        }
    }
}

/// What K3s or RKE2 gives the kubelet inside it: `kubelet-arg` of its configuration, and its own arguments below.
fn rancher(host: &Host, trouble: &mut Vec<String>) -> Vec<Layer> {
    let mut layers = Vec::new();
    for path in RANCHER {
        let Ok(text) = fs::read_to_string(host.path(path)) else { continue };
        match serde_yaml_ng::from_str::<Value>(&text) {
            Ok(config) => layers.extend(command_line::of_kubelet_arg(path, config.get("kubelet-arg"))),
            Err(error) => trouble.push(format!("{path}: {error}")),
        }
    }
    layers
}
