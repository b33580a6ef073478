//! Uploads by people who mean harm, 64 at a time, against the real program: refused in words while the rest of it is
//! still on its way, in memory that does not grow with what they send, and with everybody else served meanwhile.

use std::{
    collections::BTreeSet,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use image::ImageFormat;
use tests::{TestApp, picture};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::crash::{Process, free_port};

const ATTACKERS: usize = 64;
/// What the program may take more than before, in KB.
const MAX_GROWTH: u64 = 64 * 1024;
/// Longer for an answer, and there is none. No goal: on a quiet machine all of it is a matter of two seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a body comes.
#[derive(Clone)]
enum Body {
    /// Announced with this length; then these bytes, and no more.
    Announced(u64, Vec<u8>),
    /// Announced as this long, and these bytes over and over.
    Flood(u64, Vec<u8>),
    /// These bytes as chunks for ever, after the first.
    Endless(Vec<u8>, Vec<u8>),
    /// As long as it is.
    Whole(Vec<u8>),
}

/// What an attacker sends, and the statuses that are right for it.
#[derive(Clone)]
struct Attack {
    name: &'static str,
    body: Body,
    right: &'static [u16],
}

fn part(head: &str, content: &[u8]) -> Vec<u8> {
    [format!("--B\r\n{head}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: image/jpeg"
    );
    part(&head, content)
}

fn ended(parts: &[u8]) -> Vec<u8> {
    [parts, b"--B--\r\n"].concat()
}

/// A PNG whose head speaks of so many pixels, and whose data is a bomb of zeros.
fn bomb(side: u32) -> Vec<u8> {
    let mut png = picture::picture(ImageFormat::Png, 1, 1);
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let sum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    png.extend(std::iter::repeat_n(0, 200_000));
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ 0xedb8_8320 };
        }
    }
    !sum
}

fn attacks() -> Vec<Attack> {
    let begun = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n".to_vec();
    let two_gigabytes = 2 * 1024 * 1024 * 1024;
    let attack = |name, body, right| Attack { name, body, right };
    let mut texts = Vec::new();
    for number in 0..10_000 {
        texts.extend(part(&format!("Content-Disposition: form-data; name=\"f{number}\""), b"a"));
    }
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let html = b"<!doctype html><script>alert(1)</script>";
    let mut long_head = b"--B\r\nContent-Disposition: form-data; name=\"file\"".to_vec();
    long_head.extend(b"; x=y".repeat(40_000));
    vec![
        attack("two gigabytes announced, and silence", Body::Announced(two_gigabytes, begun.clone()), &[413]),
        attack("two gigabytes announced, and sent", Body::Flood(two_gigabytes, vec![b'x'; 65_536]), &[413]),
        attack("a picture without end", Body::Endless(begun.clone(), vec![0; 65_536]), &[413]),
        attack(
            "text without end",
            Body::Endless(
                b"--B\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n".to_vec(),
                vec![b'x'; 65_536],
            ),
            &[413],
        ),
        attack(
            "parts without end",
            Body::Endless(Vec::new(), part("Content-Disposition: form-data; name=\"a\"", b"a")),
            &[400, 413],
        ),
        attack(
            "blanks before the first part, without end",
            Body::Endless(Vec::new(), vec![b' '; 65_536]),
            &[400, 413],
        ),
        attack("ten thousand parts", Body::Whole(ended(&texts)), &[400, 413]),
        attack("a head without end", Body::Whole(long_head), &[400]),
        attack("half a delimiter", Body::Whole([&begun[..], &picture::png(), b"\r\n--B"].concat()), &[400]),
        attack(
            "no name",
            Body::Whole(ended(&part("Content-Disposition: form-data; filename=\"a.png\"", &picture::png()))),
            &[400],
        ),
        attack(
            "50000 by 50000 pixels",
            Body::Whole(ended(&file("a.png", &bomb(50_000)))),
            &[413, 415, 400, 422],
        ),
        attack("a script as SVG", Body::Whole(ended(&file("a.svg", svg))), &[415]),
        attack("a page as JPEG", Body::Whole(ended(&file("a.jpg", html))), &[415]),
        attack("a document as JPEG", Body::Whole(ended(&file("a.jpg", b"%PDF-1.7\n1 0 obj"))), &[415]),
        attack("a head of a picture alone", Body::Whole(ended(&file("a.gif", b"GIF89a"))), &[415]),
        attack(
            "ten megabytes of almost a picture",
            Body::Whole(ended(&file("a.jpg", &vec![0xff; 9_000_000]))),
            &[415],
        ),
    ]
}

