//! Closing the port without turning anybody away who was already let in.
//!
//! Connections that nobody has accepted yet are reset when their listener is closed. So new ones are held off first:
//! their first packet is dropped, and sent again a second later, when the port is closed and the peer is told so. Those
//! before them are accepted, and then it is closed.

use std::{net::TcpListener, time::Duration};

use actix_web::dev::ServerHandle;
use socket2::SockRef;

/// How long those that came before may take to be accepted.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often to look whether they are.
const LOOK: Duration = Duration::from_millis(20);

/// Closes the port; whoever asks for it then is refused at once. What is connected stays.
pub(crate) async fn close(listener: &TcpListener, server: &ServerHandle) {
    hold_off(listener);
    let accepting = async {
        // Once more than it takes: what was accepted is then on its way to who serves it.
        for _ in 0..3 {
            tokio::time::sleep(LOOK).await;
            while waiting(listener).is_some_and(|waiting| waiting > 0) {
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    _ = tokio::time::timeout(PATIENCE, accepting).await;
    server.pause().await;
    // Where a listener cannot be shut down it only stays unanswered until the end.
    if let Err(error) = SockRef::from(listener).shutdown(std::net::Shutdown::Both) {
        tracing::debug!(%error, "the port is closed with the process");
    }
}

/// Drops packets that would begin a connection.
#[cfg(target_os = "linux")]
fn hold_off(listener: &TcpListener) {
    use socket2::SockFilter;
    // The byte of the TCP header that holds its flags; SYN without ACK is dropped, the rest is let through.
    let filter = [
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x45, 0, 2, 0x02),
        SockFilter::new(0x45, 1, 0, 0x10),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    if let Err(error) = SockRef::from(listener).attach_filter(&filter) {
        tracing::debug!(%error, "new connections cannot be held off");
    }
}

#[cfg(not(target_os = "linux"))]
fn hold_off(_: &TcpListener) {}

/// How many connections nobody has accepted yet, if the system tells.
fn waiting(listener: &TcpListener) -> Option<u64> {
    let address = listener.local_addr().ok()?;
    let table = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    waiting_in(&std::fs::read_to_string(table).ok()?, address.port())
}

fn waiting_in(table: &str, port: u16) -> Option<u64> {
    let port = format!(":{port:04X}");
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, _, state, queues) = (words.next()?, words.next()?, words.next()?, words.next()?);
        // A listener's receive queue counts connections.
        let waiting = queues.split_once(':')?.1;
        (local.ends_with(&port) && state == "0A").then(|| u64::from_str_radix(waiting, 16).ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_wait_are_counted() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
            0: 0100007F:1388 0100007F:C350 01 00000000:00000005 00:00000000 0 0 0 1\n   \
            1: 0100007F:1388 00000000:0000 0A 00000000:00000011 00:00000000 0 0 0 1\n";
        assert_eq!((waiting_in(table, 5000), waiting_in(table, 5001)), (Some(17), None));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_was_there_before_the_port_is_closed_is_served_and_who_comes_while_it_closes_is_not_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let before = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(waiting(&listener), Some(1));
        hold_off(&listener);
        let after = std::thread::spawn(move || std::net::TcpStream::connect(address));
        // The one from before is complete and can be accepted.
        listener.accept().unwrap();
        SockRef::from(&listener).shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(after.join().unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        drop(before);
    }
}
