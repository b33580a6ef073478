//! Sending mail: SMTP where it is set up, else files that a person can open.

mod files;
mod smtp;

use std::{future::Future, pin::Pin, sync::Arc};

use lettre::{
    Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};
use shared::{clock::Clock, config::Config};

use crate::outbox::Permanent;

/// One mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Recipient.
    pub to: String,
    /// Subject line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
    /// Where a single request ends mails of this sort (RFC 8058).
    pub unsubscribe: Option<String>,
}

/// A way to send mail.
pub trait Mailer: Send + Sync {
    /// Sends one, or says why not; the outbox tries again.
    fn send(&self, mail: Mail) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>>;
    /// Whether mail could be sent right now: connects and logs in, and sends nothing.
    fn check(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>>;
    /// For the start-up banner.
    fn describe(&self) -> String;
}

/// The mailer that the settings ask for.
pub fn from_config(config: &Config, clock: &Clock) -> anyhow::Result<Arc<dyn Mailer>> {
    Ok(match &config.smtp {
        Some(settings) => {
            let sender = settings.user.as_deref().and_then(|user| user.parse().ok());
            Arc::new(smtp::Smtp::new(settings, Writer::new(sender, clock.clone())?)?)
        }
        None => {
            Arc::new(files::Files::new(config.mail_outbox_dir.clone(), Writer::new(None, clock.clone())?))
        }
    })
}

const LIST_UNSUBSCRIBE: HeaderName = HeaderName::new_from_ascii_str("List-Unsubscribe");
const LIST_UNSUBSCRIBE_POST: HeaderName = HeaderName::new_from_ascii_str("List-Unsubscribe-Post");

/// Puts messages together.
struct Writer {
    sender: Mailbox,
    clock: Clock,
}

impl Writer {
    /// From that address, or from one that says what this is where the settings name none.
    fn new(sender: Option<lettre::Address>, clock: Clock) -> anyhow::Result<Self> {
        let address = match sender {
            Some(address) => address,
            None => "souk@localhost".parse()?,
        };
        Ok(Self { sender: Mailbox::new(Some("Souk".to_owned()), address), clock })
    }

    /// The message. An address that is none will not become one by trying again.
    fn write(&self, mail: &Mail) -> anyhow::Result<Message> {
        let to: lettre::Address =
            mail.to.trim().parse().map_err(|why| Permanent::new(format!("the recipient: {why}")))?;
        let id = format!("<{}@{}>", crate::media::random_name()?, self.sender.email.domain());
        let mut message = Message::builder()
            .from(self.sender.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject.replace(|c: char| c.is_control(), " "))
            .date(self.clock.now().to_system_time())
            // lettre's own would carry the name of this machine.
            .message_id(Some(id));
        if let Some(address) = &mail.unsubscribe {
            let one_click = "List-Unsubscribe=One-Click".to_owned();
            message = message
                .raw_header(HeaderValue::new(LIST_UNSUBSCRIBE, format!("<{address}>")))
                .raw_header(HeaderValue::new(LIST_UNSUBSCRIBE_POST, one_click));
        }
        let message = match &mail.html {
            Some(html) => {
                message.multipart(MultiPart::alternative_plain_html(mail.text.clone(), html.clone()))
            }
            None => message.singlepart(SinglePart::plain(mail.text.clone())),
        };
        Ok(message.map_err(|why| Permanent::new(format!("the message: {why}")))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(to: &str, subject: &str) -> anyhow::Result<String> {
        let writer = Writer::new(None, Clock::default())?;
        let mail = Mail {
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: "Hello,\nworld".to_owned(),
            html: None,
            unsubscribe: None,
        };
        Ok(String::from_utf8(writer.write(&mail)?.formatted())?)
    }

    #[test]
    fn a_message_says_who_sent_it_and_has_an_id_of_our_own() {
        let text = written("ann@example.com", "Activate your account").unwrap();
        for line in [
            "From: Souk <souk@localhost>\r\n",
            "To: ann@example.com\r\n",
            "Subject: Activate your account\r\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.contains("@localhost>\r\n") && text.contains("Date: "), "{text}");
        assert!(text.trim_end().ends_with("\r\n\r\nHello,\r\nworld"), "{text}");
    }

    #[test]
    fn nobody_can_add_a_header() {
        let text = written("ann@example.com", "Hi\r\nBcc: eve@example.com").unwrap();
        assert!(!text.contains("\nBcc:"), "{text}");
        for to in [
            "ann@example.com\r\nBcc: eve@example.com",
            "ann@example.com, eve@example.com",
            "ann",
            "",
            "<a@b>",
        ] {
            let why = written(to, "Hi").unwrap_err();
            assert!(why.is::<Permanent>(), "{to}: {why}");
        }
    }
}
