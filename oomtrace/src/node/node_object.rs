//! The API server's object of a node, as `kubectl get node NAME -o json` prints it.

use serde_json::Value;

use super::budget::together;
use crate::quantity;

/// What it says of memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeObject {
    /// `status.capacity.memory`.
    pub capacity_bytes: Option<u64>,
    /// `status.allocatable.memory`.
    pub allocatable_bytes: Option<u64>,
    /// `status.capacity.hugepages-*`, all sizes together.
    pub hugepages_bytes: u64,
    /// `status.nodeInfo.swap.capacity` (1.33 and later).
    pub swap_bytes: Option<u64>,
    /// `status.nodeInfo.kubeletVersion`.
    pub kubelet_version: Option<String>,
    /// Whether its condition `MemoryPressure` is true.
    pub memory_pressure: Option<bool>,
}

impl NodeObject {
    /// Reads it; of a list, the first.
    ///
    /// # Errors
    ///
    /// Fails where it is no node.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let node = value.pointer("/items/0").unwrap_or(&value);
        let status = node.get("status").ok_or("not a node: there is no status in it")?;
        let bytes = |value: &Value| value.as_str().and_then(quantity::bytes);
        let of = |pointer: &str| status.pointer(pointer).and_then(bytes);
        let hugepages = status.get("capacity").and_then(Value::as_object).into_iter().flatten();
        let mut conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
        let pressure = conditions.rfind(|condition| condition["type"] == "MemoryPressure");
        let swap = status.pointer("/nodeInfo/swap/capacity");
        Ok(Self {
            capacity_bytes: of("/capacity/memory"),
            allocatable_bytes: of("/allocatable/memory"),
            hugepages_bytes: together(
                hugepages.filter(|(name, _)| name.starts_with("hugepages-")).filter_map(|(_, value)| bytes(value)),
            ),
            swap_bytes: swap.and_then(|swap| swap.as_u64().or_else(|| bytes(swap))),
            kubelet_version: status.pointer("/nodeInfo/kubeletVersion").and_then(Value::as_str).map(str::to_owned),
            memory_pressure: pressure.map(|condition| condition["status"] == "True"),
        })
    }

    /// The kubelet's minor version: 36 of `v1.36.3`.
    #[must_use]
    pub fn minor_version(&self) -> Option<u32> {
        let version = self.kubelet_version.as_deref()?;
        version.trim_start_matches('v').split('.').nth(1)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_status_is_its_capacity_and_what_is_allocatable() {
        let json =
            br#"{"status":{"capacity":{"memory":"2020528Ki","hugepages-2Mi":"4Mi","hugepages-1Gi":"0","cpu":"2"},
            "allocatable":{"memory":"971952Ki"},"nodeInfo":{"kubeletVersion":"v1.36.3"},
            "conditions":[{"type":"MemoryPressure","status":"False"}]}}"#;
        let node = NodeObject::parse(json).expect("a node");
        assert_eq!((node.capacity_bytes, node.allocatable_bytes), (Some(2_020_528 << 10), Some(971_952 << 10)));
        assert_eq!(
            (node.hugepages_bytes, node.minor_version(), node.memory_pressure),
            (4 << 20, Some(36), Some(false))
        );
        assert!(NodeObject::parse(b"{}").is_err() && NodeObject::parse(b"no").is_err());
    }
}
