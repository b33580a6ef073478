//! Where a webhook may go. Shops name the addresses, and this server stands where they do not: so nothing is sent to
//! what only this server can reach. A name is looked up by us, each address that it has is judged, and the connection
//! goes to an address that was judged, so that a name that means something else a moment later is of no use.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use shared::config::Config;

/// A longer address is a mistake.
const LONGEST_URL: usize = 2_000;
/// So long a name may take to be looked up.
const LOOK_UP: Duration = Duration::from_secs(4);

/// Ports behind which something else listens than an HTTP server that wants to be called. Below 1024 only 443 is open
/// anyway, and 80 where http is.
const OTHER_SERVICES: [u16; 23] = [
    1080, 1433, 1521, 2049, 2375, 2376, 2379, 2380, 3128, 3306, 3389, 4369, 5432, 5672, 5900, 5984, 6379,
    6443, 6667, 9042, 10250, 11211, 27017,
];

/// How far webhooks may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The public Internet, over https.
    Public,
    /// And this very machine, over http as well: in development.
    Loopback,
    /// Whatever can be sent to.
    Everywhere,
}

impl Reach {
    pub(super) fn of(config: &Config) -> Self {
        match (config.webhook_allow_private, config.is_production()) {
            (true, _) => Self::Everywhere,
            (false, true) => Self::Public,
            (false, false) => Self::Loopback,
        }
    }

    /// Whether a connection over this scheme may go to this address.
    pub(super) fn allows(self, scheme: Scheme, address: IpAddr) -> bool {
        let address = unwrapped(address);
        match self {
            Self::Everywhere => !is_nowhere(address),
            Self::Loopback if address.is_loopback() => true,
            Self::Public | Self::Loopback => scheme == Scheme::Https && is_public(address),
        }
    }

    /// In words.
    const fn wanted(self) -> &'static str {
        match self {
            Self::Public => "must be an https:// address on the public Internet",
            Self::Loopback => "must be an https:// address on the public Internet, or one on this machine",
            Self::Everywhere => "must be an http:// or https:// address of a single machine",
        }
    }
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// Reads an address and judges what can be judged without looking a name up. `Err` says, as the end of a sentence, why
/// it cannot be used.
pub(super) fn parse(text: &str, reach: Reach) -> Result<(Url, Scheme), &'static str> {
    let text = text.trim();
    if text.len() > LONGEST_URL || text.chars().any(char::is_control) {
        return Err("must be an address of at most 2000 characters");
    }
    // As browsers read it: the many spellings of an IPv4 address come out as one.
    let url = Url::parse(text).or(Err(reach.wanted()))?;
    let scheme = match url.scheme() {
        "https" => Scheme::Https,
        "http" if reach != Reach::Public => Scheme::Http,
        _ => return Err(reach.wanted()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a name or a password");
    }
    if url.fragment().is_some() {
        return Err("must not contain a #");
    }
    let port = url.port_or_known_default().unwrap_or_default();
    let usual = if scheme == Scheme::Https { 443 } else { 80 };
    if port != usual && (port < 1024 || OTHER_SERVICES.contains(&port)) {
        return Err("must not have a port that belongs to another service");
    }
    match literal(&url) {
        Some(address) if !reach.allows(scheme, address) => Err(reach.wanted()),
        _ if url.host_str().is_none_or(str::is_empty) => Err(reach.wanted()),
        _ => Ok((url, scheme)),
    }
}

/// The address, where the host is one and no name.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The IPv4 address that an IPv6 one stands for, where it does; it is what is reached in the end.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, high, low] = v6.segments();
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        // Mapped, translated (SIIT), and NAT64 by its well-known prefix.
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => embedded(high, low),
        // 6to4.
        [0x2002, high, low, ..] => embedded(high, low),
        // ISATAP: the last half says whose it is.
        [.., 0x0000 | 0x0200, 0x5efe] if is_global_v6(v6) => embedded(high, low),
        _ => address,
    }
}

/// No single machine has it.
fn is_nowhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, ..] = v4.octets();
            a == 0 || a >= 224
        }
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    }
}

/// Whether everybody reaches the same machine under it.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !is_nowhere(address) && !is_reserved_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

fn is_reserved_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        // Private; loopback; link-local, where clouds tell machines their secrets.
        [10 | 127, ..] | [192, 168, ..] | [169, 254, ..] => true,
        [172, b, ..] => (16..32).contains(&b),
        // Behind a provider's translation.
        [100, b, ..] => (64..128).contains(&b),
        // Protocols', documentation's, and the relays of 6to4.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        // Benchmarks'.
        [198, 18 | 19, ..] => true,
        _ => false,
    }
}

/// What is given out for everybody is in 2000::/3; what is not in there is local, or nobody's yet.
fn is_global_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    match (a, b) {
        // Protocols' own, such as Teredo, which wraps IPv4; documentation's; 6to4, which is unwrapped before.
        (0x2001, 0..=0x01ff) | (0x2001, 0x0db8) | (0x2002, _) => false,
        (0x3fff, b) if b < 0x1000 => false,
        _ => (0x2000..0x4000).contains(&a),
    }
}

