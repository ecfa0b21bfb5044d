//! Logs as other kubelets, runtimes and cgroup drivers would have written them: a real log, line by line in another form.

use std::collections::BTreeMap;

use super::recast_old;

/// How a kubelet writes its lines. The given ones are those of 1.28 to 1.36.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kubelet {
    /// As given.
    V136,
    /// klog 2.90: structs as Go prints them, lists with blanks, uids without quotes.
    V127,
    /// klog 2.80: the same, and lists in quotes.
    V126,
    /// klog 2.8, and the messages of that time: no exit codes, no `Evicting pod`.
    V121,
    /// Sentences.
    V120,
    /// `--logging-format=json`.
    Json,
    /// Every line begins with the name of a component.
    MicroShift,
    /// A kubelet in a container: a file of the container runtime's.
    InContainer,
}

impl Kubelet {
    pub(crate) const ALL: [Self; 8] =
        [Self::V136, Self::V127, Self::V126, Self::V121, Self::V120, Self::Json, Self::MicroShift, Self::InContainer];

    /// Whether it tells how containers ended.
    pub(crate) fn tells_exit_codes(self) -> bool {
        !matches!(self, Self::V120 | Self::V121)
    }

    /// A whole log in this form.
    pub(crate) fn recast(self, log: &str) -> String {
        let uids = recast_old::uids(log);
        log.lines().filter_map(|line| self.line(line, &uids)).fold(String::new(), |log, line| log + &line + "\n")
    }

    fn line(self, line: &str, uids: &BTreeMap<String, String>) -> Option<String> {
        let head = || line.split_once("] ").filter(|(head, _)| head.len() > 22 && head.as_bytes()[11] == b':');
        match self {
            Self::V136 => Some(line.to_owned()),
            Self::V120 => match head() {
                Some((head, rest)) => Some(format!("{head}] {}", recast_old::sentence(rest, uids)?)),
                None => Some(line.to_owned()),
            },
            Self::MicroShift => Some(format!("kubelet {line}")),
            Self::InContainer => {
                let time = head().map_or_else(|| "23:59:59.000000".to_owned(), |(head, _)| head[6..21].to_owned());
                Some(format!("2026-11-23T{time}123Z stderr F {line}"))
            }
            Self::Json => Some(head().map_or_else(|| line.to_owned(), |(head, rest)| json(head, rest))),
            Self::V121 | Self::V126 | Self::V127 => {
                let newer = ["container finished", "Evicting pod"].iter().any(|message| line.contains(message));
                let old = head().map_or_else(|| line.to_owned(), |(head, rest)| format!("{head}] {}", self.old(rest)));
                match self {
                    Self::V121 if newer => None,
                    Self::V121 => Some(old.replace("with a grace period\"", "with a grace period override\"")),
                    _ => Some(old),
                }
            }
        }
    }

    /// A message before klog 2.100.
    fn old(self, rest: &str) -> String {
        let Some((message, keys)) = structured(rest) else { return rest.to_owned() };
        keys.iter().fold(message.to_owned(), |line, (key, value)| {
            let value = match value.as_bytes().first() {
                Some(b'[') if self == Self::V126 => format!("\"{}\"", plain(value)),
                Some(b'[') => plain(value),
                Some(b'{') => format!("&{}", plain(value)),
                _ if ["podUID", "podID"].contains(key) => value.trim_matches('"').to_owned(),
                _ => (*value).to_owned(),
            };
            format!("{line} {key}={value}")
        })
    }
}

/// `{"ID":"a","Type":"b"}` and `["a","b"]` as Go prints them: `{ID:a Type:b}`, `[a b]`.
fn plain(json: &str) -> String {
    json.replace(",\"", " ").replace("\":", ":").replace('"', "")
}

