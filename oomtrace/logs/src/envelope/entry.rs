//! An entry of the journal, whichever way it was printed: `journalctl -o json` or `-o export` (systemd.journal-fields(7)).

use jiff::Timestamp;
use serde::Deserialize;

use super::{field::Value, when::Wall};

/// An entry as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// What was logged; it need not be text. `None` where it was not printed.
    pub(crate) message: Option<Vec<u8>>,
    /// Who wrote it, by its own word.
    pub(crate) identifier: Option<String>,
    /// The name of the process that wrote it.
    pub(crate) comm: Option<String>,
    /// The process that wrote it, by journald's knowledge.
    pub(crate) pid: Option<u32>,
    /// When journald took it, microseconds since 1970.
    pub(crate) micros: Option<i64>,
    /// Microseconds since boot by the writer's stamp: the kernel's own.
    pub(crate) monotonic: Option<u64>,
    /// How journald got it.
    pub(crate) transport: Option<String>,
    /// syslog's facility, of what came by syslog or from the kernel.
    pub(crate) facility: Option<String>,
    /// The machine.
    pub(crate) hostname: Option<String>,
}

/// The fields in JSON.
#[derive(Deserialize)]
struct Json {
    #[serde(rename = "MESSAGE")]
    message: Option<Value>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<Value>,
    #[serde(rename = "_COMM")]
    comm: Option<Value>,
    #[serde(rename = "_PID")]
    pid: Option<Value>,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    realtime: Option<Value>,
    #[serde(rename = "_SOURCE_MONOTONIC_TIMESTAMP")]
    monotonic: Option<Value>,
    #[serde(rename = "_TRANSPORT")]
    transport: Option<Value>,
    #[serde(rename = "SYSLOG_FACILITY")]
    facility: Option<Value>,
    #[serde(rename = "_HOSTNAME")]
    hostname: Option<Value>,
}

impl Entry {
    /// Reads an entry that is an object in JSON.
    pub(crate) fn of_json(text: &str) -> serde_json::Result<Self> {
        let Json { message, identifier, comm, pid, realtime, monotonic, transport, facility, hostname } =
            serde_json::from_str(text)?;
        Ok(Self {
            message: message.and_then(Value::into_bytes),
            identifier: identifier.and_then(Value::into_text),
            comm: comm.and_then(Value::into_text),
            pid: pid.and_then(Value::number),
            micros: realtime.and_then(Value::number),
            monotonic: monotonic.and_then(Value::number),
            transport: transport.and_then(Value::into_text),
            facility: facility.and_then(Value::into_text),
            hostname: hostname.and_then(Value::into_text),
        })
    }

    /// When journald took it.
    pub(crate) fn kept(&self) -> Option<Wall> {
        self.micros.and_then(|micros| Timestamp::from_microsecond(micros).ok()).map(Wall::Absolute)
    }

    /// Nanoseconds since boot by the writer's stamp.
    pub(crate) fn boot_ns(&self) -> Option<u64> {
        self.monotonic?.checked_mul(1000)
    }

    /// Whether the kernel logged it: journald sets the transport, a process the identifier.
    pub(crate) fn is_of_kernel(&self) -> bool {
        match self.transport.as_deref() {
            Some(transport) => transport == "kernel" && self.facility.as_deref().is_none_or(|facility| facility == "0"),
            None => self.identifier.as_deref() == Some("kernel"),
        }
    }
}