/// Sends it, in one task while another reads; the status of the answer.
async fn answer(address: &str, token: &str, attack: &Attack) -> u16 {
    let length = match &attack.body {
        Body::Announced(length, _) | Body::Flood(length, _) => format!("Content-Length: {length}"),
        Body::Whole(body) => format!("Content-Length: {}", body.len()),
        Body::Endless(..) => "Transfer-Encoding: chunked".to_owned(),
    };
    let head = format!(
        "PUT /api/user/update-user-avatar HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: multipart/form-data; boundary=B\r\n{length}\r\n\r\n"
    );
    let (mut reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
    let body = attack.body.clone();
    let sending = tokio::spawn(async move {
        writing.write_all(head.as_bytes()).await.ok();
        match body {
            Body::Announced(_, bytes) | Body::Whole(bytes) => _ = writing.write_all(&bytes).await,
            Body::Flood(_, bytes) => while writing.write_all(&bytes).await.is_ok() {},
            Body::Endless(first, again) => {
                let chunk = |bytes: &[u8]| {
                    let mut chunk = Vec::new();
                    write!(chunk, "{:x}\r\n", bytes.len()).unwrap();
                    [&chunk[..], bytes, b"\r\n"].concat()
                };
                if !first.is_empty() {
                    writing.write_all(&chunk(&first)).await.ok();
                }
                let again = chunk(&again);
                while writing.write_all(&again).await.is_ok() {}
            }
        }
        // Held open: nobody who waits for more of it may wait for long.
        std::future::pending::<()>().await;
    });
    let mut reply = Vec::new();
    let complete = timeout(PATIENCE, async {
        let mut buffer = [0; 4096];
        while !reply.windows(4).any(|four| four == b"\r\n\r\n") {
            match reading.read(&mut buffer).await {
                Ok(read) if read > 0 => reply.extend_from_slice(&buffer[..read]),
                // It may close before all of a flood is read, and the answer is lost with it.
                _ => break,
            }
        }
    });
    complete.await.unwrap_or_else(|_| panic!("{}: no answer", attack.name));
    sending.abort();
    String::from_utf8_lossy(&reply)
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default()
}

fn kilobytes(pid: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn files_in(app: &TestApp) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![app.home().join("uploads")];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else {
                found.insert(entry.path().display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_attackers_are_refused_in_bounded_memory_while_others_are_served() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let process = Process::of(&app, "api", free_port(), &[("RATE_LIMITS", "off")]).await;
    let address = process.base.trim_start_matches("http://").to_owned();
    let client = reqwest::Client::new();
    // What is allocated once: pools, caches, the first pictures.
    for _ in 0..20 {
        let form = reqwest::multipart::Form::new()
            .part("file", reqwest::multipart::Part::bytes(picture::png()).file_name("a.png"));
        let call =
            client.put(format!("{}/api/user/update-user-avatar", process.base)).bearer_auth(&ann.token);
        assert_eq!(call.multipart(form).send().await.unwrap().status(), 200);
    }
    let kept = files_in(&app);
    let before = kilobytes(process.pid(), "VmRSS");
    let attacks = attacks();
    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let healthy = {
        let (over, served, base) = (Arc::clone(&over), Arc::clone(&served), process.base.clone());
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let answer = client.get(format!("{base}/api/product/get-all-products")).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let began = std::time::Instant::now();
    let all = join_all((0..ATTACKERS).map(|number| {
        let (address, token, attacks) = (address.clone(), ann.token.clone(), attacks.clone());
        tokio::spawn(async move {
            let mut wrong = Vec::new();
            let attack = &attacks[number % attacks.len()];
            let status = answer(&address, &token, attack).await;
            // A flood may drown its own answer.
            let drowned = status == 0 && matches!(attack.body, Body::Flood(..) | Body::Endless(..));
            if !drowned && !attack.right.contains(&status) {
                wrong.push(format!("{}: {status}", attack.name));
            }
            wrong
        })
    }))
    .await;
    let wrong: Vec<String> = all.into_iter().flat_map(Result::unwrap).collect();
    println!("{ATTACKERS} attackers took {:?}", began.elapsed());
    over.store(true, Ordering::Relaxed);
    healthy.await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(served.load(Ordering::Relaxed) > 0, "nobody else was served");
    let peak = kilobytes(process.pid(), "VmHWM");
    println!("{before} KB before, {peak} KB at most, {} others served", served.load(Ordering::Relaxed));
    assert!(peak.saturating_sub(before) < MAX_GROWTH, "from {before} KB to {peak} KB");
    // Avatars that others have replaced are still being deleted.
    let left: Vec<String> = files_in(&app).difference(&kept).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_much_and_never_ends_takes_no_memory_and_keeps_nobody_else_waiting() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let process = Process::of(&app, "api", free_port(), &[("RATE_LIMITS", "off")]).await;
    let address = process.base.trim_start_matches("http://").to_owned();
    let before = kilobytes(process.pid(), "VmRSS");
    let form = [&file("a.png", &vec![0; 4_000_000])[..], b"--B\r\n"].concat();
    let json = [br#"{"email":""#, &vec![b'x'; 1_900_000][..]].concat();
    let begin = async |kind: &str, length: usize, path: &str, body: &[u8]| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream
    };
    // Each announces the most there may be, sends much of it, and then nothing.
    let mut begun = Vec::new();
    for _ in 0..40 {
        let kind = "multipart/form-data; boundary=B";
        begun.push(begin(kind, 31_000_000, "/api/user/create-user", &form).await);
        begun.push(begin("application/json", 2_000_000, "/api/user/login-user", &json).await);
    }
    let call = reqwest::Client::new()
        .put(format!("{}/api/user/update-user-avatar", process.base))
        .bearer_auth(&ann.token)
        .multipart(
            reqwest::multipart::Form::new()
                .part("file", reqwest::multipart::Part::bytes(picture::png()).file_name("a.png")),
        );
    // Whoever is silent is sent off after half a minute, which would let others in.
    let answer = timeout(Duration::from_secs(10), call.send()).await.expect("somebody else waits").unwrap();
    assert_eq!(answer.status(), 200);
    let grown = kilobytes(process.pid(), "VmHWM").saturating_sub(before);
    println!("80 bodies of 236 MB in all: {grown} KB");
    assert!(grown < MAX_GROWTH, "{grown} KB");
    drop(begun);
}

#[tokio::test]
async fn what_a_killed_server_was_writing_is_gone_an_hour_later() {
    let mut app = TestApp::start().await;
    let directory = app.home().join("uploads/avatar");
    std::fs::create_dir_all(&directory).unwrap();
    let aged = |name: &str, seconds: u64| {
        let path = directory.join(name);
        let file = std::fs::File::create(&path).unwrap();
        let now = Duration::from_millis(app.clock.now().timestamp_millis().try_into().unwrap());
        file.set_modified(std::time::UNIX_EPOCH + now - Duration::from_secs(seconds)).unwrap();
        path
    };
    let (old, young) = (aged(".a1.png.part", 4000), aged(".b2.png.part", 3000));
    // A picture is a picture, however old.
    let picture = aged("c3.png", 1_000_000);
    app.restart().await;
    assert!(!old.exists(), "what nobody writes any more is kept");
    assert!(young.exists() && picture.exists(), "another node may still be writing it");
}

#[tokio::test]
async fn no_link_leads_out_of_the_uploads() {
    let app = TestApp::start().await;
    let uploads = app.home().join("uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    let secret = app.home().join("secret.png");
    std::fs::write(&secret, "secret").unwrap();
    std::os::unix::fs::symlink(&secret, uploads.join("a.png")).unwrap();
    std::os::unix::fs::symlink(app.home(), uploads.join("home")).unwrap();
    for path in ["/uploads/a.png", "/uploads/home/secret.png"] {
        app.browser().get(path).await.refused(404, "picture_not_found");
    }
}
