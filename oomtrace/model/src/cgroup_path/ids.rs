//! The two ids that stand in a cgroup's path.
//!
//! Each event has several, and each index and each judgement copies of them: so their text is shared.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// A pod's uid, as the kubelet knows it: a UUID, or the hash of a static pod's manifest.
///
/// The API server gives every pod a UUID. A static pod has 32 hexadecimal digits in its place, without dashes, in its
/// cgroup, its log folder and its CRI labels (`pkg/kubelet/config/common.go`, `applyDefaults`); the mirror pod that the
/// API server shows for it has another uid, a UUID.
///
/// Refused: a uid that a static pod's manifest sets by hand to something else (the kubelet would take any text), and
/// upper-case digits, which Kubernetes never writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"))]
pub struct PodUid(Arc<str>);

/// Why a text is not a pod's uid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a pod's uid: neither a lower-case UUID nor a hash of 32 lower-case hexadecimal digits")]
pub struct InvalidPodUid(String);

/// A container's id, as its runtime gave it: 64 lower-case hexadecimal digits.
///
/// Refused: the short forms that command lines take, and the ids of anything that is not an OCI container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
pub struct ContainerId(Arc<str>);

/// Why a text is not a container's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a container's id: 64 lower-case hexadecimal digits")]
pub struct InvalidContainerId(String);

impl FromStr for PodUid {
    type Err = InvalidPodUid;

    /// Takes a UUID's dashes, or the underscores that the systemd driver writes in their place (a dash in a slice's
    /// name would make it another slice's child: `pkg/kubelet/cm/cgroup_manager_linux.go`, `escapeSystemdCgroupName`).
    fn from_str(text: &str) -> Result<Self, InvalidPodUid> {
        let groups = |separator| text.split(separator).map(str::len).eq([8, 4, 4, 4, 12]);
        let is_digits = |part: &str| part.bytes().all(is_digit);
        let is_hash = text.len() == 32 && is_digits(text);
        let is_uuid = ['-', '_'].into_iter().any(|dash| groups(dash) && text.split(dash).all(is_digits));
        if is_hash || is_uuid { Ok(Self(text.replace('_', "-").into())) } else { Err(InvalidPodUid(text.to_owned())) }
    }
}

impl FromStr for ContainerId {
    type Err = InvalidContainerId;

    fn from_str(text: &str) -> Result<Self, InvalidContainerId> {
        if text.len() == 64 && text.bytes().all(is_digit) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidContainerId(text.to_owned()))
        }
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl PodUid {
    /// The uid as Kubernetes writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits' value, and whether they are a UUID's: a tenth of the text's size.
    #[must_use]
    pub fn packed(&self) -> ([u8; 16], bool) {
        (packed(&self.0), self.0.len() != 32)
    }

    /// The uid that was packed.
    #[must_use]
    pub fn from_packed((bytes, is_uuid): ([u8; 16], bool)) -> Self {
        let mut text = digits(&bytes);
        if is_uuid {
            for dash in [8, 13, 18, 23] {
                text.insert(dash, '-');
            }
        }
        Self(text.into())
    }
}

impl ContainerId {
    /// The id, all 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits' value: half of the text's size.
    #[must_use]
    pub fn packed(&self) -> [u8; 32] {
        packed(&self.0)
    }

    /// The id that was packed.
    #[must_use]
    pub fn from_packed(bytes: &[u8; 32]) -> Self {
        Self(digits(bytes).into())
    }
}

/// The value of as many hexadecimal digits as there is room for; what is none is passed over.
fn packed<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let digits = text.bytes().filter_map(|byte| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    });
    for (position, digit) in digits.enumerate().take(2 * N) {
        bytes[position / 2] |= if position.is_multiple_of(2) { digit << 4 } else { digit };
    }
    bytes
}

fn digits(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    let mut text = String::with_capacity(2 * bytes.len() + 4);
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    text
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for PodUid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for ContainerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl TryFrom<String> for PodUid {
    type Error = InvalidPodUid;

    fn try_from(text: String) -> Result<Self, InvalidPodUid> {
        text.parse()
    }
}

impl TryFrom<String> for ContainerId {
    type Error = InvalidContainerId;

    fn try_from(text: String) -> Result<Self, InvalidContainerId> {
        text.parse()
    }
}

impl From<PodUid> for String {
    fn from(PodUid(text): PodUid) -> Self {
        text.as_ref().to_owned()
    }
}

impl From<ContainerId> for String {
    fn from(ContainerId(text): ContainerId) -> Self {
        text.as_ref().to_owned()
    }
}
