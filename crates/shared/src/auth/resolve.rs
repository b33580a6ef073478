use super::{Accounts, Claims, Kind, MARKER, Proof, Sessions};
use crate::{
    clock::Timestamp,
    id::Id,
    model::{Shop, User, is_admin},
};

/// The session tokens that came with a request or a socket's handshake.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Cookie `user_token`.
    pub user: Option<String>,
    /// Cookie `token`: the marker, or a session of the old server.
    pub marker: Option<String>,
    /// Cookie `seller_token`.
    pub seller: Option<String>,
    /// `Authorization: Bearer`, or a socket's `auth.token`: a user's or a shop's.
    pub bearer: Option<String>,
}

impl Credentials {
    /// Whether anything was presented that claims to be a session.
    pub fn any(&self) -> bool {
        self.user.is_some() || self.seller.is_some() || self.bearer.is_some() || self.legacy().is_some()
    }

    /// Whether the browser's cookies may have to be set anew: a session of the old server, or one without the marker.
    pub fn want_mending(&self) -> bool {
        self.legacy().is_some() || (self.user.is_some() && self.marker.is_none())
    }

    /// The old server's session, if the script-visible cookie holds one instead of the marker.
    pub fn legacy(&self) -> Option<&str> {
        self.marker.as_deref().filter(|value| !value.is_empty() && *value != MARKER)
    }
}

/// Who is calling: at most one user and one shop, both proven and neither blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The proven user.
    pub user: Option<Id<User>>,
    /// The proven shop.
    pub shop: Option<Id<Shop>>,
    /// By which sessions.
    pub proofs: Vec<Proof>,
    /// The user is an administrator.
    pub admin: bool,
    /// A credential was presented that proves nobody: forged, expired, revoked or of a lost account.
    pub stale: bool,
    /// The user was proven by an old session in the script-visible cookie, which should be moved.
    pub legacy_cookie: bool,
}

/// Turns credentials into accounts. One primary-key look-up for each session presented.
pub async fn resolve(
    accounts: &Accounts,
    sessions: &Sessions,
    credentials: &Credentials,
    now: Timestamp,
) -> mongodb::error::Result<Identity> {
    let mut identity = Identity::default();
    let candidates = [
        (credentials.user.as_deref(), Some(Kind::User), false),
        (credentials.legacy(), Some(Kind::User), true),
        (credentials.seller.as_deref(), Some(Kind::Seller), false),
        (credentials.bearer.as_deref(), None, false),
    ];
    for (token, expected, legacy_cookie) in candidates {
        let Some(token) = token.filter(|token| !token.is_empty()) else { continue };
        let Ok(claims) = sessions.read(token, now) else {
            identity.stale = true;
            continue;
        };
        // Tokens of the old server do not say whose they are: where they came from does, and a
        // bearer may be either.
        let kinds: &[Kind] = match (claims.kind, expected) {
            (Some(kind), Some(wanted)) if kind != wanted => &[],
            (Some(Kind::User), _) | (None, Some(Kind::User)) => &[Kind::User],
            (Some(Kind::Seller), _) | (None, Some(Kind::Seller)) => &[Kind::Seller],
            (None, None) => &[Kind::User, Kind::Seller],
        };
        let mut found = false;
        for kind in kinds {
            if look_up(accounts, *kind, &claims, now, &mut identity).await? {
                identity.legacy_cookie |= legacy_cookie;
                found = true;
                break;
            }
        }
        identity.stale |= !found;
    }
    Ok(identity)
}

async fn look_up(
    accounts: &Accounts,
    kind: Kind,
    claims: &Claims,
    now: Timestamp,
    identity: &mut Identity,
) -> mongodb::error::Result<bool> {
    let Ok(id) = claims.id.parse::<Id<()>>() else { return Ok(false) };
    let named = match kind {
        Kind::User => identity.user.is_some(),
        Kind::Seller => identity.shop.is_some(),
    };
    if named {
        // By an earlier, better credential.
        return Ok(true);
    }
    let proof = Proof::new(kind, id, claims);
    let account = accounts.standing(kind, id).await?;
    let Some(account) = account.filter(|account| proof.holds(Some(account), now)) else { return Ok(false) };
    identity.proofs.push(proof);
    match kind {
        Kind::User => {
            identity.user = Some(id.cast());
            identity.admin = is_admin(&account.role);
        }
        Kind::Seller => identity.shop = Some(id.cast()),
    }
    Ok(true)
}
