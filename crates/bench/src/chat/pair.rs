//! Two who talk: one says something, the other hears it and answers, and so on.

use std::{sync::Arc, time::Duration};

use anyhow::{bail, ensure};
use serde_json::json;
use tokio::{sync::watch, time::Instant};

use super::socket::{Packet, Person, Place, Socket, text};
use crate::{load::Period, stats::Tally};

/// A message that is not there after this time is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// One of the two.
pub(crate) struct Side {
    pub(crate) person: Person,
    pub(crate) socket: Socket,
    /// How long it took to be let in.
    pub(crate) opened_in: Duration,
}

impl Side {
    /// Connects, and announces itself as the existing client does.
    pub(crate) async fn open(address: &str, person: Person) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut socket = Socket::open(address, &person, Place::default()).await?;
        let opened_in = begun.elapsed();
        socket.send(&announcement(&person)).await?;
        Ok(Self { person, socket, opened_in })
    }

    pub(crate) async fn say(&mut self, receiver: &str, number: u32, receipt: bool) -> anyhow::Result<()> {
        let packet = saying(&self.person.id, receiver, number, receipt);
        self.socket.send(&packet).await
    }
}

/// What the existing client sends when an inbox is opened.
pub(crate) fn announcement(person: &Person) -> String {
    format!(r#"42["addUser","{}"]"#, person.id)
}

/// `sendMessage`, with the message's number in its text, and asking for a receipt of that number or not.
pub(crate) fn saying(sender: &str, receiver: &str, number: u32, receipt: bool) -> String {
    let text = format!("Is it still to be had, and in blue? I ask for the #{number}# time");
    let said = json!(["sendMessage", { "senderId": sender, "receiverId": receiver, "text": text }]);
    if receipt { format!("42{number}{said}") } else { format!("42{said}") }
}

/// Which message of its sender it is.
pub(crate) fn number(message: &[u8]) -> Option<u32> {
    let mut parts = message.split(|byte| *byte == b'#');
    std::str::from_utf8(parts.nth(1)?).ok()?.parse().ok()
}

/// Which message a receipt is for, and whether it was stored.
pub(crate) fn receipt(packet: &[u8]) -> Option<(u32, bool)> {
    let rest = packet.strip_prefix(b"43")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, answer) = rest.split_at_checked(digits)?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((number, answer.windows(14).any(|part| part == br#""success":true"#)))
}

/// Two connected sides.
pub(crate) struct Pair {
    pub(crate) one: Side,
    pub(crate) other: Side,
    said: u32,
}

/// What a pair has measured, and the pair again.
pub(crate) struct Talked {
    pub(crate) pair: Pair,
    /// From the sender to the receiver.
    pub(crate) heard: Tally,
    /// From the sender to its receipt.
    pub(crate) stored: Tally,
    /// Messages that came when none was expected.
    pub(crate) stray: u64,
    /// A connection was lost, or a message refused.
    pub(crate) broken: bool,
}

impl Pair {
    pub(crate) async fn open(addresses: [&str; 2], persons: [Person; 2]) -> anyhow::Result<Self> {
        let [one, other] = persons;
        let (one, other) = tokio::try_join!(Side::open(addresses[0], one), Side::open(addresses[1], other))?;
        Ok(Self { one, other, said: 0 })
    }

    /// Reads whatever comes, until told to stop.
    pub(crate) async fn idle(&mut self, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let stopped = async { stop.wait_for(|stop| *stop).await.is_ok() };
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                _ = &mut stopped => return Ok(()),
                packet = self.one.socket.packet() => packet?,
                packet = self.other.socket.packet() => packet?,
            };
        }
    }

    /// Talks until the time is over.
    pub(crate) async fn talk(self, period: Period, receipts: bool) -> Talked {
        let mut talked =
            Talked { pair: self, heard: Tally::default(), stored: Tally::default(), stray: 0, broken: false };
        loop {
            let begun = Instant::now();
            if begun >= period.until {
                return talked;
            }
            let exchange = talked.pair.exchange(begun, receipts, &mut talked.stray);
            let exchanged = tokio::time::timeout(LOST_AFTER, exchange).await;
            let counts = begun >= period.counted_from;
            match exchanged {
                Ok(Ok((heard, stored))) if counts => {
                    talked.heard.done(heard, 1);
                    stored.into_iter().for_each(|stored| talked.stored.done(stored, 1));
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    talked.heard.fail(format!("{error:#}"));
                    talked.broken = true;
                    return talked;
                }
                Err(_) => talked.heard.fail(format!("nothing came within {} s", LOST_AFTER.as_secs())),
            }
            std::mem::swap(&mut talked.pair.one, &mut talked.pair.other);
        }
    }

    /// One says something and the other hears it: how long that took, and how long the receipt.
    async fn exchange(
        &mut self,
        begun: Instant,
        receipts: bool,
        stray: &mut u64,
    ) -> anyhow::Result<(Duration, Option<Duration>)> {
        self.said += 1;
        self.one.say(&self.other.person.id, self.said, receipts).await?;
        let (mut heard, mut stored) = (None, None);
        loop {
            tokio::select! {
                packet = self.other.socket.packet() => if let Packet::Message(message) = packet? {
                    match number(&message) {
                        Some(number) if number == self.said && heard.is_none() => heard = Some(begun.elapsed()),
                        _ => *stray += 1,
                    }
                },
                packet = self.one.socket.packet() => match packet? {
                    Packet::Receipt(packet) => match receipt(&packet) {
                        Some((number, true)) if number == self.said => stored = Some(begun.elapsed()),
                        // The receipt of a message that was given up.
                        Some((number, true)) if number < self.said => {}
                        _ => bail!("refused: {}", text(&packet)),
                    },
                    Packet::Message(_) => *stray += 1,
                    Packet::Other => {}
                },
            }
            if let Some(heard) = heard
                && (stored.is_some() || !receipts)
            {
                return Ok((heard, stored));
            }
        }
    }
}

/// The people of these connections, two by two.
pub(crate) fn couples(people: &[Person]) -> anyhow::Result<Vec<[Person; 2]>> {
    ensure!(people.len().is_multiple_of(2), "connections come in pairs");
    Ok(people.chunks_exact(2).filter_map(|two| <[Person; 2]>::try_from(two.to_vec()).ok()).collect())
}

/// The address of each of the two: neighbours are on different servers.
pub(crate) fn spread(addresses: &Arc<[String]>, number: usize) -> Option<[&str; 2]> {
    let at = |i: usize| addresses.get(i % addresses.len().max(1)).map(String::as_str);
    Some([at(number)?, at(number + 1)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_its_number_there_and_back() {
        let packet = saying("a", "b", 17, true);
        assert!(packet.starts_with(r#"4217["sendMessage","#), "{packet}");
        assert!(saying("a", "b", 17, false).starts_with(r#"42["sendMessage","#));
        assert_eq!(number(packet.as_bytes()), Some(17));
        assert_eq!(number(br#"42["getMessage",{"text":"hello"}]"#), None);
    }

    #[test]
    fn a_receipt_says_for_what_and_whether_it_was_stored() {
        assert_eq!(receipt(br#"4317[{"success":true,"messageId":"x"}]"#), Some((17, true)));
        assert_eq!(receipt(br#"433[{"success":false,"message":"no"}]"#), Some((3, false)));
        assert_eq!(receipt(br#"43[{"success":true}]"#), None);
    }
}
