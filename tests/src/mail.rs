//! A real mail server for tests: it speaks SMTP, keeps what it was given and lets a test wait for it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A mail that nobody has sent by now will not come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Larger messages are refused, as real servers do.
const LARGEST: usize = 10 * 1024 * 1024;

/// A mail as it was delivered.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Envelope sender.
    pub from: String,
    /// Envelope recipients, lower case.
    pub to: Vec<String>,
    /// Whom the client logged in as, if it did.
    pub login: Option<String>,
    /// The message as it came, dots unstuffed.
    pub raw: String,
}

impl Mail {
    /// A header's value, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.raw, name)
    }

    /// The subject.
    pub fn subject(&self) -> String {
        self.header("Subject").unwrap_or_default()
    }

    /// Every readable part, decoded, one after the other.
    pub fn text(&self) -> String {
        let mut text = String::new();
        collect_text(&self.raw, &mut text);
        text
    }

    /// The first link in the text that contains `part`.
    #[track_caller]
    pub fn link(&self, part: &str) -> String {
        let text = self.text();
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>');
        let found = text
            .match_indices("http")
            .filter_map(|(start, _)| text[start..].split(ends).next())
            .find(|link| link.contains(part));
        match found {
            Some(link) => link.to_owned(),
            None => panic!("no link with {part} in this mail:\n{text}"),
        }
    }

    /// What follows `part` in the link that contains it: the token of an activation or reset link.
    #[track_caller]
    pub fn token_after(&self, part: &str) -> String {
        let link = self.link(part);
        link.split(part).nth(1).unwrap_or_default().to_owned()
    }
}

#[derive(Debug, Default)]
struct Received {
    /// Every mail so far.
    all: Vec<Mail>,
    /// Those that no test has taken yet.
    unread: VecDeque<Mail>,
    /// So many deliveries are still to be refused for the time being.
    refusals: u32,
}

/// The running server.
#[derive(Debug)]
pub struct MailServer {
    address: SocketAddr,
    mails: Arc<Mutex<Received>>,
    arrived: Arc<Notify>,
    serving: JoinHandle<()>,
}

