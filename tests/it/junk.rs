//! Ten thousand pieces of junk, always the same: broken frames, packets that are none, events with the wrong things in
//! every place, and lies about who one is. The server refuses or ignores each, and two others talk on meanwhile.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use bson::doc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::model::{Conversation, Message};
use tests::{Buyer, Chat, Seller, Socket, TestApp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use crate::crash::{Process, free_port};

/// So many at once, each with so many of each kind: 10,000 in all.
const WORKERS: u64 = 8;
const EVENTS: usize = 850;
const FRAMES: usize = 350;
const REQUESTS: usize = 50;

/// How much more memory the server may occupy afterwards, in MiB. What it keeps for later is in it: a megabyte each
/// for the largest texts, as the allocator pleases.
const MOST_MEMORY: u64 = 160;

/// What no honest client says. It must be stored nowhere and reach nobody.
const LIE: &str = "a lie";

/// A small generator of random numbers.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// Everybody whom lies are about, and the one who tells them.
struct Cast {
    ann: Buyer,
    bobs: Seller,
    eve: Buyer,
    conversation: String,
    /// A message of Ann's.
    message: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_pieces_of_junk_do_nothing_to_the_server_nor_to_those_who_talk_meanwhile() {
    let app = TestApp::start().await;
    let (ann, bobs, eve) = tokio::join!(app.buyer("ann"), app.seller("bobs"), app.buyer("eve"));
    let conversation = ann.talk_to(&bobs).await;
    let port = free_port();
    let process = Process::chat(&app, port, &[("RATE_LIMITS", "off")]).await;
    let chat = Chat::at(SocketAddr::from(([127, 0, 0, 1], port)));

    let (mut anns, mut bobss) = (chat.connect(&ann).await, chat.connect(&bobs).await);
    let said = json!({ "senderId": ann.id.hex(), "receiverId": bobs.id.hex(), "text": "first" });
    let receipt = anns.ask("sendMessage", &said).await;
    assert_eq!(bobss.next("getMessage").await["text"], "first");
    let message = receipt["messageId"].as_str().unwrap().to_owned();
    let cast = Cast { ann, bobs, eve, conversation, message };
    let before = process.memory();

    let (over, mut until) = watch::channel(false);
    let healthy = async {
        // What is junk to others must not keep these two from anything.
        let mut number = 0;
        while !*until.borrow_and_update() {
            number += 1;
            let text = format!("healthy {number}");
            let said =
                json!({ "senderId": cast.ann.id.hex(), "receiverId": cast.bobs.id.hex(), "text": text });
            assert_eq!(anns.ask("sendMessage", &said).await["success"], true);
            assert_eq!(bobss.next("getMessage").await["text"], text);
        }
        number
    };
    let junk = async {
        join_all((0..WORKERS).map(|worker| throw(&chat, &cast, Chance(worker)))).await;
        over.send(true).unwrap();
    };
    let (talked, ()) = tokio::join!(healthy, junk);

    let lies = doc! { "text": LIE };
    assert_eq!(app.db.of::<Message>().count_documents(lies).await.unwrap(), 0);
    let stored = app.db.of::<Message>().count_documents(doc! {}).await.unwrap();
    assert_eq!(stored, talked + 1, "somebody else's words were stored");
    let lies = doc! { "lastMessage": LIE };
    assert_eq!(app.db.of::<Conversation>().count_documents(lies).await.unwrap(), 0);
    let log = process.log();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    if let (Some(before), Some(after)) = (before, process.memory()) {
        println!("{before} MiB before, {after} MiB after, {talked} messages meanwhile");
        assert!(after <= before + MOST_MEMORY, "{before} MiB before, {after} MiB after");
    }
}

/// One worker's junk.
async fn throw(chat: &Chat, cast: &Cast, mut chance: Chance) {
    let mut socket = stranger(chat, cast, &mut chance).await;
    for number in 0..EVENTS {
        let packet = event(cast, &mut chance);
        // Whoever is hung up on comes back.
        if !socket.try_send(&packet).await {
            socket = stranger(chat, cast, &mut chance).await;
        }
        if number % 20 == 19 && !is_there(&mut socket, &packet).await {
            socket = stranger(chat, cast, &mut chance).await;
        }
    }
    for _ in 0..FRAMES {
        let frames = frames(cast, &mut chance);
        raw(chat.address, &cast.eve.token, &frames).await;
    }
    let client = reqwest::Client::new();
    for _ in 0..REQUESTS {
        request(&client, chat.address, &mut chance).await;
    }
}

/// A visitor, or somebody who is somebody, but not who they say.
async fn stranger(chat: &Chat, cast: &Cast, chance: &mut Chance) -> Socket {
    if chance.below(2) == 0 { chat.visitor().await } else { chat.connect(&cast.eve).await }
}

/// Whether a connection still answers. Whatever it was told must not be somebody else's.
async fn is_there(socket: &mut Socket, after: &str) -> bool {
    if !socket.try_send(r#"42777777["sendMessage",null]"#).await {
        return false;
    }
    while let Some(packet) = socket.packet().await {
        let foreign =
            ["getMessage", "getLastMessage", "messageSent"].iter().any(|event| packet.contains(event));
        assert!(!foreign, "somebody else's: {packet}, after {after:.200}");
        if packet.starts_with("43777777") {
            return true;
        }
    }
    false
}

/// An event that is well-formed enough to reach a handler, or nearly.
fn event(cast: &Cast, chance: &mut Chance) -> String {
    match chance.below(12) {
        0..=3 => lie(cast, chance),
        4..=7 => {
            let name = name(chance);
            let mut packet = format!("42{}[{}", ack(chance), json!(name));
            for _ in 0..chance.below(4) {
                write!(packet, ",{}", value(cast, chance, 3)).unwrap();
            }
            packet.push(']');
            packet
        }
        // A field of each kind in each place.
        8..=10 => {
            let mut payload = json!({
                "senderId": cast.eve.id.hex(), "receiverId": cast.bobs.id.hex(), "text": LIE,
                "lastMessage": LIE, "lastMessageId": cast.eve.id.hex(), "messageId": cast.message,
            });
            for field in
                ["senderId", "receiverId", "text", "lastMessage", "lastMessageId", "messageId", "__proto__"]
            {
                if chance.below(3) == 0 {
                    let value = value(cast, chance, 2);
                    payload[field] = serde_json::from_str(&value).unwrap_or(Value::Null);
                }
            }
            format!("42{}[\"{}\",{payload}]", ack(chance), chance.of(&EVENT_NAMES))
        }
        _ => {
            let text = "x".repeat(match chance.below(20) {
                0 => 900_000,
                1..=5 => 60_000,
                _ => 5_001,
            });
            let said =
                json!({ "senderId": cast.eve.id.hex(), "receiverId": cast.bobs.id.hex(), "text": text });
            format!("42[\"{}\",{said}]", chance.of(&EVENT_NAMES))
        }
    }
}

const EVENT_NAMES: [&str; 4] = ["addUser", "sendMessage", "updateLastMessage", "messageSeen"];

/// Names that mean something to somebody.
fn name(chance: &mut Chance) -> String {
    const NAMES: [&str; 18] = [
        "addUser",
        "sendMessage",
        "updateLastMessage",
        "messageSeen",
        "getMessage",
        "getUsers",
        "__proto__",
        "constructor",
        "toString",
        "hasOwnProperty",
        "connect",
        "disconnect",
        "connect_error",
        "error",
        "newListener",
        "",
        "*",
        "\u{0}",
    ];
    match chance.below(10) {
        0 => "n".repeat(chance.below(2000)),
        1 => String::from_utf8_lossy(&chance.bytes(8)).into_owned(),
        _ => chance.of(&NAMES).to_owned(),
    }
}

fn ack(chance: &mut Chance) -> String {
    match chance.below(6) {
        0 => chance.below(1000).to_string(),
        1 => i64::MAX.to_string(),
        _ => String::new(),
    }
}

/// Eve, or nobody, in the name of those who never said it, in every way that the old server believed.
fn lie(cast: &Cast, chance: &mut Chance) -> String {
    let (ann, bobs, eve) = (cast.ann.id.hex(), cast.bobs.id.hex(), cast.eve.id.hex());
    let (from, to) = if chance.below(2) == 0 { (&ann, &bobs) } else { (&bobs, &ann) };
    let (name, payload) = match chance.below(12) {
        0 => ("addUser", json!(from)),
        1 => ("addUser", json!(from.to_uppercase())),
        2 => ("addUser", json!({ "$ne": null })),
        3 => ("addUser", json!([from])),
        4 => ("sendMessage", json!({ "senderId": from, "receiverId": to, "text": LIE })),
        5 => ("sendMessage", json!({ "senderId": from.to_uppercase(), "receiverId": to, "text": LIE })),
        6 => (
            "sendMessage",
            json!({ "senderId": eve, "receiverId": to, "text": LIE, "conversationId": cast.conversation }),
        ),
        7 => ("sendMessage", json!({ "senderId": eve, "receiverId": eve, "text": LIE })),
        8 => ("sendMessage", json!({ "senderId": { "$gt": "" }, "receiverId": { "$gt": "" }, "text": LIE })),
        9 => ("updateLastMessage", json!({ "lastMessage": LIE, "lastMessageId": from })),
        10 => ("messageSeen", json!({ "senderId": ann, "receiverId": bobs, "messageId": cast.message })),
        _ => ("messageSeen", json!({ "senderId": ann, "receiverId": eve, "messageId": cast.message })),
    };
    format!("42{}[\"{name}\",{payload}]", ack(chance))
}

/// JSON, or what passes for it.
fn value(cast: &Cast, chance: &mut Chance, depth: usize) -> String {
    match chance.below(if depth == 0 { 14 } else { 18 }) {
        0 => "null".to_owned(),
        1 => "true".to_owned(),
        2 => chance
            .of(&["0", "-0", "1e400", "-1", "1.5", "9223372036854775808", "1e-400", "00", "NaN"])
            .to_owned(),
        3 => json!(cast.ann.id.hex()).to_string(),
        4 => json!(cast.bobs.id.hex()).to_string(),
        5 => json!(cast.eve.id.hex()).to_string(),
        6 => chance
            .of(&[r#""\ud800""#, r#""\udfff\ud800""#, r#""\u0000""#, r#""\x""#, "\"\u{7}\"", "\"\u{feff}\""])
            .to_owned(),
        7 => chance
            .of(&[r#""undefined""#, r#""null""#, r#""""#, r#"" ""#, r#""000000000000000000000000""#])
            .to_owned(),
        8 => {
            let deep = chance.of(&[&1_usize, &100, &127, &128, &1000, &50_000]);
            format!("{}{}", "[".repeat(*deep), "]".repeat(*deep))
        }
        9 => format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200)),
        10 => r#"{"_placeholder":true,"num":0}"#.to_owned(),
        11 => json!({ "__proto__": { "admin": true }, "constructor": { "prototype": {} } }).to_string(),
        12 => json!({ "$where": "sleep(1000)", "$ne": null }).to_string(),
        13 => json!("y".repeat(chance.below(3000))).to_string(),
        14 | 15 => format!("[{},{}]", value(cast, chance, depth - 1), value(cast, chance, depth - 1)),
        16 => format!("{{\"text\":{}}}", value(cast, chance, depth - 1)),
        _ => format!("{{\"{}\":{}}}", cast.ann.id.hex(), value(cast, chance, depth - 1)),
    }
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

/// A frame as clients send it.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    // A mask of zeros.
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// What may end the connection that it comes on: everything that is sent on it.
fn frames(cast: &Cast, chance: &mut Chance) -> Vec<u8> {
    let text = |text: &str| frame(TEXT, text.as_bytes());
    let mut all = Vec::new();
    // Before the connection is made, or after.
    if chance.below(4) > 0 {
        all.extend(text("40"));
    }
    match chance.below(22) {
        0 => all.extend(frame(
            chance.of(&[&0x83_u8, &0x87, &0x8b, &0x8f, &0x80, &0x00]).to_owned(),
            b"42[\"x\"]",
        )),
        1 => all.extend(frame(0xf1, b"reserved bits")),
        // Not masked.
        2 => all.extend([TEXT, 2, b'4', b'0']),
        // Announced and never sent.
        3 => all.extend([TEXT, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        4 => all.extend([TEXT, 0xfe, 0xff, 0xff, 0, 0, 0, 0, b'4']),
        5 => all.extend(&frame(0x01, b"42[\"sendMessage\",")[..]),
        6 => all.extend(frame(0x89, &[0; 126])),
        7 => all.extend(frame(0x88, &[3])),
        8 => all.extend(frame(0x88, &chance.bytes(2))),
        9 => all.extend(frame(TEXT, &[b'4', b'2', 0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80])),
        10 => all.extend(frame(BINARY, &chance.bytes(100))),
        11 => all.extend(chance.bytes(64)),
        // Attachments that never come, come too often, or are something else.
        12 => all.extend(text(r#"451-["sendMessage",{"_placeholder":true,"num":0}]"#)),
        13 => {
            all.extend(text(
                r#"452-["sendMessage",{"_placeholder":true,"num":7},{"_placeholder":true,"num":-1}]"#,
            ));
            all.extend(frame(BINARY, &chance.bytes(10)));
            all.extend(text(&lie(cast, chance)));
        }
        14 => all.extend(text(chance.of(&[
            "4599999999999999999999-[\"x\"]",
            "4518446744073709551615-[\"x\"]",
            "45-[\"x\"]",
            "451",
            "450-[\"sendMessage\"]",
            "461-7[]",
        ]))),
        15 => {
            let digits = "9".repeat(1 + chance.below(400));
            all.extend(text(&format!(
                "{}{digits}[\"sendMessage\",null]",
                chance.of(&["42", "43", "45", "46"])
            )));
        }
        // Other packets, other namespaces, the same thing twice.
        16 => all.extend(text(chance.of(&[
            "",
            "4",
            "40",
            "41",
            "44",
            "47",
            "49",
            "4x",
            "42[",
            "42{}",
            "42\"x\"",
            "42[[]]",
            "43",
            "431[]",
            "0",
            "1",
            "2",
            "3",
            "5",
            "6",
            "7",
            "9",
            "2probe",
            "3probe",
            "b",
            "bAAAA",
            "\u{1e}",
            "42[\"a\"]\u{1e}42[\"b\"]",
        ]))),
        17 => {
            let namespace = chance.of(&["admin", "__proto__", "", "a,b", "../", "chat?token=x", "ö", "{id}"]);
            all.extend(text(&format!("40/{namespace},{{\"token\":1}}")));
            all.extend(text(&format!("42/{namespace},[\"sendMessage\",null]")));
            all.extend(text(&format!("41/{namespace},")));
        }
        18 => {
            all.extend(text("40"));
            all.extend(text("40{\"token\":\"x\"}"));
            all.extend(text("41"));
            all.extend(text(&lie(cast, chance)));
        }
        // Credentials, and places to go on from, that are none.
        19 => {
            let pid = chance.of(&[
                "",
                "~",
                "x~y",
                "ffffffff.ffffffff.ffffffff~0",
                "0.0.0~1",
                "1.1.1.1~",
                "-1.0.0~z",
            ]);
            let offset = chance.of(&["", "0.0.0", "ffffffff.0.0", "999999999.0.0", "zz", "1.2"]);
            let auth =
                json!({ "token": chance.of(&["x", "a.b.c", "", "Bearer "]), "pid": pid, "offset": offset });
            all.extend(text(&format!("40{auth}")));
            all.extend(text(&lie(cast, chance)));
        }
        20 => all.extend(text(&format!("40{}", value(cast, chance, 3)))),
        _ => {
            // Past the limit, in one frame and in many.
            let much = vec![b'x'; 40_000];
            let parts = if chance.below(8) == 0 { 30 } else { 2 };
            all.extend(frame(0x01, b"42[\"sendMessage\",\""));
            (0..parts).for_each(|_| all.extend(frame(0x00, &much)));
            all.extend(frame(0x80, b"\"]"));
        }
    }
    all
}

/// Opens a websocket by hand, sends these bytes, hangs up, and waits until the server has as well: nothing that
/// somebody began and never ended may keep a connection.
async fn raw(address: SocketAddr, token: &str, frames: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let hello = format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: user_token={token}\r\n\r\n"
    );
    // It may hang up first, at any of these.
    stream.write_all(hello.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer[..read]));
    let (mut reader, mut writer) = stream.into_split();
    let said = async {
        // Read meanwhile, or both sides would wait for each other.
        let mut said = Vec::new();
        reader.read_to_end(&mut said).await.ok();
        said
    };
    let sent = async {
        writer.write_all(frames).await.ok();
        writer.shutdown().await.ok();
    };
    let both = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(said, sent) });
    let (said, ()) =
        both.await.unwrap_or_else(|_| panic!("it never hangs up on {:?}", String::from_utf8_lossy(frames)));
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains("getMessage") && !said.contains("getLastMessage"), "somebody else's: {said}");
}

/// A request that opens no connection, or ought not to.
async fn request(client: &reqwest::Client, address: SocketAddr, chance: &mut Chance) {
    let protocol = chance.of(&["4", "3", "5", "", "x", "4&EIO=3"]);
    let transport = chance.of(&["polling", "websocket", "", "webtransport", "polling&transport=websocket"]);
    let sid =
        chance.of(&["", "&sid=", "&sid=AAAAAAAAAAAAAAAA", "&sid=%00", "&sid=../../..", "&sid=__proto__"]);
    let path = chance.of(&["/socket.io/", "/socket.io", "/socket.io//", "/socket.io/x", "/", "/%ff"]);
    let url = format!("http://{address}{path}?EIO={protocol}&transport={transport}{sid}");
    let method: reqwest::Method =
        chance.of(&["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]).parse().unwrap();
    let request =
        client.request(method.clone(), &url).body(chance.bytes(50)).timeout(Duration::from_secs(20));
    let answer = request.send().await.unwrap();
    assert!(answer.status().as_u16() < 500, "{method} {url}: {}", answer.status());
}
