//! Two API nodes behind a proxy, each ended and started again in turn while people shop: no request fails.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bson::doc;
use futures_util::future::join_all;
use serde_json::Value;
use shared::model::Order;
use tests::{Buyer, TestApp, people::in_cash};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    crash::{Process, free_port},
    database_away::is_full,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// Nodes say that they stop for so long before they do.
const LEAD: &str = "1s";

/// How often the proxy asks whether a node is ready.
const LOOK: Duration = Duration::from_millis(50);

/// A proxy as HAProxy and nginx are: new connections go to nodes that are ready, in turn; and to the next one only
/// where a node refuses to be connected to. Whatever was sent is never sent again.
struct Proxy {
    base: String,
    nodes: Arc<Vec<Behind>>,
    tasks: Vec<JoinHandle<()>>,
}

struct Behind {
    port: u16,
    ready: AtomicBool,
}

impl Proxy {
    async fn before(ports: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let nodes: Vec<Behind> =
            ports.iter().map(|port| Behind { port: *port, ready: AtomicBool::new(false) }).collect();
        let nodes = Arc::new(nodes);
        let mut tasks: Vec<_> =
            (0..nodes.len()).map(|i| tokio::spawn(look_after(Arc::clone(&nodes), i))).collect();
        tasks.push(tokio::spawn(forward(listener, Arc::clone(&nodes))));
        Self { base, nodes, tasks }
    }

    async fn until(&self, node: usize, ready: bool) {
        let waiting = async {
            while self.nodes[node].ready.load(Ordering::SeqCst) != ready {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the proxy sees it");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn look_after(nodes: Arc<Vec<Behind>>, i: usize) {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    loop {
        let asked = client.get(format!("http://127.0.0.1:{}/readyz", nodes[i].port)).send().await;
        nodes[i].ready.store(asked.is_ok_and(|answer| answer.status() == 200), Ordering::SeqCst);
        tokio::time::sleep(LOOK).await;
    }
}

async fn forward(listener: TcpListener, nodes: Arc<Vec<Behind>>) {
    let mut turn = 0;
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        turn += 1;
        let nodes = Arc::clone(&nodes);
        tokio::spawn(async move {
            if let Some(mut node) = connect(&nodes, turn).await {
                _ = copy_bidirectional(&mut client, &mut node).await;
            }
        });
    }
}

async fn connect(nodes: &[Behind], turn: usize) -> Option<TcpStream> {
    let in_turn = || (0..nodes.len()).map(|i| &nodes[(turn + i) % nodes.len()]);
    // While none is ready any may do.
    for node in in_turn().filter(|node| node.ready.load(Ordering::SeqCst)).chain(in_turn()) {
        match TcpStream::connect(("127.0.0.1", node.port)).await {
            Ok(stream) => return Some(stream),
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(other) => panic!("{other}"),
        }
    }
    None
}

#[derive(Default)]
struct Seen {
    served: AtomicU64,
    failed: Mutex<Vec<String>>,
    orders: AtomicUsize,
}

impl Seen {
    async fn ask(&self, request: reqwest::RequestBuilder, wanted: u16) {
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                match answer.bytes().await {
                    Ok(_) if status == wanted => _ = self.served.fetch_add(1, Ordering::Relaxed),
                    Ok(body) => self.fail(format!("{status} {}", String::from_utf8_lossy(&body))),
                    Err(error) => self.fail(format!("{error:?}")),
                }
            }
            Err(error) => self.fail(format!("{error:?}")),
        }
    }

    fn fail(&self, how: String) {
        self.failed.lock().unwrap().push(how);
    }
}

async fn shop(
    base: String,
    buyer: Buyer,
    cup: Value,
    keep_alive: bool,
    seen: Arc<Seen>,
    over: Arc<AtomicBool>,
) {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    let client = if keep_alive { client } else { client.pool_max_idle_per_host(0) };
    let client = client.build().unwrap();
    for round in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let place = client.post(format!("{base}/api/order/create-order")).bearer_auth(&buyer.token);
        let key = format!("{}-{round}", buyer.name);
        seen.orders.fetch_add(1, Ordering::Relaxed);
        seen.ask(place.header("Idempotency-Key", key).json(&in_cash(&[(&cup, 1)])), 201).await;
        seen.ask(client.get(format!("{base}/api/product/get-all-products")), 200).await;
        let own = client.get(format!("{base}/api/order/getOrders/{}", buyer.id));
        seen.ask(own.bearer_auth(&buyer.token), 200).await;
    }
}

#[tokio::test]
async fn no_request_fails_while_the_nodes_behind_a_proxy_are_restarted_one_after_the_other() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let cup = bob.product("cup", "10", 1_000_000).await;
    let ports = [free_port(), free_port()];
    // Eight people order more in a minute than one address may.
    let settings = [("SHUTDOWN_LEAD", LEAD), ("RATE_LIMITS", "off")];
    let start = |port| Process::start_at_with(&app, port, &settings);
    let mut running = vec![start(ports[0]).await, start(ports[1]).await];
    let proxy = Proxy::before(&ports).await;
    proxy.until(0, true).await;
    proxy.until(1, true).await;
    let (seen, over) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let mut people = Vec::new();
    for number in 0..8 {
        let buyer = app.buyer(&format!("buyer{number}")).await;
        let (base, cup, seen, over) = (proxy.base.clone(), cup.clone(), Arc::clone(&seen), Arc::clone(&over));
        // Half of them keep their connection, as browsers do, and half take a new one for each request.
        people.push(tokio::spawn(shop(base, buyer, cup, number % 2 == 0, seen, over)));
    }
    let rounds = if is_full() { 20 } else { 4 };
    for round in 0..rounds {
        let node = round % 2;
        let before = seen.served.load(Ordering::Relaxed);
        let ended = running.remove(node);
        tokio::join!(ended.terminate(), proxy.until(node, false));
        running.insert(node, start(ports[node]).await);
        proxy.until(node, true).await;
        let served = async {
            while seen.served.load(Ordering::Relaxed) < before + 50 {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, served).await.expect("people are served all the time");
    }
    over.store(true, Ordering::Relaxed);
    for person in join_all(people).await {
        person.unwrap();
    }
    println!("{} requests served over {rounds} restarts", seen.served.load(Ordering::Relaxed));
    assert_eq!(*seen.failed.lock().unwrap(), Vec::<String>::new());
    let orders = app.db.of::<Order>().count_documents(doc! {}).await.unwrap();
    assert_eq!(orders, u64::try_from(seen.orders.load(Ordering::Relaxed)).unwrap());
    app.assert_books_balance().await;
    for node in running {
        node.kill().await;
    }
}
