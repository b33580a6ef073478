//! Who chats: users and shops, a conversation for each two.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use anyhow::Context as _;
use shared::{
    auth::{Kind as Account, Sessions},
    clock::Clock,
    db::Db,
    id::Id,
    model::{Conversation, ROLE_SELLER, ROLE_USER, Shop, User},
};

use super::socket::Person;
use crate::server::SECRET;

/// So many accounts go into one insert.
const BATCH: usize = 2_000;

/// Fills an empty database with people. Each two that follow one another are a user and a shop with a conversation.
pub(crate) async fn plant(db: &Db, people: usize) -> anyhow::Result<(Vec<Person>, Vec<Conversation>)> {
    let now = Clock::default().now();
    let sessions = Sessions::new(SECRET, 86_400);
    let (mut persons, mut conversations) = (Vec::new(), Vec::new());
    let (mut users, mut shops) = (Vec::new(), Vec::new());
    for pair in 0..people.div_ceil(2) {
        let user = User {
            id: Id::new(),
            name: format!("Shopper Number {pair}"),
            email: format!("shopper{pair}@example.com"),
            password: "none".to_owned(),
            role: ROLE_USER.to_owned(),
            created_at: Some(now),
            ..User::default()
        };
        let shop = Shop {
            id: Id::new(),
            name: format!("The shop at number {pair}"),
            email: format!("shop{pair}@example.com"),
            password: "none".to_owned(),
            role: ROLE_SELLER.to_owned(),
            created_at: Some(now),
            ..Shop::default()
        };
        let members = [user.id.hex(), shop.id.hex()];
        let cookies = [
            format!("user_token={}; token=1", sessions.issue(Account::User, &user.id.hex(), 0, now)?),
            format!("seller_token={}", sessions.issue(Account::Seller, &shop.id.hex(), 0, now)?),
        ];
        for (id, cookie) in members.iter().zip(cookies) {
            let from = address(persons.len());
            persons.push(Person { id: id.clone(), cookie: Some(cookie), from });
        }
        conversations.push(Conversation {
            id: Id::new(),
            title: format!("{}{}", shop.id.hex(), user.id.hex()),
            members: members.to_vec(),
            created_at: Some(now),
            updated_at: Some(now),
            ..Conversation::default()
        });
        users.push(user);
        shops.push(shop);
    }
    for users in users.chunks(BATCH) {
        db.of::<User>().insert_many(users).await?;
    }
    for shops in shops.chunks(BATCH) {
        db.of::<Shop>().insert_many(shops).await?;
    }
    for conversations in conversations.chunks(BATCH) {
        db.of::<Conversation>().insert_many(conversations).await?;
    }
    Ok((persons, conversations))
}

/// An address of this machine for each of the first million, so that neither ports nor limits run out.
fn address(number: usize) -> Option<IpAddr> {
    let octet = |n: usize| u8::try_from(n % 250).ok().map(|n| n + 1);
    Some(Ipv4Addr::new(127, octet(number / 62_500)?, octet(number / 250)?, octet(number)?).into())
}

/// People whom a server has never heard of; some servers take that.
pub(crate) fn strangers(people: usize) -> Vec<Person> {
    (0..people).map(|i| Person { id: Id::<()>::new().hex(), cookie: None, from: address(i) }).collect()
}

/// People of a file: an id a line, and behind a blank the Cookie header that proves it. Each two lines are of two who
/// have a conversation.
pub(crate) fn listed(file: &Path) -> anyhow::Result<Vec<Person>> {
    let lines = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(parse(&lines))
}

fn parse(lines: &str) -> Vec<Person> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .enumerate()
        .map(|(i, line)| {
            let (id, cookie) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let cookie = Some(cookie.trim().to_owned()).filter(|cookie| !cookie.is_empty());
            Person { id: id.to_owned(), cookie, from: address(i) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everybody_has_an_address_of_their_own() {
        let addresses: BTreeSet<_> = (0..70_000).filter_map(address).collect();
        assert_eq!(addresses.len(), 70_000);
        assert!(addresses.iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn a_file_names_people_and_may_prove_them() {
        let people = parse("a1 user_token=x; token=1\n\n  b2\n");
        let read: Vec<_> = people.iter().map(|who| (who.id.as_str(), who.cookie.as_deref())).collect();
        assert_eq!(read, [("a1", Some("user_token=x; token=1")), ("b2", None)]);
    }
}
