//! The sorts of mails that can be ended, and the links that end them. Pure.

use bson::oid::ObjectId;
use shared::{
    auth::{Kind, keyed_digest},
    config::Config,
};

/// A sort of mails that an account can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// How far an order has come, before it is delivered.
    OrderUpdates,
    /// Little is left of what a shop sells.
    LowStock,
}

impl Sort {
    pub(crate) const ALL: [Self; 2] = [Self::OrderUpdates, Self::LowStock];

    /// The name that is stored and spoken.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OrderUpdates => "orderUpdates",
            Self::LowStock => "lowStock",
        }
    }

    /// Whose mails they are.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::OrderUpdates => Kind::User,
            Self::LowStock => Kind::Seller,
        }
    }

    /// In words.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::OrderUpdates => "mails about how far your orders have come",
            Self::LowStock => "mails about what is nearly sold out",
        }
    }
}

/// What a link says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub account: ObjectId,
    pub sort: Sort,
}

impl Token {
    fn proof(self, secret: &str) -> String {
        keyed_digest(secret, &format!("unsubscribe:{}:{}", self.account.to_hex(), self.sort.name()))
    }

    fn text(self, secret: &str) -> String {
        format!("{}-{}-{}", self.account.to_hex(), self.sort.name(), self.proof(secret))
    }

    /// One that we have made.
    pub(super) fn read(text: &str, secret: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let account = ObjectId::parse_str(parts.next()?).ok()?;
        let name = parts.next()?;
        let sort = Sort::ALL.into_iter().find(|sort| sort.name() == name)?;
        let (token, proof) = (Self { account, sort }, parts.next()?);
        // Compared as digests, so that how long it takes tells nothing of the right one.
        let same = keyed_digest(secret, proof) == keyed_digest(secret, &token.proof(secret));
        (same && parts.next().is_none()).then_some(token)
    }
}

/// Where a single request ends mails of this sort.
pub(crate) fn link(config: &Config, account: ObjectId, sort: Sort) -> String {
    let token = Token { account, sort }.text(config.jwt_secret.expose());
    format!("{}/api/unsubscribe?token={token}", config.public_url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_for_one_account_and_one_sort_and_only_ours_count() {
        let account = ObjectId::parse_str("6744a0b1c2d3e4f5a6b7c801").unwrap();
        let token = Token { account, sort: Sort::LowStock };
        let text = token.text("secret");
        assert_eq!(Token::read(&text, "secret"), Some(token));
        let another = text.replace("6744a0b1c2d3e4f5a6b7c801", "6744a0b1c2d3e4f5a6b7c802");
        let other_sort = text.replace("lowStock", "orderUpdates");
        let longer = format!("{text}-x");
        for forged in [another.as_str(), &other_sort, &longer, &text[..text.len() - 1], "", "a-b-c"] {
            assert_eq!(Token::read(forged, "secret"), None, "{forged}");
        }
        assert_eq!(Token::read(&text, "another secret"), None);
    }
}
