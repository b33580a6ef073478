//! What may be done to an account. Pure.

use shared::{id::Id, model::User};

/// Why an administrator's decision about an account is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is the administrator's own.
    Own,
    /// It was given up for good.
    Closed,
}

/// How an account stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) blocked: bool,
    pub(crate) closed: bool,
}

/// Whether blocking an account (or unblocking it) changes anything.
pub(crate) fn blocking(account: Standing, block: bool) -> Result<bool, Refused> {
    if account.closed { Err(Refused::Closed) } else { Ok(account.blocked != block) }
}

/// Nobody takes their own account away.
pub(crate) fn is_anothers(admin: Id<User>, account: Id<User>) -> Result<(), Refused> {
    if admin == account { Err(Refused::Own) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_taken_once_and_not_about_what_is_given_up() {
        let standing = |blocked, closed| Standing { blocked, closed };
        assert_eq!(blocking(standing(false, false), true), Ok(true));
        assert_eq!(blocking(standing(true, false), true), Ok(false));
        assert_eq!(blocking(standing(true, false), false), Ok(true));
        assert_eq!(blocking(standing(true, true), false), Err(Refused::Closed));
        let own = Id::new();
        assert_eq!(is_anothers(own, own), Err(Refused::Own));
        assert_eq!(is_anothers(own, Id::new()), Ok(()));
    }
}
