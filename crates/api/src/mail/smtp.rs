//! Mail through a mail server.

use std::{future::Future, pin::Pin, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor,
    transport::smtp::{
        PoolConfig,
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use shared::config;

use super::{Mail, Mailer, Writer};
use crate::outbox::Permanent;

/// For each step of a conversation.
const TIME: Duration = Duration::from_secs(15);
/// The port where TLS begins with the first byte.
const IMPLICIT_TLS: u16 = 465;

/// A mail server.
pub(super) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    writer: Writer,
    server: String,
}

impl Smtp {
    pub(super) fn new(settings: &config::Smtp, writer: Writer) -> anyhow::Result<Self> {
        let parameters = TlsParameters::new(settings.host.clone())?;
        // Elsewhere TLS where the server offers it: mail catchers on one's own machine do not.
        let tls = if settings.port == IMPLICIT_TLS {
            Tls::Wrapper(parameters)
        } else {
            Tls::Opportunistic(parameters)
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(TIME))
            .pool_config(PoolConfig::new().max_size(8));
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let server = format!("{}:{}", settings.host, settings.port);
        Ok(Self { transport: builder.build(), writer, server })
    }

    async fn deliver(&self, mail: Mail) -> anyhow::Result<()> {
        let message = self.writer.write(&mail)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            // There is no such mailbox. Other lasting failures, such as a wrong password, are put
            // right by an operator, and then the mail goes out.
            Err(why) if why.status().is_some_and(|code| matches!(u16::from(code), 550 | 551 | 553)) => {
                Err(Permanent::new(format!("the mail server: {why}")).into())
            }
            Err(why) => Err(anyhow::Error::new(why).context(format!("sending through {}", self.server))),
        }
    }
}

impl Mailer for Smtp {
    fn send(&self, mail: Mail) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        Box::pin(self.deliver(mail))
    }

    fn check(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        Box::pin(async {
            let answers = self.transport.test_connection().await?;
            anyhow::ensure!(answers, "{} lets us in and then hangs up", self.server);
            Ok(())
        })
    }

    fn describe(&self) -> String {
        format!("SMTP through {}", self.server)
    }
}
