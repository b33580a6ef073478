//! Shoppers as clients know them.

use serde::{Deserialize, Serialize};
use shared::{
    clock::iso,
    config::Config,
    model::{Address, ROLE_USER, User},
};

use crate::{accounts::Account as _, error::Refusal, extract::loose, media::wire::PictureReply};

pub(crate) const TOO_MANY_ADDRESSES: Refusal =
    Refusal::conflict("too_many_addresses", "There is room for 20 addresses. Please delete one first");
pub(crate) const ADDRESS_TYPE_TAKEN: Refusal =
    Refusal::conflict("address_type_taken", "An address of this type already exist");
pub(crate) const EMAIL_FIXED: &str = "cannot be changed here; leave it as it is";

pub(crate) const MAIL_SENT: &str = "please check your email  to activate your account";
pub(crate) const VERIFIED: &str = "successfully verified user";
pub(crate) const LOGGED_OUT: &str = "LogOut Sucessfully";

/// `PUT /api/user/updateUserInfo`. `null` and absent mean unchanged.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Update {
    pub name: Option<String>,
    pub email: Option<String>,
    pub password: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub phone_number: Option<String>,
}

/// `PUT /api/user/userAddressUpadte`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewAddress {
    pub country: Option<String>,
    pub city: Option<String>,
    pub address1: Option<String>,
    pub address2: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub zip_code: Option<String>,
    #[serde(rename = "addressType")]
    pub kind: Option<String>,
}

/// One's own account.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserReply {
    #[serde(rename = "_id")]
    pub id: String,
    pub name: String,
    pub email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<i64>,
    pub addresses: Vec<AddressReply>,
    pub role: String,
    pub avatar: PictureReply,
    pub created_at: String,
    #[serde(rename = "__v")]
    pub version: i64,
}

impl UserReply {
    /// Everything that its owner may see.
    pub(crate) fn of(config: &Config, user: &User) -> Self {
        Self {
            id: user.id.hex(),
            name: user.name.clone(),
            email: user.email.clone(),
            phone_number: user.phone_number,
            addresses: user.addresses.iter().map(AddressReply::of).collect(),
            role: if user.role.is_empty() { ROLE_USER.to_owned() } else { user.role.clone() },
            avatar: PictureReply::of(config, user.avatar.as_ref()),
            created_at: iso(user.created_at()),
            version: user.version,
        }
    }
}

/// A saved address.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddressReply {
    #[serde(rename = "_id")]
    pub id: String,
    pub country: String,
    pub city: String,
    pub address1: String,
    pub address2: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip_code: Option<i64>,
    #[serde(rename = "addressType")]
    pub kind: String,
}

impl AddressReply {
    fn of(address: &Address) -> Self {
        Self {
            id: address.id.hex(),
            country: address.country.clone(),
            city: address.city.clone(),
            address1: address.address1.clone(),
            address2: address.address2.clone(),
            zip_code: address.zip_code,
            kind: address.kind.clone(),
        }
    }
}

/// What others see of a shopper.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PublicUser {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    avatar: PictureReply,
}

impl PublicUser {
    /// Name and picture.
    pub(crate) fn of(config: &Config, user: &User) -> Self {
        Self {
            id: user.id.hex(),
            name: user.name.clone(),
            avatar: PictureReply::of(config, user.avatar.as_ref()),
        }
    }
}

/// `{success, user}`: one's own account.
#[derive(Debug, Serialize)]
pub(crate) struct Own {
    pub success: bool,
    pub user: UserReply,
}

/// `{success, existUser}`: the same after a change of picture.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WithNewAvatar {
    pub success: bool,
    pub exist_user: UserReply,
}

/// After logging in, or following the mailed link.
#[derive(Debug, Serialize)]
pub(crate) struct Session {
    pub success: bool,
    pub message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// `{success, user}`: somebody, or nobody.
#[derive(Debug, Serialize)]
pub(crate) struct Info {
    pub success: bool,
    pub user: Option<PublicUser>,
}