/// Looks names up.
pub(super) trait Names: Send + Sync {
    /// All addresses of a name.
    fn addresses(&self, host: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
}

/// As the system does it.
pub(super) struct System;

impl Names for System {
    fn addresses(&self, host: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// The address may not be sent to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the address is not one that webhooks may be sent to")]
pub(super) struct NotAllowed;

/// Looks names up for connections, and gives out no address that may not be sent to.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) names: Arc<dyn Names>,
    pub(super) reach: Reach,
    pub(super) scheme: Scheme,
}

impl Guarded {
    /// The addresses of a name. One that may not be sent to spoils them all: nobody has a reason to mix them.
    pub(super) async fn look_up(
        &self,
        host: &str,
    ) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found = tokio::time::timeout(LOOK_UP, self.names.addresses(host)).await;
        let found = found.or(Err(io::Error::from(io::ErrorKind::TimedOut)))??;
        if found.is_empty() {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        if found.iter().any(|address| !self.reach.allows(self.scheme, *address)) {
            return Err(NotAllowed.into());
        }
        Ok(found)
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guarded = self.clone();
        Box::pin(async move {
            let found = guarded.look_up(name.as_str()).await?;
            // The port is the address's own.
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            let addresses: Addrs = Box::new(addresses);
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(reach: Reach, text: &str) -> bool {
        parse(text, reach).is_ok()
    }

    #[test]
    fn only_what_everybody_reaches_is_public() {
        for (address, public) in [
            ("1.1.1.1", true),
            ("93.184.216.34", true),
            ("172.15.0.1", true),
            ("172.32.0.1", true),
            ("100.63.0.1", true),
            ("100.128.0.1", true),
            ("198.17.0.1", true),
            ("223.255.255.1", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("2a00:1450:4001::200e", true),
            ("::", false),
            ("::1", false),
            ("::127.0.0.1", false),
            ("::ffff:1.1.1.1", true),
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:0:10.0.0.1", false),
            ("64:ff9b::1.1.1.1", true),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b:1::1.1.1.1", false),
            ("2002:0101:0101::1", true),
            ("2002:7f00:0001::1", false),
            ("2002:c0a8:0101::1", false),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", false),
            ("2001:db8::1", false),
            ("2001:10::1", false),
            ("3fff:fff::1", false),
            ("100::1", false),
            ("fc00::1", false),
            ("fd12:3456::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("2606:4700::5efe:10.0.0.1", false),
            ("2606:4700::200:5efe:192.168.0.1", false),
            ("fe80::5efe:1.1.1.1", false),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(Reach::Public.allows(Scheme::Https, parsed), public, "{address}");
            assert!(!Reach::Public.allows(Scheme::Http, parsed), "{address} over http");
        }
    }

    #[test]
    fn an_address_is_judged_however_it_is_spelt() {
        for bad in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://017700000001/",
            "https://127.0.0.1./",
            "https://%31%32%37.0.0.1/",
            "https://１２７.0.0.1/",
            "https://127。0。0。1/",
            "https://[::1]/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[fe80::1]/",
            "https://0/",
            "https://0.0.0.0/",
            "https://[::]/",
            "https://10.0.0.1/",
            "https://192.168.0.1:8443/",
            "https://169.254.169.254/latest/meta-data",
            "http://93.184.216.34/",
            "http://example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "javascript:alert(1)",
            "https://",
            "https:///",
            "//example.com/",
            "example.com",
            "",
            "https://user@example.com/",
            "https://user:word@example.com/",
            "https://127.0.0.1@example.com/",
            "https://example.com/#part",
            "https://example.com:22/",
            "https://example.com:25/",
            "https://example.com:80/",
            "https://example.com:0/",
            "https://example.com:6379/",
            "https://example.com:27017/",
            "https://exa mple.com/",
            "https://[fe80::1%25eth0]/",
        ] {
            assert!(!judge(Reach::Public, bad), "{bad}");
        }
        assert!(!judge(Reach::Public, &format!("https://example.com/{}", "x".repeat(2_000))));
        for good in [
            "https://example.com",
            "https://example.com/souk?shop=1",
            "https://example.com:443/",
            "https://example.com:8443/hook",
            " https://bücher.example/ ",
            "https://93.184.216.34/",
            "https://[2606:4700::1111]/",
        ] {
            assert!(judge(Reach::Public, good), "{good}");
        }
    }

    #[test]
    fn development_reaches_this_machine_too_and_a_closed_network_everything() {
        for (url, loopback, everywhere) in [
            ("http://127.0.0.1:8000/", true, true),
            ("http://[::1]:8000/", true, true),
            ("http://127.0.0.1/", true, true),
            ("https://127.0.0.1:8000/", true, true),
            ("http://10.0.0.1:8000/", false, true),
            ("https://10.0.0.1/", false, true),
            ("http://169.254.169.254/", false, true),
            ("http://93.184.216.34/", false, true),
            ("http://0.0.0.0:8000/", false, false),
            ("http://224.0.0.1:8000/", false, false),
            ("http://[ff02::1]:8000/", false, false),
            ("http://127.0.0.1:27017/", false, false),
            ("ftp://127.0.0.1:8000/", false, false),
        ] {
            assert_eq!(judge(Reach::Loopback, url), loopback, "{url} in development");
            assert_eq!(judge(Reach::Everywhere, url), everywhere, "{url} in a closed network");
        }
    }
}
