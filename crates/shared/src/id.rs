//! Typed document ids: an order's id cannot be passed where a shop's is wanted.

use std::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    str::FromStr,
};

use bson::oid::ObjectId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::clock::Timestamp;

/// The id of a stored `T`.
///
/// In BSON it is an ObjectId. Most references between legacy collections are hex text instead:
/// those fields say `#[serde(with = "crate::id::text")]`. In JSON an id is always its hex text.
pub struct Id<T>(ObjectId, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// A fresh id that no other document has.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
    pub fn new() -> Self {
        Self(ObjectId::new(), PhantomData)
    }

    /// The id that belongs to no document: what an unreadable legacy reference becomes.
    pub const fn nil() -> Self {
        Self(ObjectId::from_bytes([0; 12]), PhantomData)
    }

    /// The id as the driver knows it, for filters.
    pub const fn oid(self) -> ObjectId {
        self.0
    }

    /// Takes the driver's id for a `T`'s.
    pub const fn from_oid(oid: ObjectId) -> Self {
        Self(oid, PhantomData)
    }

    /// 24 lower-case hex digits.
    pub fn hex(self) -> String {
        self.0.to_hex()
    }

    /// When the document was made, to the second. Legacy documents have no better creation time.
    pub fn made_at(self) -> Timestamp {
        self.0.timestamp()
    }

    /// The same id, now of another kind: accounts and their chat identity share ids.
    pub const fn cast<U>(self) -> Id<U> {
        Id(self.0, PhantomData)
    }
}

impl<T> Default for Id<T> {
    fn default() -> Self {
        Self::nil()
    }
}
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}
impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

/// The text is not 24 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 24 hexadecimal digits")]
pub struct BadId;

impl<T> FromStr for Id<T> {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        ObjectId::parse_str(text).map(Self::from_oid).or(Err(BadId))
    }
}

impl<T> From<Id<T>> for bson::Bson {
    fn from(id: Id<T>) -> Self {
        Self::ObjectId(id.0)
    }
}

/// Stored as an ObjectId. Never use this for JSON: wire types carry [`Id::hex`].
impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Reads an ObjectId, or its hex text as embedded copies from the client have it.
impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match bson::Bson::deserialize(deserializer)? {
            bson::Bson::ObjectId(oid) => Ok(Self::from_oid(oid)),
            bson::Bson::String(text) => text.parse().map_err(de::Error::custom),
            other => Err(de::Error::custom(format_args!("{other} is not an id"))),
        }
    }
}

/// A reference stored as hex text, as the legacy collections have it. Reads an ObjectId too;
/// anything else becomes [`Id::nil`].
pub mod text {
    use bson::Bson;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Id;

    /// Writes the hex text.
    pub fn serialize<T, S: Serializer>(id: &Id<T>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&id.hex())
    }

    /// Reads hex text or an ObjectId.
    pub fn deserialize<'de, T, D: Deserializer<'de>>(deserializer: D) -> Result<Id<T>, D::Error> {
        Ok(match Bson::deserialize(deserializer)? {
            Bson::ObjectId(oid) => Id::from_oid(oid),
            Bson::String(text) => text.parse().unwrap_or_default(),
            _ => Id::nil(),
        })
    }
}
