//! Where to listen.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Where to listen: `127.0.0.1:9477`, `[::1]:9477`, `localhost:9477`, or `:9477` for every address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Vec<SocketAddr>);

impl Address {
    /// Those to try, in this order.
    pub(crate) fn all(&self) -> &[SocketAddr] {
        &self.0
    }

    /// The same where the port alone, or the address alone, is enough: the port on this machine's own address, or this port.
    pub(crate) fn or_loopback(text: &str, port: u16) -> Result<Self, String> {
        if let Ok(port) = text.parse::<u16>() {
            return Ok(Self(vec![(Ipv4Addr::LOCALHOST, port).into()]));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(vec![(address, port).into()]));
        }
        let wrong = |_| {
            format!(
                "it has to be a PORT, ADDRESS:PORT, such as 127.0.0.1:{port}, or :{port} for every address of this machine"
            )
        };
        text.parse().map_err(|error: String| wrong(error))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self(vec![address]));
        }
        let port = |prefix: &str| text.strip_prefix(prefix)?.parse::<u16>().ok();
        if let Some(port) = port("localhost:") {
            return Ok(Self(vec![(Ipv4Addr::LOCALHOST, port).into()]));
        }
        let port = port(":").ok_or("it has to be ADDRESS:PORT, such as 127.0.0.1:9477, or :9477 for every address")?;
        // Listening on IPv6's takes connections over IPv4 as well; a node may have no IPv6.
        Ok(Self(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.first().map_or(Ok(()), |address| address.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_this_machines_own() {
        let parsed = |text| Address::or_loopback(text, 9478).map(|address| address.to_string());
        for (text, expected) in [
            ("9000", "127.0.0.1:9000"),
            ("127.0.0.1", "127.0.0.1:9478"),
            ("::1", "[::1]:9478"),
            ("localhost:9000", "127.0.0.1:9000"),
            ("10.0.0.1:9000", "10.0.0.1:9000"),
            (":9000", "[::]:9000"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(expected), "{text}");
        }
        for wrong in ["", "run", "70000", "example.com:80", "127.0.0.1:"] {
            assert!(parsed(wrong).is_err_and(|error| error.contains("127.0.0.1:9478")), "{wrong}");
        }
    }
}
