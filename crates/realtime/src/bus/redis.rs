//! Signals through Redis: one channel, nothing is stored.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream::BoxStream};
use redis::{AsyncCommands as _, AsyncConnectionConfig, Client, aio::MultiplexedConnection};
use tokio::sync::Mutex;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct Channel {
    client: Client,
    name: String,
    /// To publish on; none after a failure.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Channel {
    pub(super) fn of(url: &str, database: &str) -> anyhow::Result<Self> {
        let client = Client::open(url).context("REDIS_URL cannot be used")?;
        Ok(Self { client, name: format!("souk:{database}:chat"), connection: Mutex::new(None) })
    }

    pub(super) async fn publish(&self, text: &str) -> anyhow::Result<()> {
        let mut connection = self.connection.lock().await;
        // Taken, and put back when all is well: also if this is given up half way.
        let mut working = match connection.take() {
            Some(working) => working,
            None => connect(&self.client).await?,
        };
        working.publish::<_, _, ()>(&self.name, text).await?;
        *connection = Some(working);
        Ok(())
    }

    pub(super) async fn listen(&self) -> anyhow::Result<BoxStream<'static, anyhow::Result<String>>> {
        let (mut sink, stream) = self.client.get_async_pubsub().await?.split();
        sink.subscribe(&self.name).await?;
        let texts = stream.map(|message| message.get_payload::<String>().context("a batch that is no text"));
        Ok(texts.boxed())
    }
}

async fn connect(client: &Client) -> redis::RedisResult<MultiplexedConnection> {
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&patient).await
}

/// Tries what chat nodes need of a Redis: to publish something and to hear it.
pub async fn check_redis(url: &str) -> anyhow::Result<()> {
    let trial = async {
        let channel = Channel::of(url, "doctor")?;
        let mut heard = channel.listen().await?;
        channel.publish("hello").await?;
        heard.next().await.context("what was published did not arrive")?.map(drop)
    };
    tokio::time::timeout(PATIENCE * 2, trial).await.context("no answer in time")?
}
