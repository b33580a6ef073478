//! How a call arrived, and what follows for trusting it: the same rules for a request and for a
//! socket's handshake.

use std::net::IpAddr;

use crate::config::{AuthMode, Config};

/// Headers that a proxy adds. With one of them the peer is not the caller.
pub const FORWARDING_HEADERS: [&str; 5] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

/// What a call says about where it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival<'a> {
    /// The `Host` that it was sent to.
    pub host: Option<&'a str>,
    /// The `Origin` that a browser named. One that is not text counts as a foreign one: pass `""`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`: what a browser says about the page that asks. Older ones and programs say nothing.
    pub fetch_site: Option<&'a str>,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    /// It carries one of the [`FORWARDING_HEADERS`].
    pub forwarded: bool,
}

impl Arrival<'_> {
    /// Whether the `Host` that the caller used is a name of ours. A page elsewhere that has its own
    /// name pointed at this machine (DNS rebinding) cannot pretend that.
    pub fn host_is_ours(&self, config: &Config) -> bool {
        let host = host_of(self.host.unwrap_or_default()).to_ascii_lowercase();
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
            || host == host_of(authority(&config.public_url))
            || config.client_origins.iter().any(|origin| host == host_of(authority(origin)))
    }

    /// Whether it comes from no page at all, or from one that may act here.
    pub fn origin_is_welcome(&self, config: &Config) -> bool {
        let Some(origin) = self.origin else { return true };
        // Or the page came from this very address, and the address is a name of ours.
        origin_is_listed(origin, config)
            || (self.host.is_some_and(|host| host == authority(origin)) && self.host_is_ours(config))
    }

    /// Whether a page of somebody else's has the visitor's browser ask. Such a call is nobody's: cookies came along, but
    /// the visitor did not ask. Frames, pictures, scripts and links name no origin, hence the second rule.
    pub fn is_of_a_foreign_page(&self, config: &Config) -> bool {
        match self.origin {
            Some(_) => !self.origin_is_welcome(config),
            None => matches!(self.fetch_site, Some("cross-site" | "same-site")),
        }
    }

    /// Whether measurements are told where everybody asks: to this machine alone, and in production to nobody, since
    /// a proxy may hide that it is one. There they have a port of their own.
    pub fn may_see_metrics(&self, config: &Config) -> bool {
        let local = self.peer.is_some_and(|peer| peer.to_canonical().is_loopback());
        !config.is_production() && local && !self.forwarded
    }

    /// Whether it is accepted without a credential where the client sends none.
    pub fn bare_is_accepted(&self, config: &Config) -> bool {
        match config.auth_mode {
            AuthMode::Strict => false,
            AuthMode::Compat => {
                let ours = self.host_is_ours(config);
                if ours {
                    metrics::counter!("bare_calls_total").increment(1);
                }
                ours
            }
            AuthMode::Auto => {
                let local = self.peer.is_some_and(|peer| peer.to_canonical().is_loopback());
                !config.is_production() && local && !self.forwarded && self.host_is_ours(config)
            }
        }
    }
}

/// The address of whoever called: the peer, or what trusted proxies say of it. None where that tells
/// nothing of the caller: a proxy that names nobody, or one on this machine that is not listed as
/// trusted and would otherwise be everybody.
pub fn caller<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    config: &Config,
) -> Option<IpAddr> {
    let trusted = |address: IpAddr| config.trusted_proxies.iter().any(|network| network.contains(address));
    if !trusted(peer) {
        return Some(peer.to_canonical()).filter(|peer| !peer.is_loopback());
    }
    // The last entry was added by the proxy that we see; what comes before one that is not trusted
    // may be invented.
    forwarded_for
        .flat_map(|line| line.split(','))
        .rev()
        .map_while(|entry| entry.trim().parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .find(|address| !trusted(*address))
}

/// Whoever has one address of IPv6 has the 2^64 of that network.
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

/// Whether an origin may read answers and, with cookies, make changes.
pub fn origin_is_listed(origin: &str, config: &Config) -> bool {
    config.client_origins.iter().any(|listed| listed == origin) || origin_of(&config.public_url) == origin
}

/// Scheme and authority of an address.
fn origin_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |i| i + 3);
    let end = url.get(start..).and_then(|rest| rest.find('/')).map_or(url.len(), |i| start + i);
    url.get(..end).unwrap_or(url)
}