impl MailServer {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mails: Arc<Mutex<Received>> = Arc::default();
        let arrived: Arc<Notify> = Arc::default();
        let serving = tokio::spawn({
            let (mails, arrived) = (Arc::clone(&mails), Arc::clone(&arrived));
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (mails, arrived) = (Arc::clone(&mails), Arc::clone(&arrived));
                    // A client that hangs up ends its own conversation only.
                    tokio::spawn(async move { converse(stream, &mails, &arrived).await.ok() });
                }
            }
        });
        Self { address, mails, arrived, serving }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the oldest mail to this person that was not taken yet, waiting for it if need be.
    pub async fn await_mail_to(&self, person: &str) -> Mail {
        let person = person.to_lowercase();
        let waiting = async {
            loop {
                // Registered before the look, so that a mail between look and wait is not missed.
                let arrived = self.arrived.notified();
                if let Some(mail) = self.take(&person) {
                    return mail;
                }
                arrived.await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(mail) => mail,
            Err(_) => {
                let others: Vec<_> = self.all().into_iter().map(|mail| (mail.subject(), mail.to)).collect();
                panic!("no mail to {person}; there were: {others:?}")
            }
        }
    }

    /// The same, of the mails whose subject has these words.
    pub async fn await_mail_about(&self, person: &str, words: &str) -> Mail {
        loop {
            let mail = self.await_mail_to(person).await;
            if mail.subject().contains(words) {
                return mail;
            }
        }
    }

    /// How many mails with these words in the subject went to this person so far.
    pub fn count_about(&self, person: &str, words: &str) -> usize {
        let person = person.to_lowercase();
        let mails = self.all();
        mails.iter().filter(|mail| mail.to.contains(&person) && mail.subject().contains(words)).count()
    }

    /// Every mail so far, taken or not.
    pub fn all(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().all.clone()
    }

    /// How many mails went to this person so far.
    pub fn count_to(&self, person: &str) -> usize {
        let person = person.to_lowercase();
        self.mails.lock().unwrap().all.iter().filter(|mail| mail.to.contains(&person)).count()
    }

    /// Refuses the next deliveries with a temporary failure.
    pub fn refuse(&self, deliveries: u32) {
        self.mails.lock().unwrap().refusals = deliveries;
    }

    fn take(&self, person: &str) -> Option<Mail> {
        let mut mails = self.mails.lock().unwrap();
        let index = mails.unread.iter().position(|mail| mail.to.iter().any(|to| to == person))?;
        mails.unread.remove(index)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One client's conversation (RFC 5321), with plain log-in (RFC 4954).
async fn converse(stream: TcpStream, mails: &Mutex<Received>, arrived: &Notify) -> std::io::Result<()> {
    let mut stream = BufStream::new(stream);
    let (mut from, mut to, mut login) = (None, Vec::new(), None);
    say(&mut stream, "220 mail.test ready").await?;
    while let Some(line) = read_line(&mut stream).await? {
        let verb = line.split_ascii_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                say(
                    &mut stream,
                    &format!("250-mail.test\r\n250-8BITMIME\r\n250-SIZE {LARGEST}\r\n250 AUTH PLAIN LOGIN"),
                )
                .await?;
            }
            "HELO" => say(&mut stream, "250 mail.test").await?,
            "AUTH" => {
                login = authenticate(&mut stream, &line).await?;
                let answer = if login.is_some() { "235 welcome" } else { "535 not understood" };
                say(&mut stream, answer).await?;
            }
            "MAIL" => {
                from = address_in(&line);
                to.clear();
                say(&mut stream, if from.is_some() { "250 ok" } else { "501 whose mail?" }).await?;
            }
            "RCPT" if from.is_some() => {
                let person = address_in(&line).filter(|person| person.contains('@'));
                say(&mut stream, if person.is_some() { "250 ok" } else { "501 to whom?" }).await?;
                to.extend(person.map(|person| person.to_lowercase()));
            }
            "DATA" if !to.is_empty() => {
                say(&mut stream, "354 go ahead").await?;
                let raw = read_message(&mut stream).await?;
                let mail = Mail {
                    from: from.take().unwrap_or_default(),
                    to: std::mem::take(&mut to),
                    login: login.clone(),
                    raw,
                };
                let accepted = keep(mails, mail);
                // Told before the client hears of it, so that whoever the client tells finds the mail here.
                arrived.notify_waiters();
                say(&mut stream, if accepted { "250 delivered" } else { "451 try again later" }).await?;
            }
            "RSET" => {
                (from, to) = (None, Vec::new());
                say(&mut stream, "250 ok").await?;
            }
            "NOOP" => say(&mut stream, "250 ok").await?,
            "QUIT" => return say(&mut stream, "221 bye").await,
            "RCPT" | "DATA" => say(&mut stream, "503 not now").await?,
            _ => say(&mut stream, "502 not here").await?,
        }
    }
    Ok(())
}

fn keep(mails: &Mutex<Received>, mail: Mail) -> bool {
    let mut mails = mails.lock().unwrap();
    if mails.refusals > 0 {
        mails.refusals -= 1;
        return false;
    }
    mails.all.push(mail.clone());
    mails.unread.push_back(mail);
    true
}

async fn say(stream: &mut BufStream<TcpStream>, line: &str) -> std::io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.write_all(b"\r\n").await?;
    stream.flush().await
}

async fn read_line(stream: &mut BufStream<TcpStream>) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut limited = stream.take(8192);
    if limited.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

/// Up to the line with nothing but a dot; a dot that begins a line was doubled.
async fn read_message(stream: &mut BufStream<TcpStream>) -> std::io::Result<String> {
    let mut message = String::new();
    while let Some(line) = read_line(stream).await? {
        if line == "." {
            return Ok(message);
        }
        message.push_str(line.strip_prefix('.').unwrap_or(&line));
        message.push('\n');
        if message.len() > LARGEST {
            break;
        }
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

/// Any name and password will do; the name is kept.
async fn authenticate(stream: &mut BufStream<TcpStream>, line: &str) -> std::io::Result<Option<String>> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
    let first = words.next().map(str::to_owned);
    match mechanism.as_str() {
        "PLAIN" => {
            let response = match first {
                Some(response) => response,
                None => ask(stream, "334 ").await?,
            };
            let decoded = base64(&response);
            Ok(String::from_utf8_lossy(&decoded).split('\0').nth(1).map(str::to_owned))
        }
        "LOGIN" => {
            let name = match first {
                Some(name) => name,
                None => ask(stream, "334 VXNlcm5hbWU6").await?,
            };
            ask(stream, "334 UGFzc3dvcmQ6").await?;
            Ok(Some(String::from_utf8_lossy(&base64(&name)).into_owned()))
        }
        _ => Ok(None),
    }
}

async fn ask(stream: &mut BufStream<TcpStream>, prompt: &str) -> std::io::Result<String> {
    say(stream, prompt).await?;
    Ok(read_line(stream).await?.unwrap_or_default())
}

fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('<')?;
    Some(rest.split_once('>')?.0.to_owned())
}

