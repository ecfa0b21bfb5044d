//! The thresholds that a kubelet starts with, as it prints its configuration at every verbosity
//! (`pkg/kubelet/cm/container_manager_linux.go`, `NodeConfig`), 1.20 to 1.36. They are the hard ones: no line has the soft
//! ones, until they are met.
//!
//! - Go's `%+v`, a sentence's end in 1.20, a key's value until klog 2.100: `… HardEvictionThresholds:[{Signal:memory.available
//!   Operator:LessThan Value:{Quantity:100Mi Percentage:0} GracePeriod:0s MinReclaim:<nil>}] …`
//! - JSON since: `"HardEvictionThresholds":[{"Signal":"memory.available","Value":{"Quantity":"100Mi","Percentage":0}, …}]`

use std::collections::BTreeMap;

use oomtrace_model::{Eviction, EvictionPhase, quantity::bytes};
use serde::Deserialize;

use super::about;
use crate::kubelet_log::klog::{Message, Value};

/// How the message begins; in 1.20 all of it follows.
const MESSAGE: &str = "Creating Container Manager object based on Node Config";

#[derive(Deserialize)]
struct NodeConfig {
    #[serde(rename = "HardEvictionThresholds")]
    thresholds: Option<Vec<Threshold>>,
    #[serde(rename = "KubeReserved")]
    kube: Option<BTreeMap<String, String>>,
    #[serde(rename = "SystemReserved")]
    system: Option<BTreeMap<String, String>>,
}

impl NodeConfig {
    /// What is reserved of memory: nothing where the line has neither.
    fn reserved(&self) -> Option<u64> {
        let memory = |reserved: &Option<BTreeMap<String, String>>| match reserved.as_ref()?.get("memory") {
            Some(quantity) => bytes(quantity),
            None => Some(0),
        };
        self.kube.is_some().then_some(())?;
        Some(memory(&self.kube)? + memory(&self.system).unwrap_or(0))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Threshold {
    signal: String,
    value: Amount,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Amount {
    quantity: Option<String>,
    percentage: f64,
}

/// A step for each threshold of memory; one without any where there is none, so that what an earlier start reported counts no
/// more. `None` where it is another message, or one that was cut.
pub(super) fn read(message: &Message<'_>) -> Option<Vec<Eviction>> {
    let sentence = message.text.strip_prefix(MESSAGE)?;
    let config = message.key("nodeConfig");
    let (thresholds, reserved) = if let Some(config) = config.as_ref().and_then(Value::parsed::<NodeConfig>) {
        let reserved = config.reserved();
        (config.thresholds.unwrap_or_default(), reserved)
    } else {
        let text = config.as_ref().and_then(Value::text);
        let text = text.as_deref().unwrap_or(sentence);
        (printed(text)?, printed_reserved(text))
    };
    let mut steps: Vec<_> = thresholds.iter().map(Threshold::step).filter(|step| step.memory == Some(true)).collect();
    if steps.is_empty() {
        steps.push(about(Some("memory".to_owned()), None, EvictionPhase::Configured));
    }
    for step in &mut steps {
        step.reserved_bytes = reserved;
    }
    Some(steps)
}

impl Threshold {
    fn step(&self) -> Eviction {
        Eviction {
            threshold_bytes: self.value.quantity.as_deref().and_then(bytes),
            threshold_ratio: Some(self.value.percentage).filter(|ratio| *ratio > 0.0),
            ..about(None, Some(self.signal.clone()), EvictionPhase::Configured)
        }
    }
}

/// What Go prints: a list whose elements have no brackets but braces in them.
fn printed(config: &str) -> Option<Vec<Threshold>> {
    let (list, _) = config.split_once("HardEvictionThresholds:[")?.1.split_once(']')?;
    list.split("{Signal:")
        .skip(1)
        .map(|threshold| {
            let field = |name: &str| {
                let value = threshold.split_once(name)?.1;
                value.split([' ', '}']).next()
            };
            let signal = threshold.split(' ').next()?.to_owned();
            let value = Amount {
                quantity: field("{Quantity:").map(str::to_owned),
                percentage: field(" Percentage:")?.parse().ok()?,
            };
            Some(Threshold { signal, value })
        })
        .collect()
}

/// `KubeReserved:map[] SystemReserved:map[cpu:{i:…} memory:{i:{value:104857600 scale:0} d:{Dec:<nil>} s:100Mi Format:BinarySI}]`:
/// Go prints a quantity with its fields, from which the value is read where its scale is 0. Where one is there that cannot be
/// read, nothing is known.
fn printed_reserved(config: &str) -> Option<u64> {
    let of = |name: &str| {
        let (_, map) = config.split_once(name)?.1.split_once("map[")?;
        let map =
            &map[..map.find(" SystemReserved:").or_else(|| map.find("HardEvictionThresholds")).unwrap_or(map.len())];
        let Some((_, memory)) = map.split_once("memory:") else { return Some(0) };
        let (value, rest) = memory.split_once("value:")?.1.split_once(' ')?;
        rest.starts_with("scale:0").then(|| value.parse().ok())?
    };
    Some(of("KubeReserved:")? + of("SystemReserved:")?)
}