/// The `host[:port]` part of an origin.
fn authority(origin: &str) -> &str {
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(authority, _)| authority)
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // `[::1]` has colons of its own.
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        Config::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())).unwrap()
    }

    #[test]
    fn only_names_of_ours_are_ours() {
        let config =
            config(&[("PUBLIC_URL", "https://shop.example/base"), ("CLIENT_URL", "https://app.example")]);
        for (host, ours) in [
            ("localhost:5000", true),
            ("127.0.0.1", true),
            ("[::1]:5000", true),
            ("[::ffff:127.0.0.1]", true),
            ("shop.example", true),
            ("APP.example:443", true),
            ("evil.example", false),
            ("", false),
        ] {
            assert_eq!(
                Arrival { host: Some(host), ..Arrival::default() }.host_is_ours(&config),
                ours,
                "{host}"
            );
        }
    }

    #[test]
    fn bare_calls_come_from_this_machine_without_a_proxy() {
        let config = config(&[]);
        let local = Arrival {
            host: Some("localhost:4000"),
            origin: None,
            fetch_site: None,
            peer: Some("::ffff:127.0.0.1".parse().unwrap()),
            forwarded: false,
        };
        assert!(local.bare_is_accepted(&config));
        assert!(!Arrival { forwarded: true, ..local }.bare_is_accepted(&config));
        assert!(!Arrival { host: Some("evil.example"), ..local }.bare_is_accepted(&config));
        assert!(!Arrival { peer: Some("10.0.0.1".parse().unwrap()), ..local }.bare_is_accepted(&config));
    }

    #[test]
    fn the_caller_is_the_last_one_that_no_trusted_proxy_made_up() {
        let behind = config(&[("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")]);
        let bare = config(&[]);
        for (config, peer, forwarded, expected) in [
            (&bare, "192.0.2.1", &["198.51.100.7"][..], Some("192.0.2.1")),
            (&bare, "127.0.0.1", &["198.51.100.7"], None),
            (&bare, "::ffff:127.0.0.1", &[], None),
            (&behind, "127.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
            (&behind, "127.0.0.1", &["203.0.113.9, 198.51.100.7, 10.1.1.1"], Some("198.51.100.7")),
            (&behind, "127.0.0.1", &["203.0.113.9", "198.51.100.7"], Some("198.51.100.7")),
            (&behind, "127.0.0.1", &[], None),
            (&behind, "127.0.0.1", &["203.0.113.9, nonsense"], None),
            (&behind, "192.0.2.1", &["198.51.100.7"], Some("192.0.2.1")),
        ] {
            let found = caller(peer.parse().unwrap(), forwarded.iter().copied(), config);
            assert_eq!(found.map(|address| address.to_string()).as_deref(), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn pages_of_others_are_foreign() {
        let config = config(&[("CLIENT_URL", "http://localhost:5173")]);
        let from = |origin| Arrival { host: Some("localhost:4000"), origin, ..Arrival::default() };
        for (origin, welcome) in [
            (None, true),
            (Some("http://localhost:5173"), true),
            (Some("http://localhost:4000"), true),
            (Some("http://localhost:5000"), true),
            (Some("http://evil.example"), false),
            (Some("null"), false),
            (Some(""), false),
        ] {
            assert_eq!(from(origin).origin_is_welcome(&config), welcome, "{origin:?}");
        }
        let by = |origin, fetch_site| Arrival { fetch_site, ..from(origin) };
        for (origin, site, foreign) in [
            (None, None, false),
            (None, Some("none"), false),
            (None, Some("same-origin"), false),
            (None, Some("same-site"), true),
            (None, Some("cross-site"), true),
            (Some("http://localhost:5173"), Some("same-site"), false),
            (Some("http://evil.example"), None, true),
            (Some("null"), Some("same-origin"), true),
        ] {
            assert_eq!(by(origin, site).is_of_a_foreign_page(&config), foreign, "{origin:?} {site:?}");
        }
    }
}
