//! The address that a request counts for.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, Ordering},
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::HeaderMap, web};
use shared::{
    arrival::{FORWARDING_HEADERS, caller, household},
    config::Config,
};
use tracing::warn;

use crate::{error::Error, state::App};

/// The client's address as `TRUSTED_PROXIES` lets us know it, of IPv6 its network of 64 bits. What nobody who is
/// trusted says of it counts for nothing: the peer's it is then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(super) IpAddr);

impl ClientAddress {
    pub(crate) fn of(peer: Option<IpAddr>, headers: &HeaderMap, config: &Config) -> Self {
        // There is always one over TCP.
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let forwarded = headers.get_all("x-forwarded-for").filter_map(|line| line.to_str().ok());
        let forwarded: Vec<&str> = forwarded.collect();
        if !config.trusted_proxies.iter().any(|network| network.contains(peer)) {
            warn_of_proxy(peer, headers);
        }
        Self(household(caller(peer, forwarded.into_iter(), config).unwrap_or(peer)))
    }

    /// The address behind a request that has come to a handler.
    pub(crate) fn behind(request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr().map(|peer| peer.ip());
        let app = request.app_data::<web::Data<App>>();
        app.map(|app| Self::of(peer, request.headers(), &app.config).0).or(peer)
    }
}

/// Somebody in front of us that is not listed makes one address of everybody.
fn warn_of_proxy(peer: IpAddr, headers: &HeaderMap) {
    static SAID: AtomicBool = AtomicBool::new(false);
    let forwards = FORWARDING_HEADERS.iter().any(|name| headers.contains_key(*name));
    if forwards && !SAID.swap(true, Ordering::Relaxed) {
        warn!(
            %peer,
            "a request came with forwarding headers from a peer that TRUSTED_PROXIES does not list. If that is a proxy \
             of yours, list it: until then everybody behind it counts as one address"
        );
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromRequest for ClientAddress {
    type Error = Error;
    type Future = std::future::Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let peer = request.peer_addr().map(|peer| peer.ip());
        let app = request.app_data::<web::Data<App>>();
        let app = app.ok_or_else(|| Error::Unexpected(anyhow::anyhow!("the server has no state")));
        std::future::ready(app.map(|app| Self::of(peer, request.headers(), &app.config)))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn an_address_is_what_trusted_proxies_say_and_a_network_where_it_is_ipv6() {
        let behind = Config::read(|name| {
            (name == "TRUSTED_PROXIES").then(|| "127.0.0.1, 2001:db8:ffff::/48".to_owned())
        })
        .unwrap();
        for (peer, forwarded, expected) in [
            ("192.0.2.1", None, "192.0.2.1"),
            ("::ffff:192.0.2.1", None, "192.0.2.1"),
            ("192.0.2.1", Some("198.51.100.7"), "192.0.2.1"),
            ("127.0.0.1", Some("198.51.100.7"), "198.51.100.7"),
            ("127.0.0.1", Some("203.0.113.9, ::ffff:198.51.100.7"), "198.51.100.7"),
            ("127.0.0.1", Some("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::"),
            ("2001:db8:ffff::1", Some("2001:db8:1:2:aaaa::1"), "2001:db8:1:2::"),
            // A proxy that names nobody is itself the one.
            ("127.0.0.1", None, "127.0.0.1"),
            ("127.0.0.1", Some("nonsense"), "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(forwarded) = forwarded {
                let name = HeaderName::from_static("x-forwarded-for");
                headers.insert(name, HeaderValue::from_str(forwarded).unwrap());
            }
            let address = ClientAddress::of(peer.parse().ok(), &headers, &behind);
            assert_eq!(address.to_string(), expected, "{peer} {forwarded:?}");
        }
    }
}