fn json(head: &str, rest: &str) -> String {
    let time = format!("2026-{}-{}T{}Z", &head[1..3], &head[3..5], &head[6..21]);
    let at: jiff::Timestamp = time.parse().expect("a time");
    let ts = f64::from(at.subsec_microsecond()) / 1000.0;
    #[expect(clippy::cast_precision_loss, reason = "seconds fit 53 bits")]
    let ts = at.as_second() as f64 * 1000.0 + ts;
    let mut object = serde_json::json!({ "ts": ts, "caller": head.rsplit(' ').next() });
    if head.starts_with('I') {
        object["v"] = 2.into();
    }
    let Some((message, keys)) = structured(rest) else {
        object["msg"] = rest.into();
        return object.to_string();
    };
    object["msg"] = serde_json::from_str(message).unwrap_or_else(|_| message.into());
    for (key, value) in keys {
        let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::from(value.trim_matches('"')));
        object[key] = match value {
            serde_json::Value::String(name) if key == "pod" => reference(&name),
            serde_json::Value::Array(names) if key == "pods" => {
                names.iter().map(|name| reference(name.as_str().unwrap_or_default())).collect()
            }
            value => value,
        };
    }
    object.to_string()
}

/// `klog.ObjectRef`.
fn reference(name: &str) -> serde_json::Value {
    match name.split_once('/') {
        Some((namespace, name)) => serde_json::json!({ "name": name, "namespace": namespace }),
        None => serde_json::json!({ "name": name }),
    }
}

/// The quoted message of a structured line, and its keys with their values as they are written.
pub(crate) fn structured(rest: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    rest.starts_with('"').then_some(())?;
    let end = value_end(rest)?;
    let (message, mut rest) = rest.split_at(end);
    let mut keys = Vec::new();
    while let Some((key, value)) = rest.strip_prefix(' ').and_then(|rest| rest.split_once('=')) {
        let end = value_end(value)?;
        keys.push((key, &value[..end]));
        rest = &value[end..];
    }
    Some((message, keys))
}

/// Where a value ends: at the first blank that is neither in quotes nor in brackets.
fn value_end(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_u32);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b' ' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    (!quoted && depth == 0).then_some(text.len())
}

/// Where the kubelet and the runtime put containers. The given paths are of the systemd driver and containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// As given.
    Systemd,
    /// `cgroupDriver: cgroupfs`.
    Cgroupfs,
    /// `cgroupRoot: /kubelet`, and the systemd driver.
    Root,
    /// The same in kind: nested in the node's own container.
    Kind,
    /// CRI-O.
    Crio,
}

impl Cgroups {
    pub(crate) const ALL: [Self; 5] = [Self::Systemd, Self::Cgroupfs, Self::Root, Self::Kind, Self::Crio];

    /// A whole log with such paths.
    pub(crate) fn recast(self, log: &str) -> String {
        let rooted = || {
            log.replace("kubepods-", "kubelet-kubepods-")
                .replace("/kubepods.slice", "/kubelet.slice/kubelet-kubepods.slice")
        };
        match self {
            Self::Systemd => log.to_owned(),
            Self::Root => rooted(),
            Self::Kind => rooted()
                .replace("/kubelet.slice/", &format!("/system.slice/docker-{}.scope/kubelet.slice/", "d".repeat(64))),
            Self::Crio => log.replace("cri-containerd-", "crio-"),
            Self::Cgroupfs => log
                .split_inclusive(['/', ' ', ',', ':', ';', '"', '=', '\n'])
                .map(|part| {
                    let (name, end) = part.split_at(part.len() - usize::from(!part.ends_with(char::is_alphanumeric)));
                    cgroupfs(name) + end
                })
                .collect(),
        }
    }
}

/// One component of a path.
fn cgroupfs(name: &str) -> String {
    let id = name.strip_prefix("cri-containerd-").and_then(|name| name.strip_suffix(".scope"));
    let slice = name.strip_prefix("kubepods").and_then(|name| name.strip_suffix(".slice"));
    match (id, slice) {
        (Some(id), _) => id.to_owned(),
        (_, Some("")) => "kubepods".to_owned(),
        (_, Some(slice)) => match slice.split_once("-pod") {
            Some((_, uid)) => format!("pod{}", uid.replace('_', "-")),
            None => slice.trim_start_matches('-').to_owned(),
        },
        (None, None) => name.to_owned(),
    }
}