fn split_message(message: &str) -> (&str, &str) {
    message.split_once("\n\n").unwrap_or((message, ""))
}

fn header(message: &str, name: &str) -> Option<String> {
    let (head, _) = split_message(message);
    let mut lines = head.lines();
    let first = lines.by_ref().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })?;
    let folded = lines.take_while(|line| line.starts_with([' ', '\t']));
    Some(folded.fold(first, |value, line| format!("{value} {}", line.trim())))
}

fn collect_text(part: &str, text: &mut String) {
    let kind = header(part, "Content-Type").unwrap_or_else(|| "text/plain".to_owned());
    let (_, body) = split_message(part);
    if kind.to_lowercase().starts_with("multipart/") {
        let boundary = kind.split("boundary=").nth(1).unwrap_or_default();
        let boundary = boundary.trim_start_matches('"').split(['"', ';']).next().unwrap_or_default();
        let delimiter = format!("--{boundary}");
        for inner in body.split(&delimiter).skip(1).filter(|inner| !inner.starts_with("--")) {
            collect_text(inner.trim_start_matches('\n'), text);
        }
    } else if kind.to_lowercase().starts_with("text/") {
        let encoding = header(part, "Content-Transfer-Encoding").unwrap_or_default().to_lowercase();
        let decoded = match encoding.as_str() {
            "quoted-printable" => quoted_printable(body),
            "base64" => base64(body),
            _ => body.as_bytes().to_vec(),
        };
        text.push_str(&String::from_utf8_lossy(&decoded));
        text.push('\n');
    }
}

fn quoted_printable(body: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(body.len());
    let mut rest = body.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'=' {
            decoded.push(byte);
        } else if let Some(next) = rest.strip_prefix(b"\n") {
            rest = next;
        } else if let Some((digits, next)) = rest.split_at_checked(2) {
            let value =
                std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
            decoded.push(value.unwrap_or(b'?'));
            rest = next;
        }
    }
    decoded
}

fn base64(text: &str) -> Vec<u8> {
    let (mut bits, mut held, mut decoded) = (0_u32, 0, Vec::new());
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            decoded.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_in_every_encoding_and_nesting() {
        let raw = "Subject: Hello\n you\nContent-Type: multipart/alternative;\n boundary=\"b1\"\n\n\
                   --b1\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n\
                   go to http://localhost/activation/abc=\ndef=3D now\n\
                   --b1\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n\
                   PGEgaHJlZj0iaHR0cDovL3gvcmVzZXQvMTIzIj4=\n--b1--\n";
        let mail = Mail { from: String::new(), to: Vec::new(), login: None, raw: raw.to_owned() };
        assert_eq!(mail.subject(), "Hello you");
        assert_eq!(mail.token_after("/activation/"), "abcdef=");
        assert_eq!(mail.link("/reset/"), "http://x/reset/123");
    }

    #[tokio::test]
    async fn a_conversation_delivers_refuses_and_unstuffs() {
        let server = MailServer::start().await;
        let mut client = BufStream::new(TcpStream::connect(server.address()).await.unwrap());
        assert!(read_line(&mut client).await.unwrap().unwrap().starts_with("220"));
        server.refuse(1);
        for expected in ["451", "250"] {
            for (line, code) in
                [("MAIL FROM:<a@souk>", "250"), ("RCPT TO:<Ann@Example.com>", "250"), ("DATA", "354")]
            {
                say(&mut client, line).await.unwrap();
                assert!(read_line(&mut client).await.unwrap().unwrap().starts_with(code), "{line}");
            }
            say(&mut client, "Subject: Hi\r\n\r\n..one dot\r\n.").await.unwrap();
            assert!(read_line(&mut client).await.unwrap().unwrap().starts_with(expected));
        }
        let mail = server.await_mail_to("ann@example.com").await;
        assert_eq!((mail.subject().as_str(), mail.text().trim()), ("Hi", ".one dot"));
        assert_eq!(server.count_to("ann@example.com"), 1);
    }
}
