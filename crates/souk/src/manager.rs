//! What the service manager is told (`Type=notify` of a systemd unit): ready, stopping.

use std::os::{
    linux::net::SocketAddrExt as _,
    unix::net::{SocketAddr, UnixDatagram},
};

use shared::config::Config;

/// Tells it, where there is one.
pub(crate) fn tell(state: &str) {
    let Some(socket) = Config::notify_socket() else { return };
    let told = (|| {
        let address = match socket.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&socket)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
    })();
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager cannot be told {state}");
    }
}
