//! Who listens on a port of this machine.
//!
//! The kubelet's read-only port is not privileged, and closed as a rule: any process on the node, a pod's with the host's network
//! among them, may listen there and answer with pods of its own making.

use std::fs;

/// `TCP_LISTEN`, `include/net/tcp_states.h`.
const LISTEN: &str = "0A";

/// The user, other than root, that listens on a port of 127.0.0.1; `None` where nobody but root does, or nobody at all.
pub(super) fn other_than_root(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| listeners(table, port)).find(|uid| *uid != 0)
}

/// The users that listen on a port, whatever the address: `get_tcp4_sock`, `net/ipv4/tcp_ipv4.c`.
fn listeners(table: &str, port: u16) -> impl Iterator<Item = u32> {
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, _, state, _, _, _, uid, ..] = fields[..] else { return None };
        let (_, local) = local.rsplit_once(':')?;
        (state == LISTEN && u16::from_str_radix(local, 16) == Ok(port)).then(|| uid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port_with_its_user() {
        // As on a node where a pod's program took the port.
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     \u{20}  0: 0100007F:280F 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0\n\
                     \u{20}  1: 00000000:280A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n\
                     \u{20}  2: 0100007F:280F 0100007F:9A3C 01 00000000:00000000 00:00000000 00000000    33        0 4713 1 0 20 4 30 10 -1\n";
        assert_eq!(listeners(table, 10255).collect::<Vec<_>>(), [1000], "an open connection is no listener");
        assert_eq!(listeners(table, 10250).collect::<Vec<_>>(), [0]);
        assert_eq!(listeners("", 10250).count(), 0);
    }
}
